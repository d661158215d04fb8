//! What went into the key of a step, in words: kept beside the step's record, so that a later build can say what is
//! different.

use std::collections::BTreeMap;

use layer_store::digest::Hasher;
use layer_store::{Digest, Store};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where inputs are kept, under the key of their step.
pub(crate) const SPACE: &str = "reasons";

/// The most paths that are kept of one step. Beyond that, deep directories stand for what is in them.
const MOST_FILES: usize = 8192;
/// The longest value that is kept as it is, in bytes. A longer one ends in its digest.
const LONGEST_VALUE: usize = 512;
const COMPRESSION: i32 = 1;
/// The most bytes that are unpacked of a record: a damaged one must not fill the memory.
const LARGEST: usize = 32 << 20;

/// What went into the key of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// When the step was asked for, RFC 3339.
    pub asked: String,
    /// The step, as people read it.
    pub name: String,
    /// The stage that it belongs to, if it belongs to one.
    pub stage: Option<String>,
    /// The layers below, bottom first, each with who made it.
    pub stack: Vec<(Digest, String)>,
    /// Everything that is one value: `command`, `variable CC`, `working directory`, `mount /src`.
    pub fields: BTreeMap<String, String>,
    /// The files that are copied, with mode, owner and a short digest: `644 0:0 ab12cd34ef56`.
    pub files: BTreeMap<String, String>,
}

impl Inputs {
    /// Sets a field; a value that is long is shortened, one that may be a secret is hidden.
    pub(crate) fn field(&mut self, name: impl Into<String>, value: impl AsRef<str>) {
        self.fields.insert(name.into(), bounded(value.as_ref()));
    }

    /// Sets the field of a variable of the environment. The value of one that looks like a secret is taken out of the
    /// text too, where its `$NAME` stands expanded.
    pub(crate) fn variable(&mut self, pair: &str) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = if crate::dockerfile::lint::looks_like_secret(name) {
            if !value.is_empty() {
                self.name = self.name.replace(value, "(hidden)");
                if let Some(text) = self.fields.get_mut("text") {
                    *text = text.replace(value, "(hidden)");
                }
            }
            // Enough to see that it changed, and too little to find it by.
            format!("(hidden, {})", &short(value.as_bytes())[..4])
        } else {
            value.to_owned()
        };
        self.field(format!("variable {name}"), value);
    }

    /// Takes in files, and keeps their number bounded.
    pub(crate) fn files(&mut self, files: impl IntoIterator<Item = (Vec<u8>, String)>) {
        for (path, state) in files {
            let path = if path.is_empty() { ".".into() } else { String::from_utf8_lossy(&path).into_owned() };
            self.files.insert(path, state);
        }
        while self.files.len() > MOST_FILES {
            let depth = |path: &String| path.matches('/').count();
            let deepest = self.files.keys().map(depth).max().unwrap_or(0);
            let mut folded: BTreeMap<String, Hasher> = BTreeMap::new();
            self.files.retain(|path, state| {
                if depth(path) < deepest {
                    return true;
                }
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                let hasher = folded.entry(format!("{directory}…")).or_default();
                hasher.field(path.as_bytes()).field(state.as_bytes());
                false
            });
            // What stands for a directory is one of its parent's files in the next round.
            let folded = folded.into_iter().map(|(name, hasher)| (name, hasher.finish().short()));
            self.files.extend(folded);
            if deepest == 0 {
                break;
            }
        }
    }

    /// Keeps the inputs of a step under its key.
    pub(crate) fn keep(&self, store: &Store, key: &Digest) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
        let bytes = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        let bytes = zstd::bulk::compress(&bytes, COMPRESSION).map_err(|error| failed(&error))?;
        Ok(store.put_record(SPACE, key, &bytes)?)
    }

    /// The inputs that were kept under a key. Damaged ones are none.
    pub(crate) fn find(store: &Store, key: &Digest) -> Result<Option<Self>> {
        let Some(bytes) = store.record(SPACE, key)? else { return Ok(None) };
        let unpacked = zstd::bulk::decompress(&bytes, LARGEST).ok();
        Ok(unpacked.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

/// The first bytes of a digest, for people.
fn short(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()[..12].to_owned()
}

fn bounded(value: &str) -> String {
    if value.len() <= LONGEST_VALUE {
        return value.to_owned();
    }
    let mut end = LONGEST_VALUE - 32;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({})", &value[..end], short(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_folded_and_still_tell_changes() {
        let files = |changed: &'static str| {
            (0..20_000).map(move |at| {
                let path = format!("src/dir{}/deep/file{at}", at % 50);
                let state = if path.ends_with(changed) { "644 b" } else { "644 a" };
                (path.into_bytes(), state.to_owned())
            })
        };
        let mut one = Inputs::default();
        one.files(files("file777"));
        let mut other = Inputs::default();
        other.files(files("nothing"));
        assert!(one.files.len() <= MOST_FILES, "{}", one.files.len());
        let differing: Vec<&String> = one
            .files
            .iter()
            .filter(|(path, state)| other.files.get(*path) != Some(state))
            .map(|(p, _)| p)
            .collect();
        assert_eq!(differing, ["src/dir27/deep…"]);
    }

    #[test]
    fn secrets_and_long_values_do_not_stand_in_records() {
        let mut inputs = Inputs::default();
        inputs.field("text", "RUN login hunter2");
        inputs.variable("API_TOKEN=hunter2");
        assert_eq!(inputs.fields["text"], "RUN login (hidden)");
        inputs.variable("CC=gcc");
        inputs.field("command", "x".repeat(5000));
        assert!(!inputs.fields["variable API_TOKEN"].contains("hunter2"));
        assert_eq!(inputs.fields["variable CC"], "gcc");
        assert!(inputs.fields["command"].len() <= LONGEST_VALUE + 8);
        let mut other = Inputs::default();
        other.variable("API_TOKEN=hunter3");
        assert_ne!(other.fields["variable API_TOKEN"], inputs.fields["variable API_TOKEN"]);
    }
}

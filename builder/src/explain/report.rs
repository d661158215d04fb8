//! What a build did with each step, kept so that it can be asked afterwards.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use layer_store::{Digest, Store};
use serde::{Deserialize, Serialize};

use super::{Difference, Inputs, differences, nearest};
use crate::error::{Error, Result};

/// How many records are searched for the nearest one, the newest first.
const SEARCHED: usize = 4096;

/// What the last build of a store did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReport {
    /// When it began, RFC 3339.
    pub started: String,
    /// The name of the Dockerfile.
    pub dockerfile: String,
    /// The steps, inputs before those that use them.
    pub steps: Vec<StepReport>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// As people read it.
    pub name: String,
    /// The line of the Dockerfile, from 1, where it stands in one.
    pub line: Option<usize>,
    /// What the cache said.
    pub verdict: Verdict,
    /// The key that was looked for.
    pub key: Option<Digest>,
    /// What went into the key, where no record has it.
    pub inputs: Option<Inputs>,
}

/// What the cache said of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cache")]
pub enum Verdict {
    /// The result was known.
    Hit {
        /// The shared cache that had it; `None` for this store.
        from: Option<String>,
    },
    /// It was not.
    Miss,
    /// There is a result, and the build was told not to use it.
    Refused,
    /// There is a result, and it is older than the build allows.
    Expired {
        /// When it was made, RFC 3339.
        created: String,
    },
    /// There is a record, but the layer that it names is gone from the store.
    Lost,
}

/// A step with what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// As people read it.
    pub name: String,
    /// The line of the Dockerfile, from 1.
    pub line: Option<usize>,
    /// What the cache said.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// When the nearest earlier step was asked for, RFC 3339; `None` if there was nothing like it.
    pub nearest: Option<String>,
    /// What is different from that one.
    pub differences: Vec<Difference>,
    /// How many further differences there are.
    pub more: usize,
}

impl BuildReport {
    /// Keeps the report as that of the store's last build. No sync: it is a convenience, and the next build makes
    /// another one.
    pub(crate) fn keep(&self, store: &Store) -> Result<()> {
        let path = place(store);
        let failed = |source: io::Error| Error::File {
            action: "write",
            path: path.display().to_string(),
            source: Arc::new(source),
        };
        let bytes = serde_json::to_vec(self).map_err(|error| Error::Internal(error.to_string()))?;
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, &path)).map_err(failed)
    }
}

/// The report of the last build on this store, if there was one.
///
/// # Errors
///
/// The file cannot be read, or is damaged.
pub fn last(store: &Store) -> Result<Option<BuildReport>> {
    let path = place(store);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::invalid(format!("`{}` is damaged: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(Error::File { action: "read", path: path.display().to_string(), source: Arc::new(source) })
        }
    }
}

/// Says of each step of a build why it was a hit or a miss. Reads the records of earlier steps when there is a miss;
/// blocks.
pub fn explain(store: &Store, report: &BuildReport) -> Result<Vec<Explained>> {
    let missed = |step: &&StepReport| matches!(step.verdict, Verdict::Miss);
    let earlier =
        if report.steps.iter().any(|step| missed(&step)) { earlier(store, report)? } else { Vec::new() };
    let mut all = Vec::with_capacity(report.steps.len());
    for step in &report.steps {
        let mut explained = Explained {
            name: step.name.clone(),
            line: step.line,
            verdict: step.verdict.clone(),
            nearest: None,
            differences: Vec::new(),
            more: 0,
        };
        if missed(&step) {
            let kept = match (&step.inputs, step.key) {
                (Some(inputs), _) => Some(inputs.clone()),
                (None, Some(key)) => Inputs::find(store, &key)?,
                (None, None) => None,
            };
            if let Some(new) = kept
                && let Some(old) = nearest(&earlier, &new)
            {
                explained.nearest = Some(old.asked.clone());
                (explained.differences, explained.more) = differences(old, &new);
            }
        }
        all.push(explained);
    }
    Ok(all)
}

/// The inputs of steps that were done before the build began.
fn earlier(store: &Store, report: &BuildReport) -> Result<Vec<Inputs>> {
    let mut keys: Vec<(std::time::SystemTime, Digest)> = Vec::new();
    for key in store.record_keys(super::SPACE)? {
        let path = store.root().join(super::SPACE).join(&key.hex()[..2]).join(key.hex());
        if let Ok(changed) = fs::metadata(path).and_then(|metadata| metadata.modified()) {
            keys.push((changed, key));
        }
    }
    keys.sort_unstable_by(|one, other| other.cmp(one));
    let mut found = Vec::new();
    for (_, key) in keys.into_iter().take(SEARCHED) {
        found.extend(Inputs::find(store, &key)?.filter(|inputs| inputs.asked < report.started));
    }
    Ok(found)
}

fn place(store: &Store) -> PathBuf {
    store.root().join("logs/last-build.json")
}

//! What is different between a step and the nearest one that was done before.

use serde::{Deserialize, Serialize};

use super::Inputs;

/// The most differences that are told of one step.
const MOST: usize = 20;

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What: `file src/main.c`, `variable CC`, `the layer of [build 2/4] COPY . .`.
    pub what: String,
    /// What it was; `None` if it was not there.
    pub was: Option<String>,
    /// What it is; `None` if it is gone.
    pub is: Option<String>,
}

/// The differences of `new` against `old`, the most telling ones first, and how many more there are.
#[must_use]
pub fn differences(old: &Inputs, new: &Inputs) -> (Vec<Difference>, usize) {
    let mut all = below(old, new);
    let pairs = |prefix: &str, old: &std::collections::BTreeMap<String, String>, new: &_| {
        let new: &std::collections::BTreeMap<String, String> = new;
        let mut found = Vec::new();
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            let (was, is) = (old.get(name), new.get(name));
            if was != is {
                let what = format!("{prefix}{name}");
                found.push(Difference { what, was: was.cloned(), is: is.cloned() });
            }
        }
        found.sort_by(|one, other| one.what.cmp(&other.what));
        found
    };
    all.extend(pairs("", &old.fields, &new.fields));
    all.extend(pairs("file ", &old.files, &new.files));
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    (all, more)
}

/// The lowest layer that is another one: those above it were made on it, so they say nothing more.
fn below(old: &Inputs, new: &Inputs) -> Vec<Difference> {
    let at = old.stack.iter().zip(&new.stack).take_while(|(old, new)| old.0 == new.0).count();
    let shown = |stack: &[(layer_store::Digest, String)]| {
        stack.get(at).map(|(layer, by)| format!("{} of {by}", layer.short()))
    };
    let (was, is) = (shown(&old.stack), shown(&new.stack));
    if was.is_none() && is.is_none() {
        return Vec::new();
    }
    vec![Difference { what: format!("layer {} below", at + 1), was, is }]
}

/// The nearest of `candidates` to `new`: of the same kind, with the fewest differences, the newest of equals. `None`
/// if nothing like it was done before.
#[must_use]
pub fn nearest<'a>(candidates: impl IntoIterator<Item = &'a Inputs>, new: &Inputs) -> Option<&'a Inputs> {
    let kind = |inputs: &Inputs| inputs.fields.get("instruction").cloned();
    let mut best: Option<(usize, &'a Inputs)> = None;
    for old in candidates {
        let same_text = old.fields.get("text") == new.fields.get("text");
        if kind(old) != kind(new) || (!same_text && old.stage != new.stage) {
            continue;
        }
        let (found, more) = differences(old, new);
        let distance = found.len() + more + if same_text { 0 } else { 4 };
        let nearer = best
            .is_none_or(|(least, known)| distance < least || (distance == least && old.asked > known.asked));
        if nearer {
            best = Some((distance, old));
        }
    }
    // A step of the stage that shares hardly anything is no earlier state of this one.
    best.filter(|(distance, old)| {
        old.fields.get("text") == new.fields.get("text") || *distance <= 4 + new.fields.len() / 2
    })
    .map(|(_, old)| old)
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.was, &self.is) {
            (Some(was), Some(is)) => write!(f, "{}: was {was}, is {is}", self.what),
            (None, Some(is)) => write!(f, "{}: is new, {is}", self.what),
            (Some(was), None) => write!(f, "{}: is gone, was {was}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

//! What a stage has become so far.

use std::collections::BTreeMap;

use rpds::{HashTrieMap, HashTrieSet, RedBlackTreeSet};

use super::BaseImage;
use crate::dockerfile::Span;
use crate::dockerfile::values::clean_path;

/// The search path of an image that names none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage begins as a copy of the one that it is built from: the parts that grow are persistent maps, whose copy
/// costs nothing, so that a chain of stages costs no more than its instructions.
#[derive(Clone)]
pub(super) struct State {
    pub(super) env: HashTrieMap<String, String>,
    /// Whether `env` is all of it; not so above an image of which nothing is known.
    pub(super) env_is_known: bool,
    /// Names of ARG, possibly without a value.
    pub(super) declared: HashTrieSet<String>,
    pub(super) has_shell: bool,
    pub(super) workdir_is_set: bool,
    pub(super) workdir: String,
    /// Absolute destinations of COPY and ADD.
    copied: RedBlackTreeSet<String>,
    /// Where instructions stand of which only the last counts.
    pub(super) commands: BTreeMap<&'static str, Span>,
}

impl State {
    /// The state after a FROM of an image; `facts` are what is known of it.
    pub(super) fn new(facts: Option<BaseImage>, base: &str) -> Self {
        let known = facts.is_some() || base == "scratch";
        let facts = facts.unwrap_or_default();
        let mut env: HashTrieMap<_, _> = facts.env.into_iter().collect();
        if !env.contains_key("PATH") {
            env.insert_mut("PATH".to_owned(), DEFAULT_PATH.to_owned());
        }
        Self {
            env,
            env_is_known: known,
            declared: HashTrieSet::new(),
            has_shell: facts.has_shell,
            workdir_is_set: false,
            workdir: "/".to_owned(),
            copied: RedBlackTreeSet::new(),
            commands: BTreeMap::new(),
        }
    }

    /// The state after a FROM of this stage.
    pub(super) fn child(&self) -> Self {
        Self { commands: BTreeMap::new(), ..self.clone() }
    }

    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { clean_path(path) } else { clean_path(&format!("{}/{path}", self.workdir)) }
    }

    pub(super) fn copied_to(&mut self, destination: String) {
        self.copied.insert_mut(destination);
    }

    /// A destination that is `directory` or below it.
    pub(super) fn copied_below(&self, directory: &str) -> Option<&str> {
        if self.copied.contains(directory) {
            return self.copied.get(directory).map(String::as_str);
        }
        let below = format!("{directory}/");
        let first = self.copied.range(below.clone()..).next()?;
        first.starts_with(&below).then_some(first)
    }
}

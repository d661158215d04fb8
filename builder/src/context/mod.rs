//! Build contexts: directories of the host that COPY and ADD read from.

use std::io;
use std::path::PathBuf;

mod hash;
mod local;
mod stat_index;

pub use local::LocalContext;
pub(crate) use stat_index::Stamp;
pub use stat_index::StatIndex;

/// What hides files of a context: `.dockerignore` rules.
pub trait Ignore: std::fmt::Debug + Send + Sync {
    /// Whether `path` (relative, clean) is hidden, by a rule for itself or for a parent.
    fn excluded(&self, path: &[u8], is_dir: bool) -> bool;
    /// Whether, `dir` being hidden, nothing below it can be shown again.
    fn prune(&self, dir: &[u8]) -> bool;
    /// The rule that hides `path`, as written.
    fn rule(&self, path: &[u8]) -> Option<String>;
}

/// What can go wrong in a context.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The context directory cannot be opened.
    #[error("cannot open the build context `{path}`", path = .path.display())]
    Open {
        /// As given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or directory in it cannot be read.
    #[error("cannot {action} `{path}` in the build context")]
    Read {
        /// What was tried.
        action: &'static str,
        /// Relative to the context.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The stat index cannot be kept.
    #[error(transparent)]
    Store(#[from] layer_store::Error),
}

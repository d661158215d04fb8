//! Build contexts: directories of the host that COPY and ADD read from.

use std::io;
use std::path::PathBuf;

mod ahead;
pub mod authorization;
pub mod git;
mod hash;
pub mod layout;
mod local;
mod stat_index;
mod threads;

pub use local::LocalContext;
pub(crate) use stat_index::Stamp;
pub use stat_index::StatIndex;

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

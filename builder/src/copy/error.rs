//! What can go wrong in COPY, ADD and WORKDIR.

use std::io;

use crate::context::ContextError;

/// What can go wrong in COPY, ADD and WORKDIR. Paths are as the image or the context sees them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A source without wildcards does not exist.
    #[error("`{path}` is not in {place}")]
    NotFound {
        /// As written.
        path: String,
        /// Where it was looked for: the context's directory, `the image`, ….
        place: String,
        /// The rule of the ignore file that hides it, if that is why.
        ignored_by: Option<String>,
        /// What is there and has a similar name, best first.
        nearest: Vec<String>,
    },
    /// A wildcard pattern is malformed.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A source cannot be read as what it is.
    #[error("source `{path}`: {reason}")]
    Source {
        /// The path inside the source.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The destination does not take what is copied to it.
    #[error("destination `{path}`: {reason}")]
    Destination {
        /// The path inside the image.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// An archive is damaged or hostile.
    #[error("archive `{archive}`, entry `{entry}`: {reason}")]
    Archive {
        /// The archive's path inside the source.
        archive: String,
        /// The entry's name, made printable; empty if there is none yet.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A source file changed while it was copied.
    #[error("`{path}` changed while it was copied")]
    Changed {
        /// The path inside the context.
        path: String,
    },
    /// The build context cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] layer_store::Error),
    /// Reading or spooling failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

//! What can go wrong in a store.

use std::io;
use std::path::PathBuf;

use crate::Digest;

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error and its causes as one line; a cause that its error has said already is not said again.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        let said = one.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = one.source();
    }
    text
}

/// What can go wrong in a store. The cause, where there is one, is the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a path failed.
    #[error("cannot {action} `{path}`", path = .path.display())]
    Io {
        /// What was tried: `open`, `rename`, ….
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A blob or layer is not in the store.
    #[error("{what} {digest} is not in the store")]
    Missing {
        /// `blob`, `layer`, ….
        what: &'static str,
        /// Which.
        digest: Digest,
    },
    /// Bytes do not have the digest that names them.
    #[error("{what} should be {expected}, but its bytes are {actual}")]
    DigestMismatch {
        /// `blob`, `layer`, ….
        what: &'static str,
        /// The name.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// Something in the store is not what was put there: the disk changed it.
    #[error("the bytes of `{what}` in the store are damaged")]
    Damaged {
        /// A path inside an image, for instance.
        what: String,
    },
    /// More or fewer bytes came than were announced.
    #[error("blob {digest} should have {expected} bytes, but has {actual}")]
    SizeMismatch {
        /// Which blob.
        digest: Digest,
        /// Announced, in bytes.
        expected: u64,
        /// Seen, in bytes (at least).
        actual: u64,
    },
    /// Content that is read into memory is larger than its limit.
    #[error("{what} {digest} is larger than {limit} bytes")]
    TooLarge {
        /// `blob`, `manifest`, ….
        what: &'static str,
        /// Which.
        digest: Digest,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A collection was asked for while somebody uses the store.
    #[error("the store is in use")]
    Busy,
    /// The stream that an image is written to failed.
    #[error("cannot write the image")]
    Write {
        /// Why not.
        source: io::Error,
    },
    /// The stream that an image is read from failed.
    #[error("cannot read the image")]
    Read {
        /// Why not.
        source: io::Error,
    },
    /// An entry of a layer's tar is malformed or hostile.
    #[error("layer entry `{entry}`: {reason}")]
    Entry {
        /// The entry's name, made printable.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A document is not what it should be.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// `manifest`, `image configuration`, `layer index`, ….
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A path inside an image cannot be resolved.
    #[error("`{path}`: {reason}")]
    Path {
        /// The path inside the image.
        path: String,
        /// Why not.
        reason: &'static str,
    },
}

impl Error {
    /// What may be done about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. }
            | Self::DigestMismatch { what: "layer" | "blob", .. }
            | Self::Malformed { what: "layer index" | "list of a layer's blobs" | "image record", .. } => {
                Some(
                    "`rbuild store check --repair` takes away what the disk damaged, and makes it again where it can",
                )
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("`rbuild du` shows what the store holds, and `rbuild prune` makes room")
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    Some("`--root` or `RBUILD_ROOT` names a directory that may be written")
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Names the action and path of a failed system call.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn context(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|error| Error::Io { action, path: path.into(), source: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug)]
        struct Outer(&'static str, io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.1)
            }
        }
        let cause = || io::Error::other("no room");
        assert_eq!(chain(&Outer("cannot write `x`", cause())), "cannot write `x`: no room");
        assert_eq!(chain(&Outer("cannot write `x`: no room", cause())), "cannot write `x`: no room");
    }
}

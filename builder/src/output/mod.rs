//! What becomes of a finished image.

pub(crate) mod directory;
pub(crate) mod flat;
mod manifest;
mod publish;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::layer::Compression;

use crate::error::Error;

pub use manifest::{ImageLayers, Packed};
pub(crate) use manifest::{elsewhere, origin, pack, pack_all, remember_remote};
pub use publish::push;
pub(crate) use write::{to, write_filesystems};
pub use write::{write, write_images};

/// Where an image goes, beside its names in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An OCI layout.
    Oci {
        /// Where to.
        dest: Destination,
        /// One tar file, or a directory.
        tar: bool,
    },
    /// A tar that `docker load` reads.
    Docker {
        /// Where to.
        dest: Destination,
    },
    /// The root filesystem as a tar.
    Tar {
        /// Where to.
        dest: Destination,
    },
    /// The root filesystem as a directory.
    Local {
        /// Which directory.
        dest: PathBuf,
    },
    /// The registry that each name belongs to.
    Registry,
}

impl Output {
    /// Whether what says something about an image can stand beside it there.
    #[must_use]
    pub fn holds_attestations(&self) -> bool {
        matches!(self, Self::Registry | Self::Oci { .. })
    }
}

/// A file, or standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file. It appears when it is complete.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// How layers travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// The compression of layers that were made here. Pulled blobs stay what they are.
    pub compression: Compression,
    /// Whether pulled blobs of another compression are made anew.
    pub force: bool,
}

impl Default for Packing {
    fn default() -> Self {
        Self { compression: Compression::Gzip(6), force: false }
    }
}

/// A failed system call on a path of the host.
fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.display().to_string(), source: Arc::new(source) }
}

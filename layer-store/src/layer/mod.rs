//! Layers: what a new one is made from, and the forms that one has.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Digest;
use crate::index::PathBytes;

mod apply;
mod checkout;
mod compress;
mod device;
mod diff;
mod foreign;
mod forms;
mod limits;
mod patch;
pub(crate) mod pipeline;
pub(crate) mod place;
mod read;
pub(crate) mod tar;
pub(crate) mod tree;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use compress::{Compression, Decompressor, Encoder, KnownBlob, Limits, Origin, decompress};
pub use device::DeviceMark;
pub use diff::Moment;
pub use foreign::{ArchiveEntry, ArchiveReader};
pub use forms::{DiffOptions, Form};
pub use limits::TarLimits;

/// One entry of a layer to be written: what COPY, ADD and WORKDIR hand to [`crate::Store::write_layer`].
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Where it goes.
    pub path: PathBytes,
    /// What it is.
    pub kind: NewKind,
    /// Permission, setuid, setgid and sticky bits (`0o7777`).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
    /// Extended attributes by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a new entry is.
#[derive(Debug, Clone)]
pub enum NewKind {
    /// A directory. An opaque one hides all that lower layers have at its path.
    Directory {
        /// Whether it hides what is below.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Its length in bytes. A source that gives more or fewer is an error.
        size: u64,
        /// Where its bytes come from.
        source: FileSource,
    },
    /// Another name of an entry of the same layer.
    Hardlink {
        /// The other name; its entry is a file of this layer.
        target: PathBytes,
    },
    /// A symbolic link.
    Symlink {
        /// Its text.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// Removes what is below.
    Whiteout,
}

/// Where the bytes of a new file come from. Opened when the layer is written, one at a time.
#[derive(Debug, Clone)]
pub enum FileSource {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// A file below a directory of the host; symlinks on the way are refused.
    Host {
        /// The directory.
        root: Arc<OwnedFd>,
        /// The path below it.
        path: PathBuf,
    },
    /// A part of an open file (an unpacked archive that was spooled).
    Range {
        /// The file.
        file: Arc<File>,
        /// Where the bytes begin.
        offset: u64,
    },
    /// A file of a layer in this store.
    Layer {
        /// Which layer.
        diff_id: Digest,
        /// Its path there; a regular file.
        path: PathBytes,
    },
}

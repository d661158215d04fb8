//! The store on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Result;

mod blobs;
mod collect;
mod images;
mod records;

pub use blobs::Ingest;
pub use images::{ImageRecord, PlatformImage};
pub use records::{Lock, Scratch};

/// How hard the store tries to survive a power cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Blobs and markers are synced before they are named.
    #[default]
    Full,
    /// Nothing is synced: for machines that are thrown away.
    None,
}

/// How a store is opened.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// How hard to try to survive a power cut.
    pub durability: Durability,
    /// Who does what the process itself may not do to files. `None`: the process itself, as far as it may.
    pub custodian: Option<Arc<dyn Custodian>>,
}

/// Does to trees what the calling process may not: files of a plain user's images belong to subordinate ids, which
/// only a process in the user namespace may give, read or remove. All calls block.
pub trait Custodian: Send + Sync {
    /// Gives each path of `tree` its owner, then its mode, then its extended attributes.
    fn own(&self, tree: &Path, owners: &[Ownership]) -> std::io::Result<()>;
    /// Removes `path` (below the store) with all that is in it.
    fn remove(&self, path: &Path) -> std::io::Result<()>;
    /// Opens a regular file of a tree for reading.
    fn open(&self, path: &Path) -> std::io::Result<File>;
}

/// What a path of a tree gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ownership {
    /// Path below the tree.
    pub path: Vec<u8>,
    /// Owner inside the image.
    pub uid: u32,
    /// Group inside the image.
    pub gid: u32,
    /// Mode bits; `None` for a symlink.
    pub mode: Option<u32>,
    /// Extended attributes that need privilege.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The store.
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root` and makes what is missing of it.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self> {
        let _ = options;
        Ok(Self { root: root.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

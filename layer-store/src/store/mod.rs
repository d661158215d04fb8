//! The store on disk.
//!
//! ```text
//! oci-layout, index.json, blobs/sha256/<hex>   a valid OCI layout of everything complete
//! layers/<diffID hex>/                         forms of a layer
//! images/<sha256 of the name>.json             names
//! steps/, contexts/                            small records by key
//! mounts/                                      RUN --mount=type=cache directories
//! ingest/<hex>                                 blobs that are being taken in, resumable
//! logs/                                        output of builds
//! locks/                                       flock files and leases; all but `collect` come and go
//! tmp/                                         scratch directories and files not yet named
//! ```
//!
//! Everything is written beside and renamed into place, so a reader sees a whole file or none. There is no global
//! lock: one flock per key ([`Store::lock`]), a lease that names what a build uses ([`Store::in_use`]), and the kernel
//! drops them all with their process.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::IoContext as _;
use crate::layer::place::IndexCache;
use crate::{Digest, Result};

mod blobs;
mod check;
mod collect;
mod flock;
pub(crate) mod graph;
mod images;
mod ingest;
mod lease;
mod mounts;
mod prune;
pub(crate) mod records;
mod removal;
pub(crate) mod root_layout;
mod scratch;
mod usage;
pub(crate) mod writing;

pub use check::{Checked, Problem, Remedy, Repaired};
pub(crate) use collect::names;
pub use flock::Lock;
pub use images::{ImageRecord, PlatformImage};
pub use ingest::Ingest;
pub use lease::InUse;
use lease::Leases;
pub use prune::{Limits, Prune, Pruned};
pub use scratch::Scratch;
pub use usage::{Category, Forms, Item, Share, Space, Usage};

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
    /// How trees are made. Where there is a custodian it says that, as soon as it knows.
    pub trees: TreeKind,
}

/// How trees are made. A layer may have one of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeKind {
    /// All files belong to who makes them, since steps have one id only.
    pub one_id: bool,
    /// There are the marks by which an overlay knows what a layer removes. Some filesystems refuse these, an overlay as that
    /// of a container first of all; who mounts such trees puts the marks between them.
    pub marks: bool,
}

impl Default for TreeKind {
    fn default() -> Self {
        Self { one_id: false, marks: true }
    }
}

/// Does to trees what the calling process may not: files of a plain user's images belong to subordinate ids, which
/// only a process in the user namespace may give, read or remove. All calls block.
pub trait Custodian: Send + Sync {
    /// Gives each path of `tree` its owner, then its mode, then its extended attributes.
    fn own(&self, tree: &Path, owners: &[Ownership]) -> io::Result<()>;
    /// Removes `path` (below the store) with all that is in it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens a regular file of a tree for reading.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// How trees are made.
    fn trees(&self) -> TreeKind {
        TreeKind::default()
    }
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
    options: StoreOptions,
    pub(crate) indexes: IndexCache,
    leases: Leases,
}

/// The directories of a store, below its root.
const DIRECTORIES: [&str; 11] = [
    "blobs",
    "blobs/sha256",
    "layers",
    "images",
    "steps",
    "contexts",
    "mounts",
    "ingest",
    "logs",
    "locks",
    "tmp",
];

impl Store {
    /// Opens the store at `root` and makes what is missing of it; the root itself is made for its owner only
    /// (mode 0700). A store that is complete is opened without writing, so a read-only one can be read.
    ///
    /// # Errors
    ///
    /// A directory cannot be made; `root` holds an OCI layout of a version that is not 1.0.0.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self> {
        let root = std::path::absolute(root).context("resolve", root)?;
        make_directory(&root, 0o700)?;
        let is_new = !root.join("tmp").exists();
        for name in DIRECTORIES {
            make_directory(&root.join(name), 0o755)?;
        }
        if is_new {
            scratch::spread(&root.join("tmp"));
        }
        let (indexes, leases) = (IndexCache::default(), Leases::default());
        let store = Self { root, options, indexes, leases };
        store.prepare_use()?;
        store.prepare_layout()?;
        Ok(store)
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How hard writes try to survive a power cut.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.options.durability
    }

    /// Who does to trees what this process may not.
    #[must_use]
    pub fn custodian(&self) -> Option<&Arc<dyn Custodian>> {
        self.options.custodian.as_ref()
    }

    /// How its trees are made.
    pub(crate) fn tree_kind(&self) -> TreeKind {
        self.custodian().map_or(self.options.trees, |custodian| custodian.trees())
    }

    /// The same store for a collection, whose looks keep nothing.
    fn apart(&self) -> Self {
        Self {
            root: self.root.clone(),
            options: self.options.clone(),
            indexes: IndexCache::default(),
            leases: Leases::default(),
        }
    }

    /// The directory of a layer's forms. It need not exist. It is not collected from here on while the store is in use.
    pub(crate) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.note(diff_id);
        self.root.join("layers").join(diff_id.hex())
    }
}

/// Makes the directory at `path`, with its parents, unless it is there.
fn make_directory(path: &Path, mode: u32) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)).context("open the store directory", path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .context("create the store directory", path),
        Err(error) => Err(error).context("open the store directory", path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn opens_twice_and_keeps_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        for _ in 0..2 {
            let store = Store::open(&root, StoreOptions::default()).unwrap();
            for name in DIRECTORIES {
                assert!(store.root().join(name).is_dir(), "{name}");
            }
        }
        assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        let layout = std::fs::read(root.join("oci-layout")).unwrap();
        assert_eq!(layout, br#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        std::fs::write(&root, "x").unwrap();
        let error = Store::open(&root, StoreOptions::default()).err().unwrap();
        assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
    }
}

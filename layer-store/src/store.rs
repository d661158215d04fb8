//! The store on disk.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::layer::NewEntry;
use crate::{Descriptor, Digest, Index, Result, View};

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

/// Which form of a layer is wanted beside its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A directory that overlayfs can mount.
    Tree,
    /// The uncompressed tar, for layers that no RUN will see.
    Tar,
    /// Neither (the bytes stay in the blob).
    Index,
}

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 0 to 9.
    Gzip(u32),
    /// zstd at a level from 1 to 22.
    Zstd(i32),
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

/// Layers.
impl Store {
    /// Whether the layer's index is here.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        let _ = diff_id;
        unimplemented!()
    }

    /// Whether the layer's bytes are here in any form (tree, tar or a local blob).
    #[must_use]
    pub fn has_bytes(&self, diff_id: &Digest) -> bool {
        let _ = diff_id;
        unimplemented!()
    }

    /// The layer's index. Kept in memory after the first call.
    pub fn index(&self, diff_id: &Digest) -> Result<Arc<Index>> {
        let _ = diff_id;
        unimplemented!()
    }

    /// The view of a stack of layers, bottom first.
    pub fn view(&self, diff_ids: &[Digest]) -> Result<View> {
        let _ = diff_ids;
        unimplemented!()
    }

    /// Reads a layer's blob once, as it comes: checks that it inflates to `diff_id`, and leaves the index and the
    /// form that is wanted. Single flight across processes; if the layer is here in that form, nothing is read.
    pub fn apply(&self, blob: &mut dyn Read, diff_id: &Digest, form: Form) -> Result<()> {
        let _ = (blob, diff_id, form);
        unimplemented!()
    }

    /// The layer's tree, made from its tar or a local blob if it is not here yet.
    pub fn tree(&self, diff_id: &Digest) -> Result<PathBuf> {
        let _ = diff_id;
        unimplemented!()
    }

    /// Writes a new layer, canonically, in one pass over its sources: hashes it and leaves the index and the form
    /// that is wanted (`Tree` or `Tar`). The order of `entries` does not matter. Returns the diffID.
    pub fn write_layer(&self, entries: Vec<NewEntry>, form: Form) -> Result<Digest> {
        let _ = (entries, form);
        unimplemented!()
    }

    /// Makes an overlay upper directory a layer: one walk gives index and diffID, then the directory becomes the
    /// tree by a rename. `below` is the view that it was mounted over. Returns the diffID.
    pub fn commit_upper(&self, upper: &Path, below: &View, options: &DiffOptions) -> Result<Digest> {
        let _ = (upper, below, options);
        unimplemented!()
    }

    /// The bytes of the regular file at `path` in the layer.
    pub fn open_file(&self, diff_id: &Digest, path: &[u8]) -> Result<Box<dyn Read + Send>> {
        let _ = (diff_id, path);
        unimplemented!()
    }

    /// At most `limit` bytes of a small regular file of a view, symlinks followed inside the image; `None` where
    /// there is no regular file. Longer ones are an error.
    pub fn read_file(&self, view: &View, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        let _ = (view, path, limit);
        unimplemented!()
    }

    /// Streams the uncompressed tar whose digest is the diffID.
    pub fn write_tar(&self, diff_id: &Digest, output: &mut dyn Write) -> Result<()> {
        let _ = (diff_id, output);
        unimplemented!()
    }

    /// The descriptor of a blob of the layer that is here, made now if there is none: a pulled blob of any
    /// compression is taken as it is unless `force`.
    pub fn layer_blob(&self, diff_id: &Digest, compression: Compression, force: bool) -> Result<Descriptor> {
        let _ = (diff_id, compression, force);
        unimplemented!()
    }

    /// The blobs that hold this layer, here or elsewhere, as far as known.
    pub fn known_blobs(&self, diff_id: &Digest) -> Result<Vec<Descriptor>> {
        let _ = diff_id;
        unimplemented!()
    }

    /// Remembers that `blob` holds the layer. Idempotent.
    pub fn remember_blob(&self, diff_id: &Digest, blob: &Descriptor) -> Result<()> {
        let _ = (diff_id, blob);
        unimplemented!()
    }
}

/// How a directory becomes a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DiffOptions {
    /// Modification times after this (seconds since the epoch) become this.
    pub clamp_mtime: Option<i64>,
    /// The tree's owners mean nothing (one mapped id): a path takes its owner from the view below, or 0:0, unless
    /// it is listed here (path, uid, gid).
    pub owners: Option<Vec<(Vec<u8>, u32, u32)>>,
}

/// Blobs.
impl Store {
    /// The size of a complete blob, if it is here. Costs one stat.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let _ = digest;
        unimplemented!()
    }

    /// Opens a complete blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let _ = digest;
        unimplemented!()
    }

    /// A complete blob of at most `limit` bytes, verified.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let _ = (digest, limit);
        unimplemented!()
    }

    /// Stores small content. Idempotent, atomic.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let _ = bytes;
        unimplemented!()
    }

    /// Begins or resumes taking in a blob. Waits for another process that takes in the same one (single flight):
    /// `None` means that the blob is complete by now.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>> {
        let _ = (digest, size);
        unimplemented!()
    }
}

/// A blob that is being taken in. What was written stays when it is dropped, so that a later try goes on from there.
pub struct Ingest {}

impl Ingest {
    /// How many bytes are here already (hashed again when the ingest was opened).
    #[must_use]
    pub fn offset(&self) -> u64 {
        unimplemented!()
    }

    /// Appends bytes. More than the announced size is an error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        unimplemented!()
    }

    /// Throws away what is here and begins again.
    pub fn restart(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// A reader that follows the ingest from its first byte: it blocks until bytes come, ends when the blob is
    /// committed, and fails when the ingest is dropped unfinished.
    pub fn follow(&self) -> Result<Box<dyn Read + Send>> {
        unimplemented!()
    }

    /// Verifies size and digest and names the blob. Bytes that are wrong are thrown away.
    pub fn commit(self) -> Result<()> {
        unimplemented!()
    }
}

/// An image by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The canonical name, `docker.io/library/app:1.0` for instance.
    pub name: String,
    /// One for each platform.
    pub platforms: Vec<PlatformImage>,
    /// The index that the image was pulled with, if it was one. Its bytes are a blob here.
    pub index: Option<Descriptor>,
    /// When the name was given, RFC 3339.
    pub tagged: String,
}

/// The image of one platform. Its configuration, which lists the diffIDs, is a blob here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    /// The configuration; its digest is the image id.
    pub config: Descriptor,
    /// The manifest, for an image that was pulled or has been pushed or exported. Its bytes are a blob here.
    pub manifest: Option<Descriptor>,
    /// Where layers that are not here can be fetched from (canonical reference without tag).
    pub origin: Option<String>,
}

/// Names.
impl Store {
    /// Gives an image its name; an earlier image of that name loses it. Atomic.
    pub fn tag(&self, record: &ImageRecord) -> Result<()> {
        let _ = record;
        unimplemented!()
    }

    /// The image of that canonical name.
    pub fn image(&self, name: &str) -> Result<Option<ImageRecord>> {
        let _ = name;
        unimplemented!()
    }

    /// All images, sorted by name.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        unimplemented!()
    }

    /// Takes the name away; whether there was one.
    pub fn untag(&self, name: &str) -> Result<bool> {
        let _ = name;
        unimplemented!()
    }

    /// Removes all blobs, layers and half-written things that no image, no step record and no running build needs.
    /// Returns the bytes that came back.
    pub fn collect(&self) -> Result<u64> {
        unimplemented!()
    }
}

/// Small records by key, and locks.
impl Store {
    /// The record of that key in `space` (`steps`, `contexts`, …; a plain word).
    pub fn record(&self, space: &'static str, key: &Digest) -> Result<Option<Vec<u8>>> {
        let _ = (space, key);
        unimplemented!()
    }

    /// Writes a record. Atomic; the last one wins.
    pub fn put_record(&self, space: &'static str, key: &Digest, bytes: &[u8]) -> Result<()> {
        let _ = (space, key, bytes);
        unimplemented!()
    }

    /// Takes the lock of `key`, exclusive across threads and processes, waiting for it. Held until dropped; the kernel
    /// drops it with the process.
    pub fn lock(&self, space: &'static str, key: &Digest) -> Result<Lock> {
        let _ = (space, key);
        unimplemented!()
    }

    /// A fresh directory for a step's work (overlay upper and work, staging). On the same filesystem as the layers.
    /// Removed when dropped, and by collection when its process is gone.
    pub fn scratch(&self) -> Result<Scratch> {
        unimplemented!()
    }
}

/// A held lock.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

/// A directory that goes when this value does.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

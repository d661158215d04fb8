//! A layer's forms, and how one is made from another.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::layer::NewEntry;
use crate::{Digest, Index, Result, Store, View};

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

/// How a directory becomes a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DiffOptions {
    /// Modification times after this (seconds since the epoch) become this.
    pub clamp_mtime: Option<i64>,
    /// The tree's owners mean nothing (one mapped id): a path takes its owner from the view below, or 0:0, unless
    /// it is listed here (path, uid, gid).
    pub owners: Option<Vec<(Vec<u8>, u32, u32)>>,
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
}

//! A layer's forms, and how one is made from another.

use std::fs::File;
use std::io::{BufReader, Read, Seek as _};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compress::{KnownBlob, Origin};
use super::tree::TreeWriter;
use super::{Limits, TarLimits};
use crate::error::IoContext as _;
use crate::index::Kind;
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
    /// Whether the layer's index is here. Costs one stat.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.index_path(diff_id).exists()
    }

    /// Whether the layer's bytes are here in any form: a tree, a tar, a local blob, or an index of a layer that needs
    /// no bytes.
    #[must_use]
    pub fn has_bytes(&self, diff_id: &Digest) -> bool {
        self.any_tree(diff_id).is_some()
            || self.has_tar(diff_id)
            || self.local_blob(diff_id).is_ok_and(|blob| blob.is_some())
            || self.find_index(diff_id).is_ok_and(|index| index.is_some_and(|index| is_bare(&index)))
    }

    /// Whether [`Store::write_tar`] has something to write the layer's tar from. A pulled layer's tree alone does not give
    /// it: its headers were somebody else's.
    #[must_use]
    pub fn has_tar_source(&self, diff_id: &Digest) -> bool {
        let from_tree = |index: Arc<Index>| {
            index.tar().canonical && (self.any_tree(diff_id).is_some() || is_bare(&index))
        };
        self.has_tar(diff_id)
            || self.local_blob(diff_id).is_ok_and(|blob| blob.is_some())
            || self.find_index(diff_id).is_ok_and(|index| index.is_some_and(from_tree))
    }

    /// The layer's index. Kept in memory after the first call.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Missing`]; [`crate::Error::Malformed`] if the file is damaged.
    pub fn index(&self, diff_id: &Digest) -> Result<Arc<Index>> {
        self.find_index(diff_id)?.ok_or_else(|| Self::missing(diff_id))
    }

    /// The view of a stack of layers, bottom first.
    pub fn view(&self, diff_ids: &[Digest]) -> Result<View> {
        let layers = diff_ids.iter().map(|diff_id| Ok((*diff_id, self.index(diff_id)?)));
        Ok(View::new(layers.collect::<Result<_>>()?))
    }

    /// The layer's tree, made from its tar or a local blob if it is not here yet. Single flight across processes.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Missing`] if there is nothing to make it from; those of [`Store::apply`].
    pub fn tree(&self, diff_id: &Digest) -> Result<PathBuf> {
        let place = self.tree_path(diff_id);
        if self.has_tree(diff_id) {
            return Ok(place);
        }
        let _lock = self.lock("layer", diff_id)?;
        if self.has_tree(diff_id) {
            return Ok(place);
        }
        let mut source: Box<dyn Read> = if self.has_tar(diff_id) {
            let path = self.tar_path(diff_id);
            Box::new(File::open(&path).context("open", path)?)
        } else if let Some(blob) = self.local_blob(diff_id)? {
            Box::new(BufReader::with_capacity(1 << 18, self.open_blob(&blob)?))
        } else if let Some(index) = self.find_index(diff_id)?
            && is_bare(&index)
        {
            self.bare_tree(diff_id, &index)?;
            return Ok(place);
        } else if self.has_tar_source(diff_id) {
            // There is only the tree that steps with another kind of owners see.
            let mut tar = tempfile::tempfile_in(self.root().join("tmp")).context("create", self.root())?;
            self.write_tar(diff_id, &mut tar)?;
            tar.rewind().context("read", self.root())?;
            Box::new(tar)
        } else {
            return Err(Self::missing(diff_id));
        };
        self.apply_locked(&mut source, diff_id, Form::Tree, Limits::default(), TarLimits::default())?;
        Ok(place)
    }

    /// A blob of the layer that is in this store. One that is only said to be is none.
    pub(crate) fn local_blob(&self, diff_id: &Digest) -> Result<Option<Digest>> {
        for KnownBlob { descriptor, made_by } in self.blob_records(diff_id)? {
            if made_by != Origin::Claimed && self.blob_size(&descriptor.digest)?.is_some() {
                return Ok(Some(descriptor.digest));
            }
        }
        Ok(None)
    }

    /// The tree of a layer without bytes, from its index alone.
    fn bare_tree(&self, diff_id: &Digest, index: &Index) -> Result<()> {
        let scratch = self.scratch()?;
        let tree = scratch.path().join("tree");
        let mut writer = TreeWriter::create(&tree, self.giving())?;
        for entry in index.entries() {
            if matches!(entry.kind, Kind::File { .. }) {
                let file = writer.file(entry)?;
                writer.finish_file(entry, &file)?;
            } else {
                writer.place(entry)?;
            }
        }
        let owners = writer.finish(index)?;
        self.keep_tree(diff_id, &tree, &owners)
    }
}

/// Whether the index alone says all that the layer holds.
pub(super) fn is_bare(index: &Index) -> bool {
    index.content_size() == 0
}

//! The merge of the indexes below a step: the image's filesystem, without extraction.

use std::sync::Arc;

use crate::index::PathBytes;
use crate::{Digest, Entry, Index, Result};

/// The filesystem that a stack of layers makes.
#[derive(Debug, Clone, Default)]
pub struct View {
    layers: Vec<(Digest, Arc<Index>)>,
}

/// An entry of a view, with the layer that it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    /// The layer that has it.
    pub diff_id: Digest,
    /// The entry there. Of a hard link the name's own entry; see [`View::content`].
    pub entry: &'a Entry,
}

/// Where a path leads inside the image.
#[derive(Debug, Clone)]
pub struct Resolved<'a> {
    /// The path with all symlinks followed (but the last, where that was asked).
    pub path: PathBytes,
    /// What is there; `None` if only the parents, or not even these, exist.
    pub found: Option<Located<'a>>,
}

impl View {
    /// The view of `layers`, bottom first.
    #[must_use]
    pub fn new(layers: Vec<(Digest, Arc<Index>)>) -> Self {
        Self { layers }
    }

    /// The layers, bottom first.
    #[must_use]
    pub fn layers(&self) -> &[(Digest, Arc<Index>)] {
        &self.layers
    }

    /// What is at exactly `path`, following no symlink. The root exists always (see [`View::root`]).
    #[must_use]
    pub fn lookup(&self, path: &[u8]) -> Option<Located<'_>> {
        let _ = path;
        unimplemented!()
    }

    /// Follows `path` as a process whose root is the image would: symlinks, absolute and relative, are confined to
    /// the image, `..` stops at the root. Parts that do not exist are kept as they are, so the result can name
    /// something to be created.
    ///
    /// # Errors
    ///
    /// More than 255 symlinks (a loop); a part before the last that is not a directory.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved<'_>> {
        let _ = (path, follow_last);
        unimplemented!()
    }

    /// The children of the directory at `path` (already resolved), sorted by name.
    #[must_use]
    pub fn list(&self, path: &[u8]) -> Vec<Located<'_>> {
        let _ = path;
        unimplemented!()
    }

    /// The entry at `path` (already resolved) and all below it, parents before children, sorted bytewise by path.
    #[must_use]
    pub fn walk(&self, path: &[u8]) -> Vec<Located<'_>> {
        let _ = path;
        unimplemented!()
    }

    /// The regular file that holds the bytes of `located`: itself, or the target of a hard link (which may be in a
    /// lower layer).
    #[must_use]
    pub fn content<'a>(&'a self, located: Located<'a>) -> Option<Located<'a>> {
        let _ = located;
        unimplemented!()
    }
}

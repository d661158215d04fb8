//! Where the forms of a layer are: `layers/<diffID>/` with `index`, `tar`, `tree/` and `tree.complete`, and
//! patches of the tree likewise, whose markers hold their indexes; beside it trees of other kinds.
//!
//! A file is there whole or not at all. A tree is complete when its marker is there: it gets its name by a rename after
//! its bytes are on disk, and the marker after that; who removes a tree removes the marker first.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::tree::Giving;
use crate::error::IoContext as _;
use crate::store::writing::Sync;
use crate::store::{Durability, Ownership, TreeKind};
use crate::{Digest, Error, Index, Result, Store};

/// Indexes that were read, by diffID.
#[derive(Debug, Default)]
pub(crate) struct IndexCache(Mutex<HashMap<Digest, Arc<Index>>>);

impl IndexCache {
    fn find(&self, diff_id: &Digest) -> Option<Arc<Index>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(diff_id).cloned()
    }

    fn keep(&self, diff_id: &Digest, index: &Arc<Index>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*diff_id, Arc::clone(index));
    }

    /// Forgets a layer that is removed.
    pub(crate) fn forget(&self, diff_id: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(diff_id);
    }
}

impl Store {
    pub(crate) fn index_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer_dir(diff_id).join("index")
    }

    pub(crate) fn tar_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer_dir(diff_id).join("tar")
    }

    /// Where the tree is, or will be, that steps see. Steps with one id see another one than others: to them a file with
    /// the owner that the image gives it would be nobody's.
    pub(crate) fn tree_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer_dir(diff_id).join(tree_name(self.tree_kind()))
    }

    pub(crate) fn tree_marker(&self, diff_id: &Digest) -> PathBuf {
        marker(&self.tree_path(diff_id))
    }

    /// A complete tree of the layer to read from: that of [`Store::tree_path`], or another one.
    pub(crate) fn any_tree(&self, diff_id: &Digest) -> Option<PathBuf> {
        let own = self.tree_path(diff_id);
        if marker(&own).exists() {
            return Some(own);
        }
        self.tree_places(diff_id).into_iter().find_map(|(_, tree, marker)| marker.exists().then_some(tree))
    }

    /// All trees of the layer, complete or not: of which kind each is, where, and its marker.
    pub(crate) fn tree_places(&self, diff_id: &Digest) -> [(TreeKind, PathBuf, PathBuf); 4] {
        [(false, true), (true, true), (false, false), (true, false)].map(|(one_id, marks)| {
            let kind = TreeKind { one_id, marks };
            let place = self.layer_dir(diff_id).join(tree_name(kind));
            let marker = marker(&place);
            (kind, place, marker)
        })
    }

    /// What files of trees can be given.
    pub(crate) fn giving(&self) -> Giving {
        let TreeKind { one_id, marks } = self.tree_kind();
        let synced = self.durability() == Durability::Full;
        Giving { custodian: self.custodian().is_some(), owners: !one_id, marks, synced }
    }

    /// The complete patches of the layer's tree: where each is, and its marker.
    pub(crate) fn patches(&self, diff_id: &Digest) -> Result<Vec<(PathBuf, PathBuf)>> {
        let directory = self.layer_dir(diff_id);
        let names = crate::store::names(&directory)?.into_iter();
        Ok(names
            .filter(|name| name.starts_with("patch-"))
            .filter_map(|name| {
                let place = name.strip_suffix(".complete")?;
                Some((directory.join(place), directory.join(&name)))
            })
            .collect())
    }

    pub(crate) fn has_tar(&self, diff_id: &Digest) -> bool {
        self.tar_path(diff_id).exists()
    }

    pub(crate) fn has_tree(&self, diff_id: &Digest) -> bool {
        self.tree_marker(diff_id).exists()
    }

    /// The index from memory or disk; `None` if the layer has none.
    pub(crate) fn find_index(&self, diff_id: &Digest) -> Result<Option<Arc<Index>>> {
        if let Some(index) = self.indexes.find(diff_id) {
            return Ok(Some(index));
        }
        let path = self.index_path(diff_id);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("read", path),
        };
        let index = Arc::new(Index::decode(&bytes)?);
        self.indexes.keep(diff_id, &index);
        Ok(Some(index))
    }

    /// Gives a layer its index, unless it has one.
    pub(crate) fn keep_index(&self, diff_id: &Digest, index: Index) -> Result<()> {
        self.make_layer_dir(diff_id)?;
        let path = self.index_path(diff_id);
        if !path.exists() {
            self.write_whole(&path, &index.encode(), Sync::Whole)?;
        }
        self.indexes.keep(diff_id, &Arc::new(index));
        Ok(())
    }

    /// Gives a layer the index of its canonical tar, unless it has that. One that was read from a pulled blob says less.
    pub(crate) fn keep_canonical_index(&self, diff_id: &Digest, index: Index) -> Result<()> {
        if self.find_index(diff_id).ok().flatten().is_some_and(|index| index.tar().canonical) {
            return Ok(());
        }
        self.make_layer_dir(diff_id)?;
        self.write_whole(&self.index_path(diff_id), &index.encode(), Sync::Whole)?;
        self.indexes.keep(diff_id, &Arc::new(index));
        Ok(())
    }

    /// Makes the finished directory at `tree`, on the store's filesystem, the tree of the layer; if that has one,
    /// `tree` is left where it is. `owners` goes to the custodian first.
    pub(crate) fn keep_tree(&self, diff_id: &Digest, tree: &Path, owners: &[Ownership]) -> Result<()> {
        if self.has_tree(diff_id) {
            return Ok(());
        }
        self.make_layer_dir(diff_id)?;
        self.keep_directory(tree, owners, &self.tree_path(diff_id), (&self.tree_marker(diff_id), b""))
    }

    /// Makes the finished directory at `tree` the one at `place`, which is complete when it has its `marker`, a path
    /// and what is in it.
    pub(crate) fn keep_directory(
        &self,
        tree: &Path,
        owners: &[Ownership],
        place: &Path,
        marker: (&Path, &[u8]),
    ) -> Result<()> {
        if !owners.is_empty()
            && let Some(custodian) = self.custodian()
        {
            custodian.own(tree, owners).context("give owners to", tree)?;
        }
        if self.durability() == Durability::Full {
            let root = File::open(self.root()).context("open", self.root())?;
            rustix::fs::syncfs(&root).context("sync", self.root())?;
        }
        // Without its marker it is what a removal or a crash left.
        self.remove_all(place)?;
        rename_directory(tree, place).context("rename", place)?;
        let sync = if marker.1.is_empty() { Sync::Nothing } else { Sync::Whole };
        self.write_whole(marker.0, marker.1, sync)
    }

    pub(crate) fn make_layer_dir(&self, diff_id: &Digest) -> Result<()> {
        let path = self.layer_dir(diff_id);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).context("create", path),
            _ => Ok(()),
        }
    }

    pub(crate) fn missing(diff_id: &Digest) -> Error {
        Error::Missing { what: "layer", digest: *diff_id }
    }
}

/// The directory of a tree among the forms of its layer.
pub(super) const fn tree_name(kind: TreeKind) -> &'static str {
    match (kind.one_id, kind.marks) {
        (false, true) => "tree",
        (true, true) => "tree-of-one-id",
        (false, false) => "tree-without-marks",
        (true, false) => "tree-of-one-id-without-marks",
    }
}

/// What says that a tree is complete.
fn marker(tree: &Path) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push(".complete");
    name.into()
}

/// Renames a directory into another. That changes its `..`, which its mode may forbid to all but root.
fn rename_directory(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mode = std::fs::symlink_metadata(from)?.permissions();
            std::fs::set_permissions(from, Permissions::from_mode(mode.mode() | 0o200))?;
            std::fs::rename(from, to)?;
            std::fs::set_permissions(to, mode)
        }
        renamed => renamed,
    }
}

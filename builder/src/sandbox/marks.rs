//! What layers remove, for trees that cannot say it.
//!
//! Overlayfs knows what a tree removes by devices and attributes in it, which some filesystems refuse: an overlay as that
//! of a container, first of all. There the marks of each layer that removes something are a small tree of memory below
//! the layer's own: what is in both is the layer's, and what is marked hides what is further down.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::index::Kind;
use layer_store::{Digest, Index};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::diff_id_of;
use super::failure::Refused as _;
use super::memory::Memory;
use super::report::Failure;
use super::step::{MountSource, Step, StepMount};

/// The marks of the layers that were needed so far.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// `None` for a layer that removes nothing.
    trees: HashMap<Digest, Option<PathBuf>>,
}

impl Marks {
    /// A step over the same layers, with their marks among the trees. `index` gives the index of a layer.
    pub(super) fn between(
        &mut self,
        memory: &mut Memory,
        step: &Step,
        mut index: impl FnMut(&Digest) -> Result<Arc<Index>, Failure>,
    ) -> Result<Step, Failure> {
        let mut step = step.clone();
        let mut stacks = vec![&mut step.lowers];
        for mount in &mut step.mounts {
            if let StepMount::Bind { source: MountSource::Layers { lowers, .. }, .. } = mount {
                stacks.push(lowers);
            }
        }
        for stack in stacks {
            let mut marked = Vec::with_capacity(stack.len());
            for tree in stack.drain(..) {
                // A patch of a layer's tree lies above it, and marks nothing.
                let is_patch = tree.file_name().is_some_and(|name| name.as_bytes().starts_with(b"patch-"));
                if let Some(layer) = diff_id_of(&tree).filter(|_| !is_patch) {
                    marked.extend(self.of(memory, &layer, &mut index)?);
                }
                marked.push(tree);
            }
            *stack = marked;
        }
        Ok(step)
    }

    fn of(
        &mut self,
        memory: &mut Memory,
        layer: &Digest,
        index: &mut impl FnMut(&Digest) -> Result<Arc<Index>, Failure>,
    ) -> Result<Option<PathBuf>, Failure> {
        if let Some(known) = self.trees.get(layer) {
            return Ok(known.clone());
        }
        let tree = write(memory, layer, &*index(layer)?)?;
        self.trees.insert(*layer, tree.clone());
        Ok(tree)
    }
}

/// Writes the marks of a layer, if it has any.
fn write(memory: &mut Memory, layer: &Digest, index: &Index) -> Result<Option<PathBuf>, Failure> {
    let mut tree = None;
    for entry in index.entries() {
        let opaque = entry.kind == Kind::Directory { opaque: true };
        if !opaque && entry.kind != Kind::Whiteout {
            continue;
        }
        let root: &PathBuf = match &tree {
            Some(tree) => tree,
            None => tree.insert(memory.directory(&format!("marks-{}", layer.hex()))?),
        };
        let place = root.join(OsStr::from_bytes(&entry.path));
        let directory = if opaque { place.as_path() } else { place.parent().unwrap_or(root) };
        make_all(directory)?;
        if opaque {
            hide_below(directory)?;
        } else {
            remove(&place)?;
        }
    }
    Ok(tree)
}

/// Marks what is at `place` in lower trees as removed.
pub(super) fn remove(place: &Path) -> Result<(), Failure> {
    rustix::fs::mknodat(CWD, place, FileType::CharacterDevice, Mode::empty(), 0).refused_on("mknod", place)
}

/// Marks what is below `directory` in lower trees as removed.
pub(super) fn hide_below(directory: &Path) -> Result<(), Failure> {
    rustix::fs::setxattr(directory, "user.overlay.opaque", b"y", XattrFlags::empty())
        .refused_on("setxattr", directory)
}

fn make_all(directory: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).create(directory).refused_on("mkdir", directory)
}

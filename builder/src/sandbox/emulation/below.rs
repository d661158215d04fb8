//! Who owns the files of the layers below a step, as their indexes say: the disk cannot.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use layer_store::index::Kind;
use layer_store::{Digest, Index, View};

use std::os::unix::ffi::OsStrExt as _;

/// The owners that differ from root's.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Below {
    view: View,
    /// Every path that some layer gives to somebody else: most files are root's, so most questions end here.
    foreign: HashSet<Arc<[u8]>>,
}

/// Paths of others by layer, found once for all steps.
pub(in crate::sandbox) type Foreign = HashMap<Digest, Arc<[Arc<[u8]>]>>;

impl Below {
    pub(in crate::sandbox) fn new(view: View, known: &mut Foreign) -> Self {
        let mut foreign = HashSet::new();
        for (diff_id, index) in view.layers() {
            let paths = known.entry(*diff_id).or_insert_with(|| foreign_paths(index));
            foreign.extend(paths.iter().cloned());
        }
        Self { view, foreign }
    }

    /// Whether everything below is root's.
    pub(super) fn is_plain(&self) -> bool {
        self.foreign.is_empty()
    }

    /// Whether something that is made at this path could be taken for a file below that is not root's.
    pub(super) fn knows(&self, path: &Path) -> bool {
        self.foreign.contains(path.as_os_str().as_bytes())
    }

    /// The owner of what is at a path below the root.
    pub(super) fn owner(&self, path: &Path) -> (u32, u32) {
        if !self.knows(path) {
            return (0, 0);
        }
        let found = self.view.lookup(path.as_os_str().as_bytes());
        found.map_or((0, 0), |found| (found.entry.uid, found.entry.gid))
    }
}

fn foreign_paths(index: &Index) -> Arc<[Arc<[u8]>]> {
    let entries = index.entries().iter();
    entries
        .filter(|entry| (entry.uid, entry.gid) != (0, 0) && !matches!(entry.kind, Kind::Whiteout))
        .map(|entry| Arc::from(entry.path.as_slice()))
        .collect()
}

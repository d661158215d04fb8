//! The copies of images that steps have where no overlay can be mounted: written out before a step, made a layer after
//! it, and kept for the step that comes next.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use layer_store::layer::{DiffOptions, Moment};
use layer_store::store::{Custodian, Lock, Scratch, TreeKind};
use layer_store::{Digest, Store, StoreOptions};

use super::step::{MountSource, Step, StepMount};
use super::wire::Left;
use super::{SandboxSettings, copies, diff_id_of};

/// How many directories are kept for steps that may follow. Each holds a whole image.
const KEPT: usize = 4;
/// The space of the locks on cache directories, which a step without mounts moves into its image.
const LOCKS: &str = "mounts-moved";

/// What this process itself does in the store for a sandbox.
pub(super) struct Directories {
    root: PathBuf,
    options: StoreOptions,
    store: OnceLock<Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When a step's directory was complete: what changed since is the step's.
    written: HashMap<PathBuf, Moment>,
    kept: Vec<Kept>,
}

/// A directory that holds the filesystem of these layers.
struct Kept {
    layers: Vec<Digest>,
    scratch: Scratch,
}

impl Directories {
    /// `trees` is how steps want the trees of layers, `custodian` who does what this process may not.
    pub(super) fn new(
        settings: SandboxSettings,
        trees: TreeKind,
        custodian: Option<Arc<dyn Custodian>>,
    ) -> Self {
        let options = StoreOptions { durability: settings.durability, trees, custodian };
        Self { root: settings.store_root, options, store: OnceLock::new(), state: Mutex::default() }
    }

    /// This process's view of the store, opened when first needed.
    pub(super) fn store(&self) -> layer_store::Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let opened = Store::open(&self.root, self.options.clone())?;
        Ok(self.store.get_or_init(|| opened))
    }

    /// Makes the image, and what the step shall find in it, real directories in its scratch directory. Costs reading
    /// and writing them, but for the image that the step before left.
    pub(super) fn write_out(&self, step: &Step) -> layer_store::Result<()> {
        let store = self.store()?;
        let mut stacks = vec![(step.lowers.clone(), step.scratch.join(copies::ROOT))];
        for (number, mount) in step.mounts.iter().enumerate() {
            if let StepMount::Bind { source: MountSource::Layers { lowers, .. }, .. } = mount {
                stacks.push((lowers.clone(), step.scratch.join(copies::source_of(number))));
            }
        }
        for (lowers, place) in stacks {
            if place.exists() {
                // A failed step's own, which is looked at again.
                continue;
            }
            let layers: Vec<Digest> = lowers.iter().filter_map(|tree| diff_id_of(tree)).collect();
            let moment = if self.reuse(&layers, &place) {
                store.moment()?
            } else {
                store.checkout(&store.view(&layers)?, &place)?
            };
            self.state().written.insert(place, moment);
        }
        Ok(())
    }

    /// Moves a kept directory of exactly these layers to `place`.
    fn reuse(&self, layers: &[Digest], place: &Path) -> bool {
        let kept = {
            let mut state = self.state();
            let found = state.kept.iter().position(|kept| kept.layers == layers);
            found.map(|at| state.kept.remove(at))
        };
        kept.is_some_and(|kept| std::fs::rename(kept.scratch.path().join(copies::ROOT), place).is_ok())
    }

    /// When the directory of a step was complete; nothing of one that was not written here.
    pub(super) fn complete_since(&self, directory: &Path) -> Option<Moment> {
        self.state().written.remove(directory)
    }

    /// Makes what a step left a layer.
    pub(super) fn commit(
        &self,
        directory: &Path,
        left: Left,
        below: &[Digest],
        options: &DiffOptions,
    ) -> layer_store::Result<Digest> {
        let store = self.store()?;
        match left {
            Left::Upper => store.commit_upper(directory, &store.view(below)?, options),
            Left::Copy { since } => copies::commit(store, directory, below, options, since),
        }
    }

    /// Keeps a directory, which has the filesystem of `layers`, for a step over these. Without it that step costs more,
    /// and nothing else.
    pub(super) fn keep(&self, directory: &Path, layers: &[Digest]) {
        let layers = each_once(layers);
        let Ok(scratch) = self.store().and_then(Store::scratch) else { return };
        if std::fs::rename(directory, scratch.path().join(copies::ROOT)).is_ok() {
            let mut state = self.state();
            if state.kept.len() == KEPT {
                state.kept.remove(0);
            }
            state.kept.push(Kept { layers, scratch });
        }
    }

    /// Waits until no other step has one of the step's caches: they are moved into its image, so that each is in one
    /// place only. In one order, so that two steps never wait for each other.
    pub(super) fn caches(&self, step: &Step) -> layer_store::Result<Vec<Lock>> {
        let mut keys: Vec<Digest> = step
            .mounts
            .iter()
            .filter_map(|mount| match mount {
                StepMount::Cache { source, .. } => {
                    Some(Digest::of(std::os::unix::ffi::OsStrExt::as_bytes(source.as_os_str())))
                }
                _ => None,
            })
            .collect();
        keys.sort();
        keys.dedup();
        let store = self.store()?;
        keys.iter().map(|key| store.lock(LOCKS, key)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layers as a step has them: one that occurs again further up is left out.
fn each_once(layers: &[Digest]) -> Vec<Digest> {
    let occurs_above = |at: usize| layers[at + 1..].contains(&layers[at]);
    (0..layers.len()).filter(|at| !occurs_above(*at)).map(|at| layers[at]).collect()
}

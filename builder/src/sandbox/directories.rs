//! Real directories for steps without mounts: written out before a step, made a layer after it, and kept for the step
//! that comes next.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use layer_store::layer::{DiffOptions, Form, Moment};
use layer_store::store::{Lock, Scratch, TreeKind};
use layer_store::{Digest, Store, StoreOptions};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};

use super::step::{MountSource, Step, StepMount};
use super::{SandboxSettings, chroot, diff_id_of};

/// How many directories are kept for steps that may follow. Each holds a whole image.
const KEPT: usize = 4;
/// The space of the locks on cache directories, which a step without mounts moves into its image.
const LOCKS: &str = "mounts-moved";

/// What this process itself does in the store for a sandbox.
pub(super) struct Directories {
    settings: SandboxSettings,
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
    pub(super) fn new(settings: SandboxSettings) -> Self {
        Self { settings, store: OnceLock::new(), state: Mutex::default() }
    }

    /// This process's view of the store, opened when first needed.
    pub(super) fn store(&self) -> layer_store::Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let durability = self.settings.durability;
        let trees = TreeKind { one_id: false, marks: false };
        let options = StoreOptions { durability, trees, custodian: None };
        let opened = Store::open(&self.settings.store_root, options)?;
        Ok(self.store.get_or_init(|| opened))
    }

    /// Makes the image, and what the step shall find in it, real directories in its scratch directory. Costs reading
    /// and writing them, but for the image that the step before left.
    pub(super) fn write_out(&self, step: &Step) -> layer_store::Result<()> {
        let store = self.store()?;
        let mut stacks = vec![(step.lowers.clone(), step.scratch.join(chroot::ROOT))];
        for (number, mount) in step.mounts.iter().enumerate() {
            if let StepMount::Bind { source: MountSource::Layers { lowers, .. }, .. } = mount {
                stacks.push((lowers.clone(), step.scratch.join(chroot::source_of(number))));
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
        kept.is_some_and(|kept| std::fs::rename(kept.scratch.path().join(chroot::ROOT), place).is_ok())
    }

    /// Makes what a step changed in its directory a layer.
    pub(super) fn commit(
        &self,
        directory: &Path,
        below: &[Digest],
        options: &DiffOptions,
    ) -> layer_store::Result<Digest> {
        let store = self.store()?;
        let since = self.state().written.remove(directory);
        let diff_id = store.commit_whole(directory, &store.view(below)?, options, since, Form::Tree)?;
        // Only a directory that was written here is known to be what the layers say.
        if since.is_some() {
            // Without it the next step costs more, and nothing else.
            let _ = self.keep(directory, [below, &[diff_id]].concat());
        }
        Ok(diff_id)
    }

    fn keep(&self, directory: &Path, layers: Vec<Digest>) -> layer_store::Result<()> {
        let store = self.store()?;
        if let Some(own) = layers.last() {
            let index = store.index(own)?;
            as_recorded(directory, &index);
        }
        let scratch = store.scratch()?;
        if std::fs::rename(directory, scratch.path().join(chroot::ROOT)).is_ok() {
            let mut state = self.state();
            if state.kept.len() == KEPT {
                state.kept.remove(0);
            }
            state.kept.push(Kept { layers, scratch });
        }
        Ok(())
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

/// Gives what a layer has its times as the layer has them: whole seconds, and none that is later than allowed. Otherwise
/// the next step would seem to have changed them.
fn as_recorded(directory: &Path, index: &layer_store::Index) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = rustix::fs::open(directory, flags, Mode::empty()) else { return };
    for entry in index.entries() {
        let name = if entry.path.is_empty() { b".".as_slice() } else { &entry.path };
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(place) = rustix::fs::openat2(&root, name, flags, Mode::empty(), inside) else { continue };
        let time = Timespec { tv_sec: entry.mtime, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        let _ = rustix::fs::utimensat(place.as_fd(), "", &times, AtFlags::EMPTY_PATH);
    }
}

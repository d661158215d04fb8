//! Copies of images as roots of steps, where no overlay can be mounted: each is written out before its step (see
//! [`super::directories`]) and compared with its image after it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use layer_store::layer::{DiffOptions, Form, Moment};
use layer_store::{Digest, Store};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::failure::Refused as _;
use super::mounting;
use super::root::{self, open_directory};
use super::step::Step;
use super::step_mounts::Prepared;
use super::wire::{NotRun, RawPath};

/// The image's filesystem in a step's scratch directory.
pub(super) const ROOT: &str = "root";
/// What was made in it for mounts, in a step's scratch directory.
const STUBS: &str = "stubs";

/// The directory of a layered bind mount in a step's scratch directory.
pub(super) fn source_of(number: usize) -> String {
    format!("mount{number}")
}

/// A place that is in the copy for a mount only.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    path: RawPath,
    directory: bool,
    /// When the directory that it is in was changed before that, and what its time is with it.
    before: (i64, i64),
    with: (i64, i64),
}

/// Mounts the step's copy at `target`, with the places for its mounts that it lacks. Gives the copy itself.
pub(super) fn attach<'a>(
    step: &Step,
    mounts: impl Iterator<Item = &'a Prepared>,
    target: &Path,
) -> Result<OwnedFd, NotRun> {
    let copy = open_directory(step.scratch.join(ROOT))?;
    let missing = root::missing(&copy, mounts)?;
    let mut made = Vec::new();
    for stub in root::places(&missing).iter().filter(|stub| !stub.exists) {
        let above =
            inside(&copy, stub.path.parent().unwrap_or(Path::new(""))).refused_on("open", &stub.path)?;
        let before = changed(&above).refused_on("stat", &stub.path)?;
        root::make_place(&copy, stub)?;
        set_changed(&above, before).refused_on("utimensat", &stub.path)?;
        let with = changed(&above).refused_on("stat", &stub.path)?;
        let path = RawPath::from(stub.path.as_path());
        made.push(Made { path, directory: stub.directory, before, with });
    }
    let notes = serde_json::to_vec(&made).refused("write")?;
    let place = step.scratch.join(STUBS);
    std::fs::write(&place, notes).refused_on("write", &place)?;
    mounting::attach(mounting::clone_of(&copy, MountAttrFlags::empty())?, open_directory(target)?)?;
    Ok(copy)
}

/// Takes out of a step's copy what was there for its mounts, when these are gone. What the step moved stays where it is.
pub(super) fn clear(scratch: &Path) {
    let notes = scratch.join(STUBS);
    let Ok(made) = std::fs::read(&notes) else { return };
    let _ = std::fs::remove_file(notes);
    let (Ok(made), Ok(copy)) =
        (serde_json::from_slice::<Vec<Made>>(&made), open_directory(scratch.join(ROOT)))
    else {
        return;
    };
    for stub in made.into_iter().rev() {
        let path = PathBuf::from(stub.path);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let Ok(above) = inside(&copy, above) else { continue };
        let Ok(now) = changed(&above) else { continue };
        let flags = if stub.directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if rustix::fs::unlinkat(&above, name, flags).is_ok() {
            // A step that changed the directory itself changed its time.
            let _ = set_changed(&above, if now == stub.with { stub.before } else { now });
        }
    }
}

/// Makes what differs between a directory and the layers below a layer. One that is known to be what the layers say, but
/// for what changed `since` then, is the same for the layers with the new one afterwards.
pub(super) fn commit(
    store: &Store,
    directory: &Path,
    below: &[Digest],
    options: &DiffOptions,
    since: Option<Moment>,
) -> layer_store::Result<Digest> {
    let diff_id = store.commit_whole(directory, &store.view(below)?, options, since, Form::Tree)?;
    if since.is_some() {
        as_recorded(directory, &*store.index(&diff_id)?);
    }
    Ok(diff_id)
}

/// Gives what a layer has its times as the layer has them: whole seconds, and none that is later than allowed. Otherwise
/// the next step would seem to have changed them.
fn as_recorded(directory: &Path, index: &layer_store::Index) {
    let Ok(copy) = open_directory(directory) else { return };
    for entry in index.entries() {
        let name = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.path));
        if let Ok(place) = inside(&copy, name) {
            let _ = set_changed(&place, (entry.mtime, 0));
        }
    }
}

/// Opens a path of a copy as a place; nothing is followed.
fn inside(copy: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(copy, path, flags, Mode::empty(), resolve)
}

/// When something was changed, by its own account: seconds and parts of a second.
fn changed(place: &OwnedFd) -> rustix::io::Result<(i64, i64)> {
    let stat = rustix::fs::fstat(place)?;
    Ok((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)))
}

fn set_changed(place: &OwnedFd, (seconds, nanoseconds): (i64, i64)) -> rustix::io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    rustix::fs::utimensat(place.as_fd(), "", &times, AtFlags::EMPTY_PATH)
}

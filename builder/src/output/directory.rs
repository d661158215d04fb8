//! Writes the filesystem of an image to a directory of the host.
//!
//! What an image holds is hostile: every path is walked from the directory's descriptor, one component at a time, and
//! no symlink is followed. Files that are there already and are not in the image stay.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use layer_store::view::Located;
use layer_store::{Entry, Kind, Store, View};
use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::process::{Gid, Uid};

use super::failed;
use crate::error::Result;

/// Writes all that `view` shows below `dest`, which is made where it is missing. Owners are kept when root writes, and
/// modes and times always; devices only where this process may make them.
pub(crate) fn write(store: &Store, view: &View, dest: &Path) -> Result<()> {
    write_part(store, view, b"", dest)
}

/// As [`write`], but only what is below the directory `part` (resolved, clean).
pub(crate) fn write_part(store: &Store, view: &View, part: &[u8], dest: &Path) -> Result<()> {
    std::fs::create_dir_all(dest).map_err(|error| failed("create", dest, error))?;
    let root = fs::open(dest, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open", dest, error.into()))?;
    let owners = rustix::process::geteuid().is_root();
    let root = Directory {
        root,
        path: dest.to_owned(),
        owners,
        skip: if part.is_empty() { 0 } else { part.len() + 1 },
    };
    let entries: Vec<_> =
        view.walk(part).into_iter().filter(|located| located.entry.path.len() > part.len()).collect();
    for located in &entries {
        root.place(store, view, *located)?;
    }
    // Directories last, innermost first: writing into one changes its time, and its mode may forbid it.
    for located in entries.iter().rev() {
        if matches!(located.entry.kind, Kind::Directory { .. }) && !located.entry.path.is_empty() {
            root.finish(located.entry)?;
        }
    }
    Ok(())
}

struct Directory {
    root: OwnedFd,
    path: PathBuf,
    owners: bool,
    /// How many bytes of each path are the part that is written.
    skip: usize,
}

impl Directory {
    fn place(&self, store: &Store, view: &View, located: Located<'_>) -> Result<()> {
        let entry = located.entry;
        if entry.path.is_empty() {
            return Ok(());
        }
        let fail = |error: io::Error| failed("write", &self.host_path(entry), error);
        let (parent, name) = self.parent(entry).map_err(fail)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        if !matches!(entry.kind, Kind::Directory { .. }) {
            match fs::unlinkat(&parent, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(fail(error.into())),
            }
        }
        match &entry.kind {
            Kind::Directory { .. } => match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => Ok(()),
                Err(rustix::io::Errno::EXIST) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Kind::File { .. } | Kind::Hardlink { .. } => {
                return self.file(store, view, located, &parent, name);
            }
            Kind::Symlink { target } => {
                fs::symlinkat(OsStr::from_bytes(target), &parent, name).map_err(io::Error::from)
            }
            Kind::Fifo => fs::mknodat(&parent, name, fs::FileType::Fifo, mode, 0).map_err(io::Error::from),
            Kind::CharDevice { major, minor } => {
                self.device(&parent, name, fs::FileType::CharacterDevice, mode, *major, *minor)
            }
            Kind::BlockDevice { major, minor } => {
                self.device(&parent, name, fs::FileType::BlockDevice, mode, *major, *minor)
            }
            Kind::Whiteout => Ok(()),
        }
        .map_err(fail)?;
        if matches!(entry.kind, Kind::Directory { .. } | Kind::Whiteout) {
            return Ok(());
        }
        self.metadata(&parent, name, entry).map_err(fail)
    }

    fn file(
        &self,
        store: &Store,
        view: &View,
        located: Located<'_>,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        let entry = located.entry;
        let fail = |error: io::Error| failed("write", &self.host_path(entry), error);
        let Some(content) = view.content(located) else { return Ok(()) };
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|error| fail(error.into()))?;
        let mut file = File::from(file);
        let mut bytes = store.open_file(&content.diff_id, &content.entry.path)?;
        io::copy(&mut bytes, &mut file).map_err(fail)?;
        self.metadata(parent, name, entry).map_err(fail)
    }

    fn device(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        kind: fs::FileType,
        mode: Mode,
        major: u32,
        minor: u32,
    ) -> io::Result<()> {
        match fs::mknodat(parent, name, kind, mode, fs::makedev(major, minor)) {
            // Only root may make devices, and nobody needs them in an exported directory.
            Err(rustix::io::Errno::PERM) => fs::mknodat(parent, name, fs::FileType::RegularFile, mode, 0)?,
            other => other?,
        }
        Ok(())
    }

    fn finish(&self, entry: &Entry) -> Result<()> {
        let result = self.parent(entry).and_then(|(parent, name)| self.metadata(&parent, name, entry));
        result.map_err(|error| failed("write", &self.host_path(entry), error))
    }

    fn metadata(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> io::Result<()> {
        if self.owners {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            // The name was made just now by this process, and it is no symlink.
            fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode & 0o7777), AtFlags::empty())?;
        }
        let time = Timespec { tv_sec: entry.mtime, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// The directory that an entry is in, and its name there.
    fn parent<'e>(&self, entry: &'e Entry) -> io::Result<(OwnedFd, &'e OsStr)> {
        let path = &entry.path[self.skip..];
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b"."[..], path),
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let parent = fs::openat2(&self.root, OsStr::from_bytes(directory), flags, Mode::empty(), resolve)?;
        Ok((parent, OsStr::from_bytes(name)))
    }

    fn host_path(&self, entry: &Entry) -> PathBuf {
        self.path.join(OsStr::from_bytes(&entry.path[self.skip..]))
    }
}

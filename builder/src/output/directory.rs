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

use layer_store::layer::NewEntry;
use layer_store::{Entry, Kind, Store};
use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::process::{Gid, Uid};

use super::failed;
use crate::error::Result;

/// Writes `entries` below `dest`, which is made where it is missing. Owners are kept when root writes, and modes and
/// times always; devices only where this process may make them.
pub(crate) fn write(store: &Store, entries: Vec<NewEntry>, dest: &Path) -> Result<()> {
    std::fs::create_dir_all(dest).map_err(|error| failed("create", dest, error))?;
    let root = fs::open(dest, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open", dest, error.into()))?;
    let owners = rustix::process::geteuid().is_root();
    let root = Directory { root, path: dest.to_owned(), owners };
    let mut directories = Vec::new();
    store.each_entry(entries, |entry, bytes| {
        if entry.kind.is_directory() {
            directories.push(entry.clone());
        }
        root.place(entry, bytes)
    })?;
    // Directories last, innermost first: writing into one changes its time, and its mode may forbid it.
    directories.iter().rev().try_for_each(|directory| root.finish(directory))
}

struct Directory {
    root: OwnedFd,
    path: PathBuf,
    owners: bool,
}

impl Directory {
    fn place(&self, entry: &Entry, bytes: &mut dyn io::Read) -> Result<()> {
        let fail = |error: io::Error| failed("write", &self.host_path(entry), error);
        let (parent, name) = self.parent(&entry.path).map_err(fail)?;
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
            Kind::File { .. } => self.file(&parent, name, bytes),
            Kind::Hardlink { target } => self.link(&parent, name, target),
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
        // A link has what its file has; a directory gets it when all is in it.
        if matches!(entry.kind, Kind::Directory { .. } | Kind::Whiteout | Kind::Hardlink { .. }) {
            return Ok(());
        }
        self.metadata(&parent, name, entry).map_err(fail)
    }

    fn file(&self, parent: &OwnedFd, name: &OsStr, bytes: &mut dyn io::Read) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        io::copy(bytes, &mut File::from(file)).map(|_| ())
    }

    fn link(&self, parent: &OwnedFd, name: &OsStr, target: &[u8]) -> io::Result<()> {
        let (directory, file) = self.parent(target)?;
        Ok(fs::linkat(&directory, file, parent, name, AtFlags::empty())?)
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
        let result = self.parent(&entry.path).and_then(|(parent, name)| self.metadata(&parent, name, entry));
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

    /// The directory that a path is in, and its name there.
    fn parent<'e>(&self, path: &'e [u8]) -> io::Result<(OwnedFd, &'e OsStr)> {
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
        self.path.join(OsStr::from_bytes(&entry.path))
    }
}

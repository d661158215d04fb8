//! Empty files and directories in the step's own `/proc` and `/sys`, in the likeness of the real ones: for who lists
//! or looks.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{inside, proc};
use crate::sandbox::{files, resolve};

/// The directories on the disk.
pub(super) struct Mirror {
    root: OwnedFd,
}

/// What something is, as far as a look tells.
pub(super) struct Found {
    kind: FileType,
    mode: u32,
    /// Where a link leads.
    text: Vec<u8>,
}

impl Found {
    /// What is at a path of this process. A link is shown as the step sees it.
    pub(super) fn at(path: &Path, follow: bool, root: &Path) -> io::Result<Self> {
        let link = std::fs::symlink_metadata(path)?;
        if link.is_symlink() {
            let text = std::fs::read_link(path)?;
            if text.starts_with(root) || !follow {
                return Ok(Self::link(inside(&text, root).as_os_str().as_bytes()));
            }
        }
        let found = std::fs::metadata(path)?;
        let kind = if found.is_dir() {
            FileType::Directory
        } else if found.file_type().is_fifo() {
            FileType::Fifo
        } else {
            FileType::RegularFile
        };
        Ok(Self { kind, mode: found.permissions().mode() & 0o7777, text: Vec::new() })
    }

    pub(super) fn file(mode: u32) -> Self {
        Self { kind: FileType::RegularFile, mode, text: Vec::new() }
    }

    pub(super) fn directory() -> Self {
        Self { kind: FileType::Directory, mode: 0o555, text: Vec::new() }
    }

    pub(super) fn link(text: &[u8]) -> Self {
        Self { kind: FileType::Symlink, mode: 0o777, text: text.to_vec() }
    }
}

/// The names in a directory, and what each is.
pub(super) fn names(path: &Path) -> io::Result<Vec<(OsString, Found)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)?.flatten() {
        let kind = entry.file_type()?;
        let leads_to_directory = || kind.is_symlink() && entry.path().is_dir();
        let found =
            if kind.is_dir() || leads_to_directory() { Found::directory() } else { Found::file(0o444) };
        names.push((entry.file_name(), found));
    }
    Ok(names)
}

impl Mirror {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Shows at `place` what is at a path of this process.
    pub(super) fn one(&mut self, place: &Path, path: &Path, follow: bool) -> io::Result<()> {
        // Links of /sys lead to what may not be there; what they lead to is shown in their place.
        let found = Found::at(path, follow, Path::new("/nowhere"))?;
        self.make(place, &found)
    }

    /// Shows at `place` the names of a directory of the kernel.
    pub(super) fn list(&mut self, place: &Path, path: &Path) -> io::Result<()> {
        let mut names = names(path)?;
        if place == Path::new("proc") {
            names.retain(|(name, _)| proc::lists(name));
            self.forget_ended(&names)?;
        }
        self.fill(place, &names)
    }

    /// Makes a directory have these names, and nothing else than was made for a look.
    pub(super) fn fill(&mut self, place: &Path, names: &[(OsString, Found)]) -> io::Result<()> {
        self.make(place, &Found::directory())?;
        for (name, found) in names {
            self.make(&place.join(name), found)?;
        }
        let listed = |name: &OsStr| names.iter().any(|(known, _)| known == name);
        if place != Path::new("proc") {
            self.prune(place, |name| !listed(name))?;
        }
        Ok(())
    }

    /// Makes something unless its like is there already.
    pub(super) fn make(&mut self, place: &Path, found: &Found) -> io::Result<()> {
        let (parent, name) = self.parent(place)?;
        let name = name.as_path();
        if let Ok(stat) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            let kind = FileType::from_raw_mode(stat.st_mode);
            let same_link = || {
                rustix::fs::readlinkat(&parent, name, Vec::new())
                    .is_ok_and(|text| text.as_bytes() == found.text)
            };
            if kind == found.kind && (kind != FileType::Symlink || same_link()) {
                return Ok(());
            }
            files::remove_entry(std::os::fd::AsFd::as_fd(&parent), name)?;
        }
        let mode = Mode::from_raw_mode(found.mode);
        let made = match found.kind {
            FileType::Directory => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o555)),
            FileType::Symlink => rustix::fs::symlinkat(OsStr::from_bytes(&found.text), &parent, name),
            FileType::Fifo => rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0),
            _ => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, mode).map(drop)
            }
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory that a place is in, made where it is missing, and the place's name.
    fn parent(&self, place: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here = self.root.try_clone()?;
        for word in place.parent().into_iter().flatten() {
            match rustix::fs::mkdirat(&here, word, Mode::from_raw_mode(0o555)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            here = rustix::fs::openat(&here, word, flags, Mode::empty())?;
        }
        Ok((here, name.into()))
    }

    /// Removes the directories of processes that are no more.
    fn forget_ended(&self, names: &[(OsString, Found)]) -> io::Result<()> {
        let alive = |name: &OsStr| names.iter().any(|(known, _)| known == name);
        self.prune(Path::new("proc"), |name| super::is_number(name) && !alive(name))
    }

    fn prune(&self, place: &Path, gone: impl Fn(&OsStr) -> bool) -> io::Result<()> {
        let directory = resolve::open(&self.root, place)?;
        for entry in rustix::fs::Dir::read_from(&directory)?.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && gone(name) {
                files::remove_entry(std::os::fd::AsFd::as_fd(&directory), Path::new(name))?;
            }
        }
        Ok(())
    }
}

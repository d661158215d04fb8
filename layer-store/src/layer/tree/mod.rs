//! Trees: directories that overlayfs can mount.
//!
//! A tree has the files of its layer with their modes, times, owners and attributes, as far as the process and its
//! custodian may give them; where they differ the index is right. Whiteouts are character devices 0:0, opaque
//! directories have the attribute `user.overlay.opaque=y`, so overlayfs is mounted with `userxattr`; a tree without marks
//! has neither. Devices that may not be made are left out, and so are hard links to files of lower layers, which
//! [`crate::Store::trees`] brings.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::IoContext as _;
use crate::index::{Entry, Extent, Index, Kind, PathBytes, path};
use crate::store::Ownership;
use crate::{Error, Result};

mod behind;
pub(crate) mod beneath;
pub(crate) mod xattrs;

use behind::Behind;

/// Writes a tree entry by entry, in the order of a tar.
pub(crate) struct TreeWriter {
    place: PathBuf,
    root: OwnedFd,
    /// The directory that the last entry was in.
    parent: Option<(PathBytes, OwnedFd)>,
    /// Hard links whose file was not there yet.
    early_links: Vec<(PathBytes, PathBytes)>,
    privileged: bool,
    custodian: bool,
    marks: bool,
    owners: Vec<Ownership>,
    /// Nothing for a tree that need not survive a power cut.
    behind: Option<Behind>,
}

/// What files of a tree can be given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Giving {
    /// Whether there is a custodian, for whom is collected what this process may not do.
    pub(crate) custodian: bool,
    /// Whether files shall have the owners that the image gives them.
    pub(crate) owners: bool,
    /// Whether an overlay shall know what is removed.
    pub(crate) marks: bool,
    /// Whether the tree will be synced when it is finished, so that this may as well begin earlier.
    pub(crate) synced: bool,
}

impl TreeWriter {
    /// Makes an empty tree at `place`.
    pub(crate) fn create(place: &Path, giving: Giving) -> Result<Self> {
        rustix::fs::mkdir(place, Mode::RWXU).context("create", place)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, place, flags, Mode::empty()).context("open", place)?;
        let privileged = giving.owners && rustix::process::geteuid().is_root();
        Ok(Self {
            place: place.to_owned(),
            root,
            parent: None,
            early_links: Vec::new(),
            privileged,
            custodian: giving.custodian,
            marks: giving.marks,
            owners: Vec::new(),
            behind: giving.synced.then(Behind::default),
        })
    }

    /// Begins the regular file of `entry`, in place of what is there.
    pub(crate) fn file(&mut self, entry: &Entry) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        self.make(&entry.path, "create", |parent, name| rustix::fs::openat(parent, name, flags, mode))
    }

    /// Gives a file that has its bytes its metadata.
    pub(crate) fn finish_file(&mut self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        self.dress(entry, file.as_fd())?;
        if let (Some(behind), Kind::File { size, .. }) = (&mut self.behind, &entry.kind) {
            behind.wrote(*size, &self.place).context("sync", &self.place)?;
        }
        Ok(())
    }

    /// Makes an entry that has no bytes. Whiteouts are made at the end.
    pub(crate) fn place(&mut self, entry: &Entry) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        match &entry.kind {
            Kind::Directory { .. } => self.directory(&entry.path),
            Kind::Symlink { target } => {
                self.make(&entry.path, "create", |parent, name| {
                    rustix::fs::symlinkat(target.as_slice(), parent, name)
                })?;
                self.dress_name(entry)
            }
            Kind::Hardlink { target } => self.link(&entry.path, target),
            Kind::Fifo => self.node(entry, FileType::Fifo, mode, 0),
            Kind::CharDevice { major, minor } => {
                self.node(entry, FileType::CharacterDevice, mode, rustix::fs::makedev(*major, *minor))
            }
            Kind::BlockDevice { major, minor } => {
                self.node(entry, FileType::BlockDevice, mode, rustix::fs::makedev(*major, *minor))
            }
            Kind::File { .. } | Kind::Whiteout => Ok(()),
        }
    }

    /// Makes `entry` another name of the file `path` in the finished tree `other`, which has the same metadata. Whether
    /// that could be done.
    pub(crate) fn link_from(&mut self, entry: &Entry, other: BorrowedFd<'_>, path: &[u8]) -> Result<bool> {
        let (directory, name) = path::split(path).unwrap_or((b"", b"."));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let Ok(directory) = beneath::open(other, directory, flags, Mode::empty()) else { return Ok(false) };
        let linked = self.make(&entry.path, "link", |parent, new| {
            match rustix::fs::linkat(&directory, name, parent, new, AtFlags::empty()) {
                Err(Errno::EXIST) => Err(Errno::EXIST),
                other => Ok(other.is_ok()),
            }
        })?;
        Ok(linked)
    }

    /// Makes what only the whole layer says: whiteouts, opaque directories and the metadata of directories. Returns
    /// what is left for the custodian.
    pub(crate) fn finish(mut self, index: &Index) -> Result<Vec<Ownership>> {
        if let Some(behind) = self.behind.take() {
            behind.finish().context("sync", &self.place)?;
        }
        for (link, target) in std::mem::take(&mut self.early_links) {
            let kind = Kind::Hardlink { target };
            let is_last = index.entry(&link).is_some_and(|entry| entry.kind == kind);
            let Kind::Hardlink { target } = kind else { continue };
            // A file that the layer does not have is in a lower one, and so in another tree.
            if is_last && index.entry(&target).is_some() {
                self.link(&link, &target)?;
            }
        }
        let marks = self.marks;
        for entry in index.entries().iter().filter(|entry| marks && entry.kind == Kind::Whiteout) {
            self.make(&entry.path, "remove in a layer", |parent, name| {
                rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
            })?;
        }
        self.parent = None;
        // What is inside comes first: making it changes a directory's time, and a mode may close it.
        let directories = index.entries().iter().chain(index.implied());
        let mut directories: Vec<&Entry> = directories.filter(|entry| entry.kind.is_directory()).collect();
        directories.sort_by(|a, b| path::order(&b.path, &a.path));
        for entry in directories {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = match beneath::open(&self.root, &entry.path, flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.directory(&entry.path)?;
                    beneath::open(&self.root, &entry.path, flags, Mode::empty())
                }
                opened => opened,
            };
            let directory = directory.context("open", self.shown(&entry.path))?;
            if marks && entry.kind == (Kind::Directory { opaque: true }) {
                rustix::fs::fsetxattr(&directory, xattrs::OPAQUE, b"y", XattrFlags::empty())
                    .context("make opaque", self.shown(&entry.path))?;
            }
            self.dress(entry, directory.as_fd())?;
        }
        Ok(self.owners)
    }

    fn shown(&self, path: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.place.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Makes something new at `path` with `make`, in the place of what an earlier entry left there.
    fn make<T>(
        &mut self,
        path: &[u8],
        action: &'static str,
        mut make: impl FnMut(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let Some((directory, name)) = path::split(path) else {
            return Err(Error::Entry {
                entry: String::new(),
                reason: "the root is always a directory".to_owned(),
            });
        };
        self.enter(directory)?;
        let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, parent)| parent.as_fd());
        let made = match make(parent, name) {
            Err(Errno::EXIST) => {
                remove(parent, name).context("replace", self.shown(path))?;
                make(parent, name)
            }
            made => made,
        };
        made.context(action, self.shown(path))
    }

    /// Makes `directory` the present parent, with what is missing of it.
    fn enter(&mut self, directory: &[u8]) -> Result<()> {
        if self.parent.as_ref().is_some_and(|(path, _)| path == directory) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = match beneath::open(&self.root, directory, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                if let Some((above, name)) = path::split(directory) {
                    self.enter(above)?;
                    let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, parent)| parent.as_fd());
                    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error).context("create", self.shown(directory)),
                    }
                }
                beneath::open(&self.root, directory, flags, Mode::empty())
            }
            opened => opened,
        };
        let opened = opened.context("open", self.shown(directory))?;
        self.parent = Some((directory.to_vec(), opened));
        Ok(())
    }

    fn directory(&mut self, path: &[u8]) -> Result<()> {
        let Some((above, name)) = path::split(path) else { return Ok(()) };
        self.enter(above)?;
        let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, parent)| parent.as_fd());
        let made = match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
                if found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory) {
                    return Ok(());
                }
                remove(parent, name).and_then(|()| Ok(rustix::fs::mkdirat(parent, name, Mode::RWXU)?))
            }
            made => made.map_err(io::Error::from),
        };
        made.context("create", self.shown(path))
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (directory, name) = path::split(target).unwrap_or((b"", b"."));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let there = beneath::open(&self.root, directory, flags, Mode::empty()).and_then(|directory| {
            rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map(|_| directory)
        });
        match there {
            Ok(directory) => self.make(path, "link", |parent, new| {
                rustix::fs::linkat(&directory, name, parent, new, AtFlags::empty())
            }),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.vacate(path)?;
                self.early_links.push((path.to_vec(), target.to_vec()));
                Ok(())
            }
            Err(error) => Err(error).context("link", self.shown(path)),
        }
    }

    /// Removes what an earlier entry left at `path`.
    fn vacate(&mut self, path: &[u8]) -> Result<()> {
        let Some((directory, name)) = path::split(path) else { return Ok(()) };
        self.enter(directory)?;
        let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, parent)| parent.as_fd());
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            _ => remove(parent, name).context("replace", self.shown(path)),
        }
    }

    fn node(&mut self, entry: &Entry, kind: FileType, mode: Mode, device: u64) -> Result<()> {
        let made = self.make(&entry.path, "create", |parent, name| {
            match rustix::fs::mknodat(parent, name, kind, mode, device) {
                // A plain user, or a container whose root may not.
                Err(Errno::PERM) => Ok(false),
                made => made.map(|()| true),
            }
        })?;
        if made { self.dress_name(entry) } else { Ok(()) }
    }

    /// Owner, attributes, mode and time of an open file or directory, in the order in which one does not undo another:
    /// a new owner clears setuid bits and capabilities, a mode may forbid attributes.
    fn dress(&mut self, entry: &Entry, file: BorrowedFd<'_>) -> Result<()> {
        let shown = || self.shown(&entry.path);
        let mut left = Vec::new();
        let mut set = |privileged: bool| -> Result<()> {
            for (name, value) in &entry.xattrs {
                let name = xattrs::escaped(name);
                if xattrs::is_privileged(&name) != privileged {
                    continue;
                }
                let done =
                    xattrs::set(file, &name, value).context("set an extended attribute of", shown())?;
                if !done && privileged {
                    left.push((name, value.clone()));
                }
            }
            Ok(())
        };
        set(false)?;
        let owned = if self.privileged {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            may(rustix::fs::fchown(file, Some(uid), Some(gid))).context("change the owner of", shown())?
        } else {
            (entry.uid, entry.gid) == (0, 0)
        };
        set(true)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        rustix::fs::fchmod(file, mode).context("change the mode of", shown())?;
        rustix::fs::futimens(file, &times(entry.mtime)).context("set the time of", shown())?;
        if self.custodian && !(owned && left.is_empty()) {
            self.owners.push(ownership(entry, Some(entry.mode & 0o7777), left));
        }
        Ok(())
    }

    /// The same of what cannot be opened: symlinks, devices and pipes. These have no attributes but in rare tools'.
    fn dress_name(&mut self, entry: &Entry) -> Result<()> {
        let name = path::split(&entry.path).map_or(&b""[..], |(_, name)| name);
        let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, parent)| parent.as_fd());
        let shown = || self.shown(&entry.path);
        let owned = if self.privileged {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            may(rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))
                .context("change the owner of", shown())?
        } else {
            (entry.uid, entry.gid) == (0, 0)
        };
        let symlink = matches!(entry.kind, Kind::Symlink { .. });
        if !symlink {
            // Nothing else writes to this tree, so the name leads to what was just made there.
            let mode = Mode::from_raw_mode(entry.mode & 0o7777);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
                .context("change the mode of", shown())?;
        }
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .context("set the time of", shown())?;
        if self.custodian && !owned {
            let mode = (!symlink).then_some(entry.mode & 0o7777);
            self.owners.push(ownership(entry, mode, Vec::new()));
        }
        Ok(())
    }
}

/// Writes the bytes of a file of a tree, holes included.
pub(crate) struct FileWriter<'a> {
    file: std::fs::File,
    extents: Option<&'a [Extent]>,
    at: usize,
    done: u64,
}

impl<'a> FileWriter<'a> {
    /// Writes to `file`; `extents` is where the bytes go if not one after the other.
    pub(crate) fn new(file: OwnedFd, extents: Option<&'a [Extent]>) -> Self {
        Self { file: file.into(), extents, at: 0, done: 0 }
    }

    /// Takes the next stored bytes.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let Some(extents) = self.extents else { return self.file.write_all(bytes) };
        while !bytes.is_empty() {
            let Some(extent) = extents.get(self.at) else {
                return Err(io::Error::other("more bytes than its sparse map has"));
            };
            let left = extent.length - self.done;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.file.write_all_at(now, extent.position + self.done)?;
            self.done += now.len() as u64;
            if self.done == extent.length {
                (self.at, self.done) = (self.at + 1, 0);
            }
            bytes = later;
        }
        Ok(())
    }

    /// The file, with its length of `size`.
    pub(crate) fn finish(self, size: u64) -> io::Result<OwnedFd> {
        if self.extents.is_some() {
            self.file.set_len(size)?;
        }
        Ok(self.file.into())
    }
}

/// Whether a change of owner was done; missing privilege and ids that are not mapped are for others.
fn may(changed: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match changed {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL | Errno::OVERFLOW) => Ok(false),
        Err(error) => Err(error),
    }
}

fn ownership(entry: &Entry, mode: Option<u32>, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Ownership {
    Ownership { path: entry.path.clone(), uid: entry.uid, gid: entry.gid, mode, xattrs }
}

pub(crate) fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Removes `name` of `parent` with all that is in it.
fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return Ok(removed?),
    }
    // Iterative, since a hostile layer decides the depth: what is not empty goes on the stack once more.
    let mut stack: Vec<PathBytes> = vec![name.to_vec()];
    while let Some(path) = stack.last().cloned() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = beneath::open(parent, &path, flags, Mode::empty())?;
        let mut deeper = false;
        for found in rustix::fs::Dir::read_from(&directory)? {
            let found = found?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    stack.push(path::join(&path, name));
                    deeper = true;
                }
                removed => removed?,
            }
        }
        if !deeper {
            stack.pop();
            let (above, name) = path::split(&path).unwrap_or((b"", b""));
            let above = beneath::open(parent, above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

//! The walk: each directory's names in order, and what became of those below.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

use super::{Diff, Moment, Scope, refuse};
use crate::Result;
use crate::error::IoContext as _;
use crate::index::{Entry, Kind, PathBytes, path};
use crate::layer::tree::{beneath, times, xattrs};
use crate::layer::{DeviceMark, TarLimits};
use crate::view::Located;

/// A directory on the way.
struct Frame {
    path: PathBytes,
    /// What is left of its names, the last first.
    names: Vec<(Vec<u8>, Change)>,
    /// Whether all of it is here, so that what is not is gone.
    whole: bool,
    /// How many directories waited for an entry before this one.
    waiting: usize,
}

/// What became of a name.
enum Change {
    /// It is here.
    Here(Box<Stat>),
    /// It was below and is no more.
    Gone,
}

/// What overlayfs says of a directory by its attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Merged,
    Opaque,
    /// It is merged and has whiteouts that are files with an attribute (Linux 6.7).
    Whiteouts,
}

impl<'a> Diff<'a, '_, '_> {
    /// Walks the directory and writes what differs.
    pub(super) fn walk(&mut self, scope: Scope) -> Result<()> {
        let mut stack = vec![self.enter(PathBytes::new(), None, scope == Scope::Whole)?];
        // Only the present directory is open: nobody decides how many descriptors there are by making it deep.
        let mut open: Option<(PathBytes, OwnedFd)> = None;
        while let Some(frame) = stack.last_mut() {
            let Some((name, change)) = frame.names.pop() else {
                // What still waits has nothing below it that changed.
                self.waiting.truncate(frame.waiting);
                stack.pop();
                continue;
            };
            let entry_path = path::join(&frame.path, &name);
            let whole = frame.whole;
            let stat = match change {
                Change::Gone => {
                    let bare = Entry { mode: 0, ..Entry::implied_directory(entry_path) };
                    self.emit(Entry { kind: Kind::Whiteout, ..bare }, None)?;
                    continue;
                }
                Change::Here(stat) => stat,
            };
            check_path(&entry_path)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let frame = self.enter(entry_path, Some(&stat), whole)?;
                stack.push(frame);
                continue;
            }
            if open.as_ref().is_none_or(|(path, _)| *path != frame.path) {
                let directory = self.open(&frame.path, OFlags::PATH | OFlags::DIRECTORY)?;
                open = Some((frame.path.clone(), directory.into()));
            }
            let Some((_, directory)) = &open else { continue };
            self.visit(directory, &name, entry_path, &stat)?;
        }
        Ok(())
    }

    /// Begins a directory: its own entry, and what became of the names in it.
    fn enter(&mut self, dir_path: PathBytes, stat: Option<&Stat>, whole_above: bool) -> Result<Frame> {
        let directory = self.open(&dir_path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let attributes = xattrs::read(&directory).context("read the attributes of", self.shown(&dir_path))?;
        let mark = mark(&attributes);
        let below = self.below.lookup(&dir_path).filter(|located| located.entry.kind.is_directory());
        let whole = whole_above || mark == Mark::Opaque || below.is_none();

        let mut here: BTreeMap<Vec<u8>, Change> = BTreeMap::new();
        let mut gone: Vec<Vec<u8>> = Vec::new();
        for found in rustix::fs::Dir::read_from(&directory).context("list", self.shown(&dir_path))? {
            let found = found.context("list", self.shown(&dir_path))?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .context("stat", self.shown(&path::join(&dir_path, name)))?;
            if self.is_gone(&directory, name, &stat, mark)? {
                gone.push(name.to_vec());
            } else {
                here.insert(name.to_vec(), Change::Here(Box::new(stat)));
            }
        }
        if below.is_some() && (whole || !gone.is_empty()) {
            let gone: Vec<Vec<u8>> = self
                .below
                .list(&dir_path)
                .iter()
                .map(|located| (path::split(&located.entry.path).map_or(&b""[..], |(_, name)| name), located))
                .filter(|(name, _)| !here.contains_key(*name))
                .filter(|(name, _)| whole || gone.iter().any(|gone| gone == name))
                .filter(|(_, located)| !self.could_not_be_made(located))
                .map(|(name, _)| name.to_vec())
                .collect();
            here.extend(gone.into_iter().map(|name| (name, Change::Gone)));
        }
        let waiting = self.waiting.len();
        if let Some(stat) = stat {
            let kind = Kind::Directory { opaque: false };
            let (entry, changed) = self.described(dir_path.clone(), kind, stat, &attributes);
            if changed {
                self.emit(entry, None)?;
            } else {
                self.waiting.push(entry);
            }
        }
        // Whatever was emitted emptied the list.
        let waiting = waiting.min(self.waiting.len());
        Ok(Frame { path: dir_path, names: here.into_iter().rev().collect(), whole, waiting })
    }

    /// Whether a name stands for nothing: a whiteout, in one of overlayfs' two forms, or a socket.
    fn is_gone(&self, directory: impl AsFd, name: &[u8], stat: &Stat, mark: Mark) -> Result<bool> {
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::Socket => true,
            FileType::RegularFile if mark == Mark::Whiteouts && stat.st_size == 0 => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let file = beneath::open(directory, name, flags, Mode::empty())
                    .context("open", path::printable(name))?;
                let names = [&b"user.overlay.whiteout"[..], b"trusted.overlay.whiteout"];
                names.into_iter().any(|name| matches!(xattrs::value(&file, name), Ok(Some(_))))
            }
            _ => false,
        })
    }

    /// Whether something below can be missing here only because this process may not make it.
    fn could_not_be_made(&self, located: &Located<'_>) -> bool {
        self.lacks_devices && matches!(located.entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. })
    }

    /// Writes the entry of what is no directory, unless it is as below.
    fn visit(&mut self, directory: &OwnedFd, name: &[u8], entry_path: PathBytes, stat: &Stat) -> Result<()> {
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let mut file = None;
        let mut attributes = BTreeMap::new();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let inode = (stat.st_dev, stat.st_ino);
                if stat.st_nlink > 1
                    && let Some(first) = self.links.get(&inode)
                {
                    let first = &self.entries[*first];
                    let kind = Kind::Hardlink { target: first.path.clone() };
                    return self.emit(Entry { path: entry_path, kind, ..first.clone() }, None);
                }
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let opened = beneath::open(directory, name, flags, Mode::empty());
                let opened = opened.context("open", self.shown(&entry_path))?;
                attributes =
                    xattrs::read(&opened).context("read the attributes of", self.shown(&entry_path))?;
                if let Some(device) = self.device(&entry_path, stat, &attributes) {
                    device
                } else {
                    file = Some(std::fs::File::from(opened));
                    Kind::File { size: stat.st_size.unsigned_abs(), offset: 0 }
                }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new());
                Kind::Symlink { target: target.context("read", self.shown(&entry_path))?.into_bytes() }
            }
            FileType::CharacterDevice => Kind::CharDevice { major: device.0, minor: device.1 },
            FileType::BlockDevice => Kind::BlockDevice { major: device.0, minor: device.1 },
            FileType::Fifo => Kind::Fifo,
            _ => return Err(refuse(&entry_path, "it is of no kind that a layer can hold")),
        };
        let (entry, changed) = self.described(entry_path, kind, stat, &attributes);
        if !changed && self.has_same_bytes(&entry, stat)? {
            return Ok(());
        }
        self.emit(entry, file.as_mut())?;
        if stat.st_nlink > 1 && file.is_some() {
            self.links.insert((stat.st_dev, stat.st_ino), self.entries.len() - 1);
        }
        Ok(())
    }

    /// The device that an empty file stands for where none can be made: one that was made now, or one from below that was
    /// changed and so copied up.
    fn device(
        &self,
        entry_path: &[u8],
        stat: &Stat,
        attributes: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Option<Kind> {
        if self.owners.is_none() || stat.st_size != 0 {
            return None;
        }
        if let Some(value) = attributes.get(DeviceMark::NAME) {
            return DeviceMark::parse(value).map(DeviceMark::kind);
        }
        let below = self.below.lookup(entry_path)?.entry;
        matches!(below.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. }).then(|| below.kind.clone())
    }

    /// The entry of what is at a path, and whether its metadata differs from what is below.
    fn described(
        &mut self,
        entry_path: PathBytes,
        kind: Kind,
        stat: &Stat,
        attributes: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> (Entry, bool) {
        let below = self.below.lookup(&entry_path);
        let same_kind = below.is_some_and(|below| self.is_same_kind(&kind, below));
        let mut own = portable(attributes);
        let (uid, gid) = match &self.owners {
            None => (stat.st_uid, stat.st_gid),
            Some(owners) => match (owners.get(entry_path.as_slice()), below) {
                (Some(owner), _) => *owner,
                (None, Some(below)) => (below.entry.uid, below.entry.gid),
                (None, None) => (0, 0),
            },
        };
        let time = stat.st_mtime;
        let mtime = self.clamp_mtime.map_or(time, |latest| time.min(latest));
        let mode = if matches!(kind, Kind::Symlink { .. }) { 0o777 } else { stat.st_mode & 0o7777 };
        let mut changed = true;
        if let Some(below) = below
            && same_kind
        {
            let other = below.entry;
            // Where owners mean nothing, attributes that need privilege are not on the disk either. A process that
            // writes a file takes them away, so they are kept with the bytes.
            if self.owners.is_some() && other.mtime == time {
                let privileged = other.xattrs.iter().filter(|(name, _)| xattrs::is_privileged(name));
                own.extend(privileged.map(|(name, value)| (name.clone(), value.clone())));
            }
            // Nothing below has parts of a second: what has some was touched, though it be in the same second. What a
            // directory's time says, its names say better.
            let same_time = kind.is_directory()
                || stat.st_mtime_nsec == 0 && (other.mtime == time || other.mtime == mtime);
            let same_mode = other.mode == mode || matches!(kind, Kind::Symlink { .. });
            changed = !(same_time
                && same_mode
                && (other.uid, other.gid) == (uid, gid)
                && portable(&other.xattrs) == own);
        }
        if stat.st_mtime_nsec != 0 || mtime != time {
            self.retimed.push((entry_path.clone(), mtime));
        }
        (Entry { path: entry_path, kind, mode, uid, gid, mtime, xattrs: own }, changed)
    }
}

/// The moment of a file's last change, of bytes or of metadata.
pub(super) fn changed_at(stat: &Stat) -> Moment {
    Moment { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as u32 }
}

/// The attributes that a layer holds, by their names there.
fn portable(attributes: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut kept = BTreeMap::new();
    for (name, value) in attributes {
        if let Some(name) = xattrs::unescaped(name)
            && xattrs::is_portable(&name)
        {
            let value = match name.as_slice() {
                b"security.capability" => xattrs::portable_capability(value.clone()),
                _ => value.clone(),
            };
            kept.insert(name, value);
        }
    }
    kept
}

fn mark(attributes: &BTreeMap<Vec<u8>, Vec<u8>>) -> Mark {
    let names = [&b"user.overlay.opaque"[..], b"trusted.overlay.opaque"];
    match names.into_iter().find_map(|name| attributes.get(name)).map(Vec::as_slice) {
        Some(b"y") => Mark::Opaque,
        Some(b"x") => Mark::Whiteouts,
        _ => Mark::Merged,
    }
}

fn check_path(path: &[u8]) -> Result<()> {
    let limits = TarLimits::default();
    if path.len() > limits.path || path::ancestors(path).count() > limits.depth {
        return Err(refuse(path, "the path is too long or too deep for a layer"));
    }
    Ok(())
}

/// Gives what is in the directory at `root` the times of their entries, so that a tree that was a sandbox's is as one
/// that was extracted. What cannot be changed stays.
pub(super) fn set_times(root: &Path, retimed: &[(PathBytes, i64)]) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root_fd = rustix::fs::openat(CWD, root, flags, Mode::empty()).context("open", root)?;
    let mut open: Option<(&[u8], OwnedFd)> = None;
    for (entry_path, mtime) in retimed {
        let Some((parent, name)) = path::split(entry_path) else { continue };
        if open.as_ref().is_none_or(|(path, _)| *path != parent) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let Ok(directory) = beneath::open(&root_fd, parent, flags, Mode::empty()) else { continue };
            open = Some((parent, directory));
        }
        if let Some((_, directory)) = &open {
            let _ = rustix::fs::utimensat(directory, name, &times(*mtime), AtFlags::SYMLINK_NOFOLLOW);
        }
    }
    Ok(())
}

//! Who owns the files of a step, where the disk cannot say.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Uid};

use serde::{Deserialize, Serialize};

use super::below::Below;
use super::devices::{Devices, Wanted};
use super::identity::Identity;
use super::process::Process;
use crate::sandbox::resolve::by_descriptor;
use crate::sandbox::sys::{self, Verdict};

/// The calls that give owners, and those that create without a flag that says so.
pub(super) const CALLS: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    libc::SYS_mknodat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
];

/// Calls that create if a flag is in this argument.
pub(super) const CREATING: &[(i64, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
    (libc::SYS_openat, 2),
];

/// No change of this half of an owner.
const UNCHANGED: u32 = u32::MAX;

/// The owner that a path was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Given {
    /// Below the root.
    pub(in crate::sandbox) path: Vec<u8>,
    /// `None`: that of `origin` in the layers below, or root.
    pub(in crate::sandbox) uid: Option<u32>,
    /// The same for the group.
    pub(in crate::sandbox) gid: Option<u32>,
    /// Where the file was when the step began, or first had a name.
    pub(in crate::sandbox) origin: Vec<u8>,
}

/// Where a step's changes are.
pub(in crate::sandbox) struct Changes {
    /// The upper directory of its overlay, or its root.
    pub(in crate::sandbox) directory: OwnedFd,
    /// Whether it is its root: a copy of the image.
    pub(in crate::sandbox) whole: bool,
}

/// An inode for as long as it lives, and no later one with its number: with the time of its birth.
pub(super) type Inode = (u64, i64, u32);

/// The owners that were given, by inode of the filesystem of the step's changes.
pub(super) struct Owners {
    upper: OwnedFd,
    /// What is below is in the upper directory as well: that is a copy of the image.
    whole: bool,
    given: HashMap<Inode, (u32, u32)>,
    /// The first name of what was renamed or linked.
    origins: HashMap<Inode, Vec<u8>>,
    /// Created, and not simply root's; the inode is not known before the kernel has made it.
    expected: Vec<(PathBuf, (u32, u32))>,
    below: Below,
    devices: Devices,
}

impl Owners {
    pub(super) fn new(changes: Changes, below: Below) -> Self {
        let Changes { directory: upper, whole } = changes;
        let (given, origins, expected) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { upper, whole, given, origins, expected, below, devices: Devices::default() }
    }

    /// Whether every file is root's so far, and what the disk says that it is.
    fn all_roots(&self) -> bool {
        self.given.is_empty() && self.expected.is_empty() && self.below.is_plain() && self.devices.is_empty()
    }

    /// Answers a call about files.
    pub(super) fn answer(
        &mut self,
        process: &Process,
        identity: &Identity,
        still_waits: impl FnOnce() -> bool,
    ) -> io::Result<Verdict> {
        let here = libc::AT_FDCWD.cast_unsigned();
        let nofollow = OFlags::PATH | OFlags::NOFOLLOW;
        let (place, uid, gid) = match process.call {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown | libc::SYS_lchown => {
                let flags = if process.call == libc::SYS_chown { OFlags::PATH } else { nofollow };
                let path = process.string(process.address(0))?;
                (process.open(here, &path, flags, 0)?, process.number(1), process.number(2))
            }
            libc::SYS_fchown => {
                (process.descriptor(process.number(0))?, process.number(1), process.number(2))
            }
            libc::SYS_fchownat => {
                let path = process.string(process.address(1))?;
                let flags = AtFlags::from_bits_retain(process.number(4));
                let place = if path.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
                    process.descriptor(process.number(0))?
                } else {
                    let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
                    let open = if follow { OFlags::PATH } else { nofollow };
                    process.open(process.number(0), &path, open, 0)?
                };
                (place, process.number(2), process.number(3))
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename | libc::SYS_link => {
                self.follow(process, here, process.address(0));
                return Ok(Verdict::Continues);
            }
            libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => {
                self.follow(process, process.number(0), process.address(1));
                return Ok(Verdict::Continues);
            }
            libc::SYS_fstat | libc::SYS_newfstatat | libc::SYS_statx => return self.stat(process),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat | libc::SYS_lstat => return self.stat(process),
            _ if let Some(wanted) = Wanted::of(process) => {
                if !identity.is_root() {
                    return Err(io::Error::from_raw_os_error(libc::EPERM));
                }
                if still_waits() {
                    self.devices.make(process, &wanted, &self.upper)?;
                }
                return Ok(Verdict::Returns(0));
            }
            // Everything else creates something.
            _ if identity.owner() == (0, 0) && self.all_roots() => return Ok(Verdict::Continues),
            _ => {
                self.expect(process, identity)?;
                return Ok(Verdict::Continues);
            }
        };
        if !identity.is_root() {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        if still_waits() {
            self.give(&place, uid, gid)?;
        }
        Ok(Verdict::Returns(0))
    }

    /// Remembers the name that a file had, since the layers below know its owner by that.
    fn follow(&mut self, process: &Process, directory: u32, path: u64) {
        self.settle();
        let Ok(path) = process.string(path) else { return };
        let Ok(place) = process.open(directory, &path, OFlags::PATH | OFlags::NOFOLLOW, 0) else { return };
        let Ok(stat) = rustix::fs::fstat(&place) else { return };
        let Ok(path) = std::fs::read_link(by_descriptor(&place)) else { return };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // In an overlay one of the layers below cannot be renamed, and one of the step's own keeps its inodes.
            if self.whole && !self.below.is_plain() {
                self.follow_all(&path);
            }
            return;
        }
        let inode = self.inode(&path).or_else(|| {
            // It is of the layers below. The call will copy it up; it must be known before.
            let own = Some(Uid::ROOT);
            rustix::fs::chownat(&place, "", own, None, AtFlags::EMPTY_PATH).ok()?;
            self.inode(&path)
        });
        if let (Some(inode), Ok(path)) = (inode, path.strip_prefix("/")) {
            self.origins.entry(inode).or_insert_with(|| path.as_os_str().as_bytes().to_vec());
        }
    }

    /// Remembers the names of what is in a directory that moves as a whole.
    fn follow_all(&mut self, directory: &Path) {
        let Ok(directory) = directory.strip_prefix("/") else { return };
        let mut found = Vec::new();
        self.walk(directory, |path, inode| {
            if self.below.knows(path) && !self.origins.contains_key(&inode) {
                found.push((inode, path.as_os_str().as_bytes().to_vec()));
            }
        });
        self.origins.extend(found);
    }

    /// Visits a directory of the step's changes and all that is below it.
    fn walk(&self, directory: &Path, mut visit: impl FnMut(&Path, Inode)) {
        let here =
            |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
        let mut todo = vec![directory.to_owned()];
        while let Some(directory) = todo.pop() {
            let Some((own, kind)) = inode(&self.upper, &here(&directory)) else { continue };
            visit(&directory, own);
            if kind != FileType::Directory {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(self.upper.as_fd(), here(&directory), flags, Mode::empty());
            let Ok(opened) = opened.and_then(rustix::fs::Dir::new) else { continue };
            for entry in opened.flatten() {
                let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
                if name != "." && name != ".." {
                    todo.push(directory.join(name));
                }
            }
        }
    }

    /// Records the owner of what is at `place`, if that is in the step's layer.
    pub(super) fn give(&mut self, place: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
        self.settle();
        // As a real change of owner would: copies the file up, clears set-user-id bits, touches the change time.
        rustix::fs::chownat(place, "", Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::EMPTY_PATH)?;
        let path = std::fs::read_link(by_descriptor(place))?;
        let Some(inode) = self.inode(&path) else { return Ok(()) };
        let given = self.given.entry(inode).or_insert((UNCHANGED, UNCHANGED));
        if uid != UNCHANGED {
            given.0 = uid;
        }
        if gid != UNCHANGED {
            given.1 = gid;
        }
        Ok(())
    }

    /// Notes that something may come to be at the path of a creating call, with the caller as its owner.
    fn expect(&mut self, process: &Process, identity: &Identity) -> io::Result<()> {
        self.settle();
        let here = libc::AT_FDCWD.cast_unsigned();
        let (directory, path) = match process.call {
            libc::SYS_openat | libc::SYS_mkdirat | libc::SYS_mknodat => {
                (process.number(0), process.address(1))
            }
            libc::SYS_symlinkat => (process.number(1), process.address(2)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_symlink => (here, process.address(1)),
            _ => (here, process.address(0)),
        };
        let path = process.string(path)?;
        if process.open(directory, &path, OFlags::PATH | OFlags::NOFOLLOW, 0).is_ok() {
            return Ok(());
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let Ok(parent) = process.open(directory, parent.as_os_str().as_bytes(), OFlags::PATH, 0) else {
            return Ok(());
        };
        let (mut owner, mode) = (identity.owner(), rustix::fs::fstat(&parent)?.st_mode);
        let parent = std::fs::read_link(by_descriptor(&parent))?;
        if mode & libc::S_ISGID != 0 {
            owner.1 = self.owner(&parent).1;
        }
        let path = parent.join(name);
        // What is root's is so without a record, but where a file below had another owner at this place.
        if owner != (0, 0) || path.strip_prefix("/").is_ok_and(|path| self.below.knows(path)) {
            self.expected.push((path, owner));
        }
        Ok(())
    }

    /// Answers a question about a file as its recorded owner wants it. A file of root is the kernel's to answer.
    fn stat(&mut self, process: &Process) -> io::Result<Verdict> {
        if self.all_roots() {
            return Ok(Verdict::Continues);
        }
        self.settle();
        let here = libc::AT_FDCWD.cast_unsigned();
        let follow = |flags: AtFlags| {
            if flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
                OFlags::PATH | OFlags::NOFOLLOW
            } else {
                OFlags::PATH
            }
        };
        let (directory, path, flags, to) = match process.call {
            libc::SYS_fstat => (process.number(0), 0, AtFlags::EMPTY_PATH, process.address(1)),
            libc::SYS_newfstatat | libc::SYS_statx => {
                let at = if process.call == libc::SYS_statx { (2, 4) } else { (3, 2) };
                let flags = AtFlags::from_bits_retain(process.number(at.0));
                (process.number(0), process.address(1), flags, process.address(at.1))
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => (here, process.address(0), AtFlags::SYMLINK_NOFOLLOW, process.address(1)),
            _ => (here, process.address(0), AtFlags::empty(), process.address(1)),
        };
        // Whatever is wrong with the path is the kernel's to say.
        let place = if flags.contains(AtFlags::EMPTY_PATH)
            && (path == 0 || process.string(path).is_ok_and(|path| path.is_empty()))
        {
            process.descriptor(directory)
        } else {
            process.string(path).and_then(|path| process.open(directory, &path, follow(flags), 0))
        };
        let Ok(place) = place else { return Ok(Verdict::Continues) };
        let Ok(path) = std::fs::read_link(by_descriptor(&place)) else { return Ok(Verdict::Continues) };
        let (uid, gid) = self.owner(&path);
        let device = self.inode(&path).and_then(|inode| self.devices.find(&inode));
        if (uid, gid) == (0, 0) && device.is_none() {
            return Ok(Verdict::Continues);
        }
        let looks = sys::Looks { uid, gid, device };
        let answer = if process.call == libc::SYS_statx {
            sys::statx_bytes(place.as_fd(), process.number(3), looks)?
        } else {
            sys::stat_bytes(place.as_fd(), looks)?
        };
        sys::write_memory(process.pid, to, &answer)?;
        Ok(Verdict::Returns(0))
    }

    /// The owner of what is at an absolute path of the step.
    fn owner(&self, path: &Path) -> (u32, u32) {
        let Ok(inside) = path.strip_prefix("/") else { return (0, 0) };
        let inode = self.inode(path);
        let given = inode.and_then(|inode| self.given.get(&inode)).copied().unwrap_or((UNCHANGED, UNCHANGED));
        if given.0 != UNCHANGED && given.1 != UNCHANGED {
            return given;
        }
        let origin = inode.and_then(|inode| self.origins.get(&inode));
        let origin = origin.map_or(inside, |origin| Path::new(std::ffi::OsStr::from_bytes(origin)));
        let below = self.below.owner(origin);
        let half = |given: u32, below: u32| if given == UNCHANGED { below } else { given };
        (half(given.0, below.0), half(given.1, below.1))
    }

    /// Finds the inodes of what was expected.
    fn settle(&mut self) {
        for (path, owner) in std::mem::take(&mut self.expected) {
            if let Some(inode) = self.inode(&path) {
                self.given.entry(inode).or_insert(owner);
            } else if !self.expected.contains(&(path.clone(), owner)) && self.expected.len() < 16 {
                // The call may not have been carried out yet.
                self.expected.push((path, owner));
            }
        }
    }

    /// The inode at an absolute path of the step, if it is the upper directory's.
    fn inode(&self, path: &Path) -> Option<Inode> {
        let path = path.strip_prefix("/").ok()?;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        inode(&self.upper, path).map(|(inode, _)| inode)
    }

    /// The records as paths of the upper directory.
    pub(super) fn by_path(mut self) -> Vec<Given> {
        self.settle();
        let mut found = Vec::new();
        if self.given.is_empty() && self.origins.is_empty() {
            return found;
        }
        self.walk(Path::new(""), |path, inode| {
            let (given, origin) = (self.given.get(&inode), self.origins.get(&inode));
            if given.is_some() || origin.is_some() {
                let (uid, gid) = given.copied().unwrap_or((UNCHANGED, UNCHANGED));
                let known = |id: u32| (id != UNCHANGED).then_some(id);
                let path = path.as_os_str().as_bytes().to_vec();
                let origin = origin.cloned().unwrap_or_else(|| path.clone());
                found.push(Given { path, uid: known(uid), gid: known(gid), origin });
            }
        });
        found
    }
}

pub(super) fn inode(upper: &OwnedFd, path: &Path) -> Option<(Inode, FileType)> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(upper, path, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    Some(((stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec), kind))
}

//! Who owns the files of a step, where the disk cannot say.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Uid};

use super::identity::Identity;
use super::process::Process;
use crate::sandbox::resolve::by_descriptor;
use crate::sandbox::sys::Verdict;

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
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
];

/// Calls that create if a flag is in this argument.
pub(super) const CREATING: &[(i64, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
    (libc::SYS_openat, 2),
];

/// No change of this half of an owner.
const UNCHANGED: u32 = u32::MAX;

/// An inode for as long as it lives, and no later one with its number: with the time of its birth.
type Inode = (u64, i64, u32);

/// The owners that were given, by inode of the upper directory's filesystem.
pub(super) struct Owners {
    upper: OwnedFd,
    given: HashMap<Inode, (u32, u32)>,
    /// Created by a process that is not root; its inode is not known before the kernel has made it.
    expected: Vec<(PathBuf, (u32, u32))>,
}

impl Owners {
    pub(super) fn new(upper: OwnedFd) -> Self {
        Self { upper, given: HashMap::new(), expected: Vec::new() }
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
            // Everything else creates something.
            _ if identity.owner() == (0, 0) => return Ok(Verdict::Continues),
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

    /// Records the owner of what is at `place`, if that is in the step's layer.
    fn give(&mut self, place: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
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
            libc::SYS_openat | libc::SYS_mkdirat => (process.number(0), process.address(1)),
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
        let parent = std::fs::read_link(by_descriptor(&parent))?;
        self.expected.push((parent.join(name), identity.owner()));
        Ok(())
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

    /// The records as paths of the upper directory. An owner of which only half was given has the other half
    /// unchanged ([`u32::MAX`]).
    pub(super) fn by_path(mut self) -> Vec<(Vec<u8>, u32, u32)> {
        self.settle();
        let mut found = Vec::new();
        if self.given.is_empty() {
            return found;
        }
        let mut todo = vec![PathBuf::from(".")];
        while let Some(directory) = todo.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(self.upper.as_fd(), &directory, flags, Mode::empty());
            let Ok(opened) = opened.and_then(rustix::fs::Dir::new) else { continue };
            for entry in opened.flatten() {
                let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
                if name == ".." || (name == "." && directory != Path::new(".")) {
                    continue;
                }
                let path = if name == "." { directory.clone() } else { directory.join(name) };
                let Some((inode, kind)) = inode(&self.upper, &path) else { continue };
                if let Some((uid, gid)) = self.given.get(&inode) {
                    let path = path.strip_prefix(".").unwrap_or(&path);
                    found.push((path.as_os_str().as_bytes().to_vec(), *uid, *gid));
                }
                if kind == FileType::Directory && name != "." {
                    todo.push(path);
                }
            }
        }
        found
    }
}

fn inode(upper: &OwnedFd, path: &Path) -> Option<(Inode, FileType)> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(upper, path, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    Some(((stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec), kind))
}

//! Devices that a step makes where the kernel lets it make none: each is an empty file with a mark, which looks like the
//! device to the step that made it, and is the device in the layer.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use layer_store::layer::DeviceMark;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, major, minor};

use super::files::{Inode, inode};
use super::process::Process;
use crate::sandbox::resolve::by_descriptor;

/// A device that a process wants to make.
pub(super) struct Wanted {
    directory: u32,
    path: u64,
    /// Type and permission bits.
    mode: u32,
    number: u64,
}

impl Wanted {
    /// What a call of `mknod` asks for; `None` of what the kernel makes for anybody: files, pipes, sockets, whiteouts.
    pub(super) fn of(process: &Process) -> Option<Self> {
        let here = libc::AT_FDCWD.cast_unsigned();
        let (directory, first) = match process.call {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_mknod => (here, 0),
            libc::SYS_mknodat => (process.number(0), 1),
            _ => return None,
        };
        let (mode, number) = (process.number(first + 1), u64::from(process.number(first + 2)));
        let is_device = match mode & libc::S_IFMT {
            libc::S_IFBLK => true,
            libc::S_IFCHR => number != 0,
            _ => false,
        };
        is_device.then(|| Self { directory, path: process.address(first), mode, number })
    }
}

/// The devices of a step: type bits and number, by inode.
#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<Inode, (u32, u64)>);

impl Devices {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, inode: &Inode) -> Option<(u32, u64)> {
        self.0.get(inode).copied()
    }

    /// Makes the file that stands for a device. Outside of the step's layer there is none, as where the kernel refuses.
    pub(super) fn make(&mut self, process: &Process, wanted: &Wanted, upper: &OwnedFd) -> io::Result<()> {
        let umask = process.status(&["Umask"])?[0];
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let path = process.string(wanted.path)?;
        let file = process.open(wanted.directory, &path, flags, wanted.mode & 0o7777 & !umask)?;
        let place = std::fs::read_link(by_descriptor(&file))?;
        let marked = place.strip_prefix("/").ok().and_then(|inside| {
            let (inode, _) = inode(upper, inside)?;
            let (major, minor) = (major(wanted.number), minor(wanted.number));
            let block = wanted.mode & libc::S_IFMT == libc::S_IFBLK;
            // Overlayfs keeps such names from the step itself.
            let own = rustix::fs::openat(upper, inside, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
            let value = DeviceMark { block, major, minor }.to_bytes();
            rustix::fs::fsetxattr(own.ok()?, DeviceMark::NAME, &value, XattrFlags::empty()).ok()?;
            Some(inode)
        });
        let Some(inode) = marked else {
            let _ = rustix::fs::unlinkat(CWD, place, AtFlags::empty());
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        };
        self.0.insert(inode, (wanted.mode & libc::S_IFMT, wanted.number));
        Ok(())
    }
}

//! The process whose call waits: its arguments, its memory, its places.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::sandbox::sys::{self, Notification};

/// A thread that waits for the answer to a call.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) call: i64,
    arguments: [u64; 6],
    /// Its directory in `/proc`.
    directory: PathBuf,
}

impl Process {
    pub(super) fn new(notification: &Notification, own_proc: bool) -> Self {
        let pid = notification.pid;
        let number = if own_proc { pid } else { outer_number(pid).unwrap_or(pid) };
        let directory = PathBuf::from(format!("/proc/{number}"));
        Self { pid, call: notification.call, arguments: notification.arguments, directory }
    }

    /// An argument that the kernel takes as 32 bits.
    pub(super) fn number(&self, argument: usize) -> u32 {
        // The kernel takes the low half.
        self.arguments[argument] as u32
    }

    pub(super) fn address(&self, argument: usize) -> u64 {
        self.arguments[argument]
    }

    /// The string at an address, up to a path's length.
    pub(super) fn string(&self, address: u64) -> io::Result<Vec<u8>> {
        let mut string = Vec::new();
        let mut buffer = [0; 4096];
        let mut at = address;
        while string.len() < libc::PATH_MAX as usize {
            // Not past the end of a page, which may be the end of what is mapped.
            let wanted = 4096 - (at % 4096) as usize;
            let read = sys::read_memory(self.pid, at, &mut buffer[..wanted])?;
            if read == 0 {
                return Err(io::Error::from_raw_os_error(libc::EFAULT));
            }
            if let Some(end) = buffer[..read].iter().position(|byte| *byte == 0) {
                string.extend_from_slice(&buffer[..end]);
                return Ok(string);
            }
            string.extend_from_slice(&buffer[..read]);
            at += read as u64;
        }
        Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
    }

    /// Group ids at an address.
    pub(super) fn numbers(&self, address: u64, count: u32) -> io::Result<Vec<u32>> {
        if count > 65536 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut buffer = vec![0; count as usize * 4];
        if !buffer.is_empty() && sys::read_memory(self.pid, address, &mut buffer)? != buffer.len() {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        Ok(buffer
            .chunks_exact(4)
            .map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
            .collect())
    }

    pub(super) fn write(&self, address: u64, numbers: &[u32]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.write_bytes(address, &bytes)
    }

    /// An open descriptor of the process, as a place.
    pub(super) fn descriptor(&self, number: u32) -> io::Result<OwnedFd> {
        let path = if number.cast_signed() == libc::AT_FDCWD {
            self.directory.join("cwd")
        } else {
            self.directory.join("fd").join(number.cast_signed().to_string())
        };
        place(&path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => io::Error::from_raw_os_error(libc::EBADF),
            _ => error,
        })
    }

    /// Opens a path as the process would, relative to `directory` where it is relative, with `flags`.
    pub(super) fn open(&self, directory: u32, path: &[u8], flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let path = self.own(path);
        let mode = Mode::from_raw_mode(mode);
        let flags = flags | OFlags::CLOEXEC;
        if path.is_absolute() {
            let root = place(&self.directory.join("root"))?;
            let resolve = rustix::fs::ResolveFlags::IN_ROOT;
            return Ok(rustix::fs::openat2(root, path, flags, mode, resolve)?);
        }
        let base = self.descriptor(directory)?;
        Ok(rustix::fs::openat(base, path, flags, mode)?)
    }

    /// `/proc/self` means the process, not who acts for it.
    fn own(&self, path: &[u8]) -> PathBuf {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        match path.strip_prefix("/proc/self").or_else(|_| path.strip_prefix("/proc/thread-self")) {
            Ok(rest) => self.directory.join(rest),
            Err(_) => path,
        }
    }

    /// Where an open directory of the process is, by the names of this process.
    pub(super) fn directory_of(&self, number: u32) -> io::Result<PathBuf> {
        std::fs::read_link(if number.cast_signed() == libc::AT_FDCWD {
            self.directory.join("cwd")
        } else {
            self.directory.join("fd").join(number.cast_signed().to_string())
        })
    }

    /// The number of the process that this is a thread of.
    pub(super) fn group(&self) -> io::Result<u32> {
        Ok(self.status(&["Tgid"])?[0])
    }

    /// Its effective user, and all its groups.
    pub(super) fn identity(&self) -> io::Result<(u32, Vec<u32>)> {
        let text = std::fs::read_to_string(self.directory.join("status"))?;
        let numbers = |name: &str| -> Vec<u32> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.into_iter().flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect()
        };
        let uid = numbers("Uid:").get(1).copied().ok_or(io::ErrorKind::InvalidData)?;
        let mut gids = numbers("Groups:");
        gids.extend(numbers("Gid:").get(1));
        Ok((uid, gids))
    }

    /// Does something with the identity of the process: root without `SYS_PTRACE` may not look into a process of
    /// another user, but that user may.
    pub(super) fn as_itself<T>(&self, work: impl FnOnce() -> T) -> T {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(&self.directory) {
            Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
                sys::with_identity(found.uid(), found.gid(), work)
            }
            _ => work(),
        }
    }

    pub(super) fn write_bytes(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() { Ok(()) } else { sys::write_memory(self.pid, address, bytes) }
    }

    /// What `/proc/<pid>/status` says under a name.
    pub(super) fn status(&self, wanted: &[&str]) -> io::Result<Vec<u32>> {
        status(&self.directory, wanted)
    }

    /// The directory of another process, by the number that this one's status names it by.
    pub(super) fn sibling(number: u32) -> PathBuf {
        PathBuf::from(format!("/proc/{number}"))
    }
}

/// Fields of a process's status, the umask as its octal number.
pub(super) fn status(directory: &Path, wanted: &[&str]) -> io::Result<Vec<u32>> {
    let text = std::fs::read_to_string(directory.join("status"))?;
    wanted
        .iter()
        .map(|name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let radix = if *name == "Umask" { 8 } else { 10 };
            line.and_then(|value| u32::from_str_radix(value.trim(), radix).ok())
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
        })
        .collect()
}

/// When a process began, in ticks since boot: with its number it is that process and no later one.
pub(super) fn began(directory: &Path) -> io::Result<u64> {
    let text = std::fs::read_to_string(directory.join("stat"))?;
    // The second field is the program's name in parentheses and may contain anything.
    let after = text.rsplit_once(')').map(|(_, after)| after);
    after
        .and_then(|after| after.split_whitespace().nth(19)?.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number by which a `/proc` of an outer PID namespace knows a process.
fn outer_number(pid: u32) -> Option<u32> {
    use std::os::fd::AsRawFd as _;
    let pid = rustix::process::Pid::from_raw(pid.cast_signed())?;
    let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

fn place(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

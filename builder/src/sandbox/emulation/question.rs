//! Calls that name a file: where the name stands among the arguments, and what is wanted of the file.

use std::io;

use rustix::fs::{AtFlags, OFlags};

use super::process::Process;
use crate::sandbox::seccomp::Program;

/// What a process wants of a file that it names.
pub(super) enum Want {
    /// To open it.
    Open(OFlags),
    /// To read where a symbolic link leads, into a buffer.
    Link { buffer: u64, size: u64 },
    /// To look at it or to start it: what the kernel finds on the disk is the answer.
    Look { follow: bool },
}

/// A name, and what is wanted of it.
pub(super) struct Question {
    /// The descriptor that a relative name starts from.
    pub(super) directory: u32,
    /// The address of the name.
    pub(super) path: u64,
    pub(super) want: Want,
}

/// Every such call.
const CALLS: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_readlinkat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    FACCESSAT2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_chdir,
];

/// `libc` lacks it for some targets; the number is the same everywhere.
const FACCESSAT2: i64 = 439;

/// Stops a process at each of these calls, but not where an open descriptor itself is asked about.
pub(super) fn filter() -> Program {
    let mut program = Program::default();
    program.load(0);
    for call in CALLS {
        program.if_equal_return(u32::try_from(*call).unwrap_or(u32::MAX), libc::SECCOMP_RET_USER_NOTIF);
    }
    let newfstatat = u32::try_from(libc::SYS_newfstatat).unwrap_or(u32::MAX);
    let empty = AtFlags::EMPTY_PATH.bits();
    program.unless_argument_bits_return(newfstatat, 3, empty, libc::SECCOMP_RET_USER_NOTIF);
    program.give(libc::SECCOMP_RET_ALLOW);
    program
}

impl Question {
    /// The question that a process's call is; `None` for another call.
    pub(super) fn of(process: &Process) -> io::Result<Option<Self>> {
        let here = libc::AT_FDCWD.cast_unsigned();
        let look = |at_flags: u32| {
            let follow = !AtFlags::from_bits_retain(at_flags).contains(AtFlags::SYMLINK_NOFOLLOW);
            Want::Look { follow }
        };
        let open = |flags: u64| Want::Open(OFlags::from_bits_retain(flags as u32));
        let (first, second) = (process.number(0), process.address(1));
        let (directory, path, want) = match process.call {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => (here, process.address(0), open(process.address(1))),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_readlink => {
                (here, process.address(0), Want::Link { buffer: second, size: process.address(2) })
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat | libc::SYS_access => (here, process.address(0), Want::Look { follow: true }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => (here, process.address(0), Want::Look { follow: false }),
            libc::SYS_execve | libc::SYS_chdir => (here, process.address(0), Want::Look { follow: true }),
            libc::SYS_openat => (first, second, open(process.address(2))),
            libc::SYS_openat2 => {
                // struct open_how begins with the flags.
                let how = process.numbers(process.address(2), 2)?;
                (first, second, open(how.first().copied().unwrap_or(0).into()))
            }
            libc::SYS_readlinkat => {
                (first, second, Want::Link { buffer: process.address(2), size: process.address(3) })
            }
            libc::SYS_newfstatat => (first, second, look(process.number(3))),
            libc::SYS_statx => (first, second, look(process.number(2))),
            libc::SYS_execveat => (first, second, look(process.number(4))),
            // faccessat has no flags, and those of its successor are the fourth argument.
            libc::SYS_faccessat => (first, second, Want::Look { follow: true }),
            FACCESSAT2 => (first, second, look(process.number(3))),
            _ => return Ok(None),
        };
        Ok(Some(Self { directory, path, want }))
    }
}

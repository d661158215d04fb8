//! The one system call that the standard library does not offer: a wait that tells what the child cost.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};

/// How a child ended.
pub(super) struct Ended {
    /// Its status.
    pub(super) status: ExitStatus,
    /// Seconds of processor time in user and system mode, with those of the children that it waited for.
    pub(super) processor: f64,
    /// The largest resident set of it or of such a child, in bytes.
    pub(super) memory: u64,
}

/// Waits for a child.
#[expect(unsafe_code, reason = "the standard library has no safe wrapper for it")]
pub(super) fn wait(child: &Child) -> io::Result<Ended> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `rusage` is a struct of integers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers lead to values of the types that wait4 fills, which live until it returns.
    while unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        processor: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        // Linux counts in KiB.
        memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a benchmark fit")]
fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

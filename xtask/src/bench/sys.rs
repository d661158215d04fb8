//! What the standard library does not offer: a wait that tells what the child cost, and what it has in memory.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io};

/// How often a child's memory is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// How a child ended.
pub(super) struct Ended {
    /// Its status.
    pub(super) status: ExitStatus,
    /// Seconds of processor time in user and system mode, with those of the children that it waited for.
    pub(super) processor: f64,
    /// The largest resident set of it, in bytes: what was seen last before it ended.
    pub(super) memory: u64,
}

/// Waits for a child. Its resident set is looked at all the while: what the kernel tells at the end begins with that of
/// the process which started it.
pub(super) fn wait(child: &Child) -> io::Result<Ended> {
    std::thread::scope(|scope| {
        let (ended, waits) = mpsc::channel::<()>();
        let memory = scope.spawn(move || {
            let mut largest = 0;
            while matches!(waits.recv_timeout(LOOK), Err(mpsc::RecvTimeoutError::Timeout)) {
                largest = largest.max(resident(child.id()).unwrap_or(0));
            }
            largest
        });
        let result = wait_for(child);
        drop(ended);
        let memory = memory.join().unwrap_or(0);
        result.map(|(status, processor)| Ended { status, processor, memory })
    })
}

/// The most that a process had in memory so far, in bytes; `None` once it has ended.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[expect(unsafe_code, reason = "the standard library has no safe wrapper for it")]
fn wait_for(child: &Child) -> io::Result<(ExitStatus, f64)> {
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
    Ok((ExitStatus::from_raw(status), seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a benchmark fit")]
fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

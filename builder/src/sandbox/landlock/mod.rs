//! Confinement without mounts or namespaces: a step whose root is only changed may open nothing outside of that
//! directory, by whatever way it gets there, and may neither signal nor trace a process that is not its own.

mod sys;

use std::io;
use std::os::fd::BorrowedFd;

/// The first version that lets files be moved between directories: an earlier one would break ordinary programs.
const MINIMUM: i32 = 2;
/// The first version that keeps signals and abstract sockets inside.
const SCOPES: i32 = 6;

/// Everything that one does to files, but for requests to devices (`LANDLOCK_ACCESS_FS_*`, `linux/landlock.h`).
const EVERYTHING: u64 = (1 << 14) - 1;
const TRUNCATE: u64 = 1 << 14;
/// Abstract sockets and signals.
const ALL_SCOPES: u64 = 0b11;

/// What the kernel can do of it.
pub(super) fn version() -> io::Result<i32> {
    match sys::version()? {
        version if version >= MINIMUM => Ok(version),
        _ => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    }
}

/// Confines this process, for good, to the directory `root` and what is below it. Needs no privilege but
/// `no_new_privs`.
pub(super) fn confine(root: BorrowedFd<'_>) -> io::Result<()> {
    let version = version()?;
    let files = if version >= 3 { EVERYTHING | TRUNCATE } else { EVERYTHING };
    let scopes = if version >= SCOPES { ALL_SCOPES } else { 0 };
    let rules = sys::ruleset(files, scopes)?;
    sys::allow_below(&rules, root, files)?;
    sys::restrict_self(&rules)
}

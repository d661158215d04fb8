//! The three system calls of Landlock, which libc does not wrap.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// `struct landlock_ruleset_attr`; the kernel takes a longer one than it knows if the rest is zero.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

const CREATE_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// The version of the kernel's Landlock; an error where there is none.
#[expect(unsafe_code, reason = "libc has no wrapper for it")]
pub(super) fn version() -> io::Result<i32> {
    let nothing = std::ptr::null::<RulesetAttributes>();
    // SAFETY: with this flag the kernel reads no memory.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, CREATE_VERSION) };
    if version < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(version).unwrap_or(i32::MAX)) }
}

/// A new set of rules that handles these accesses to files, and these scopes.
#[expect(unsafe_code, reason = "libc has no wrapper for it")]
pub(super) fn ruleset(files: u64, scopes: u64) -> io::Result<OwnedFd> {
    let attributes = RulesetAttributes { files, network: 0, scopes };
    let size = size_of::<RulesetAttributes>();
    // SAFETY: the kernel reads one struct of the size that is passed.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0_u32) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel made this descriptor for us; nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Allows these accesses to a directory and all below it.
#[expect(unsafe_code, reason = "libc has no wrapper for it")]
pub(super) fn allow_below(rules: &OwnedFd, directory: BorrowedFd<'_>, files: u64) -> io::Result<()> {
    let rule = Beneath { allowed: files, parent: directory.as_raw_fd() };
    // SAFETY: the kernel reads one struct of the kind that is named.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Holds this process to the rules from here on.
#[expect(unsafe_code, reason = "libc has no wrapper for it")]
pub(super) fn restrict_self(rules: &OwnedFd) -> io::Result<()> {
    // SAFETY: takes no memory.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0_u32) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

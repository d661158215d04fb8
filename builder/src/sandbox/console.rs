//! A terminal of a step's own.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;

use super::failure::Refused as _;
use super::report::Failure;
use super::wire;

/// Makes a terminal of the `/dev/pts` that this process sees, for the user `uid`, and sends its other side through
/// `socket`.
pub(super) fn make(socket: &OwnedFd, uid: u32) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty()).refused_on("open", "/dev/ptmx")?;
    rustix::pty::unlockpt(&master).refused("ioctl(TIOCSPTLCK)")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).refused("ioctl(TIOCGPTPEER)")?;
    // With one id mapped every terminal is its.
    let _ = rustix::fs::fchown(&terminal, Some(Uid::from_raw(uid)), None);
    wire::send(socket, &(), &[master]).refused("sendmsg")?;
    Ok(terminal)
}

/// Makes it the terminal of this process, which leads a session that has none.
pub(super) fn take(terminal: &OwnedFd) -> Result<(), Failure> {
    rustix::process::ioctl_tiocsctty(terminal).refused("ioctl(TIOCSCTTY)")
}

//! Root for a process that has one id: calls that change owners and identities are answered here, consistently, and
//! the owners are recorded for the layer.
//!
//! The kernel maps one id, so it refuses every other (`EINVAL`). The step's processes are stopped at these calls by
//! seccomp and process 1 answers: an owner goes into a table by inode, so that it survives a rename; an identity
//! into a table by process, inherited by its children. The files that a process with another identity creates are
//! created by process 1 in its stead, and recorded with that identity.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::seccomp::Program;
use super::step::StepUser;
use super::sys::{self, Instruction, Notification, Verdict};

mod files;
mod identity;
mod process;

use files::Owners;
use identity::Identities;
use process::Process;

/// Answers the calls of one step.
pub(super) struct Emulator {
    listener: OwnedFd,
    identities: Identities,
    owners: Owners,
}

impl Emulator {
    /// For the calls that come through `listener`, of processes that begin as `user`. `upper` is the step's upper
    /// directory.
    pub(super) fn new(listener: OwnedFd, user: &StepUser, upper: OwnedFd, own_proc: bool) -> Self {
        sys::wake_in_turn(listener.as_fd());
        Self { listener, identities: Identities::new(user, own_proc), owners: Owners::new(upper) }
    }

    /// What becomes readable when a call waits.
    pub(super) fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// Answers one call.
    pub(super) fn answer_one(&mut self) -> io::Result<()> {
        let notification = match sys::next_notification(self.listener.as_fd()) {
            Ok(notification) => notification,
            // Killed, or interrupted, before it was read.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let verdict = self
            .verdict(&notification)
            .unwrap_or_else(|error| Verdict::Fails(error.raw_os_error().unwrap_or(libc::EPERM)));
        match sys::answer(self.listener.as_fd(), notification.id, verdict) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// The owners that the step gave, by path.
    pub(super) fn into_owners(self) -> Vec<(Vec<u8>, u32, u32)> {
        self.owners.by_path()
    }

    fn verdict(&mut self, notification: &Notification) -> io::Result<Verdict> {
        let process = Process::new(notification, self.identities.own_proc());
        if let Some(verdict) = self.identities.answer(&process)? {
            return Ok(verdict);
        }
        let identity = self.identities.of(&process)?;
        self.owners.answer(&process, &identity, || sys::still_waits(self.listener.as_fd(), notification.id))
    }
}

/// The filter that stops a step's processes at the calls that are answered here. 32-bit programs have theirs answered
/// without a record: they succeed and change nothing.
pub(super) fn filter() -> Vec<Instruction> {
    let mut program = Program::default();
    program.load(4);
    #[cfg(target_arch = "x86_64")]
    {
        let mut compatible = Program::default();
        compatible.load(0);
        for call in I386_NO_EFFECT {
            compatible.if_equal_return(call, libc::SECCOMP_RET_ERRNO);
        }
        compatible.give(libc::SECCOMP_RET_ALLOW);
        program.unless_equal_skip(0x4000_0003, &compatible);
    }
    program.load(0);
    for call in identity::CALLS.iter().chain(files::CALLS) {
        program.if_equal_return(u32::try_from(*call).unwrap_or(u32::MAX), libc::SECCOMP_RET_USER_NOTIF);
    }
    for (call, argument) in files::CREATING {
        program.if_argument_bits_return(
            u32::try_from(*call).unwrap_or(u32::MAX),
            *argument,
            libc::O_CREAT.cast_unsigned(),
            libc::SECCOMP_RET_USER_NOTIF,
        );
    }
    program.give(libc::SECCOMP_RET_ALLOW);
    program.0
}

/// chown and set*id in all their widths (`asm/unistd_32.h`).
#[cfg(target_arch = "x86_64")]
const I386_NO_EFFECT: [u32; 23] = [
    16, 23, 46, 70, 71, 81, 95, 138, 139, 164, 170, 182, 198, 203, 204, 206, 207, 208, 210, 212, 213, 214,
    298,
];

//! Calls of a step that are answered here, because the kernel would refuse them where the sandbox is less than a
//! container. The step's processes are stopped at them by seccomp, and process 1 answers.
//!
//! - With one id mapped the kernel refuses every other (`EINVAL`): changes of owner and of identity are answered
//!   consistently, and the owners recorded for the layer. An owner goes into a table by inode, so that it survives a
//!   rename; an identity into a table by process, inherited by its children.
//! - Where nothing can be mounted, the files of the kernel are opened here and handed over: see [`kernel`].

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::seccomp::Program;
use super::step::StepUser;
use super::sys::{self, Instruction, Notification, Verdict};

mod below;
mod devices;
mod files;
mod identity;
pub(super) mod kernel;
mod process;
mod question;

pub(super) use below::{Below, Foreign};
use files::Owners;
pub(super) use files::{Changes, Given};
use identity::Identities;
use kernel::KernelFiles;
use process::Process;

/// Answers the calls of one step.
pub(super) struct Emulator {
    listener: OwnedFd,
    own_proc: bool,
    answers: Answers,
}

enum Answers {
    OneId(Box<(Identities, Owners)>),
    WithoutMounts(KernelFiles),
}

impl Emulator {
    /// Answers for a step that has one id, whose processes begin as `user`. `upper` is its upper directory, `below`
    /// what is known of the owners in its layers. Calls come through `listener`.
    pub(super) fn one_id(
        listener: OwnedFd,
        user: &StepUser,
        changes: Changes,
        below: Below,
        own_proc: bool,
    ) -> Self {
        let answers = Answers::OneId(Box::new((Identities::new(user), Owners::new(changes, below))));
        Self::new(listener, own_proc, answers)
    }

    /// Answers for a step that can mount nothing.
    pub(super) fn without_mounts(listener: OwnedFd, files: KernelFiles) -> Self {
        // Such a step is in the same PID namespace as this process.
        Self::new(listener, true, Answers::WithoutMounts(files))
    }

    fn new(listener: OwnedFd, own_proc: bool, answers: Answers) -> Self {
        sys::wake_in_turn(listener.as_fd());
        Self { listener, own_proc, answers }
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

    /// Records the owner of what was made for the step, where owners are recorded.
    pub(super) fn give(&mut self, place: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
        match &mut self.answers {
            Answers::OneId(one) => one.1.give(place, uid, gid),
            Answers::WithoutMounts(_) => Ok(()),
        }
    }

    /// The owners that the step gave, by path, where they are recorded.
    pub(super) fn into_owners(self) -> Option<Vec<Given>> {
        match self.answers {
            Answers::OneId(one) => Some(one.1.by_path()),
            Answers::WithoutMounts(_) => None,
        }
    }

    fn verdict(&mut self, notification: &Notification) -> io::Result<Verdict> {
        let process = Process::new(notification, self.own_proc);
        match &mut self.answers {
            Answers::WithoutMounts(files) => files.answer(&process),
            Answers::OneId(one) => {
                let (identities, owners) = &mut **one;
                if let Some(verdict) = identities.answer(&process)? {
                    return Ok(verdict);
                }
                let identity = identities.of(&process)?;
                let still_waits = || sys::still_waits(self.listener.as_fd(), notification.id);
                owners.answer(&process, &identity, still_waits)
            }
        }
    }
}

/// The filter that stops a step without mounts at the calls that name a file.
pub(super) fn filter_without_mounts() -> Vec<Instruction> {
    question::filter().0
}

/// The filter that stops a step with one id at the calls that are answered here. 32-bit programs have theirs answered
/// without a record: they succeed and change nothing.
pub(super) fn filter_one_id() -> Vec<Instruction> {
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

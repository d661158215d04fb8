//! The first process of a step: makes its surroundings, starts the command, reaps what is left to it, and reports.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use super::emulation::Emulator;
use super::failure::{Refused as _, because};
use super::features::Features;
use super::report::Failure;
use super::step::{ExitStatus, Network, Step};
use super::sys::{self, Forked, Instruction};
use super::wire::NotRun;
use super::{chroot, command, resolve, root, strays, wire};

/// What the first process tells the keeper when all is over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The command ended; the owners that it gave, where they are recorded.
    Ended(ExitStatus, Option<Vec<(Vec<u8>, u32, u32)>>),
    /// It was never started.
    NotRun(NotRun),
}

/// Everything a step's first process starts with.
pub(super) struct Start<'a> {
    pub(super) step: &'a Step,
    pub(super) features: &'a Features,
    pub(super) filter: &'a [Instruction],
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) secrets: Vec<OwnedFd>,
}

/// Runs as process 1 of the step's namespaces and ends with them. The outcome goes to `report`, which only the
/// keeper reads.
pub(super) fn main(start: Start<'_>, report: OwnedFd) -> ! {
    let outcome = match live(start, &report) {
        Ok((status, owners)) => Outcome::Ended(status, owners),
        Err(why) => Outcome::NotRun(why),
    };
    if let Ok(body) = serde_json::to_vec(&outcome) {
        let _ = std::fs::File::from(report).write_all(&body);
    }
    // With process 1 the kernel ends every other process of the namespace.
    sys::exit_now(0)
}

fn live(start: Start<'_>, report: &OwnedFd) -> Result<Ended, NotRun> {
    let mut keep = vec![start.stdout.as_raw_fd(), start.stderr.as_raw_fd(), report.as_raw_fd()];
    keep.extend(start.secrets.iter().map(AsRawFd::as_raw_fd));
    sys::close_all_but(3, &keep);
    die_with_keeper(report)?;
    rustix::process::umask(Mode::empty());
    if start.features.hostname {
        rustix::system::sethostname(start.step.hostname.as_bytes()).refused("sethostname")?;
    }
    if start.step.network == Network::None {
        // A build that asked for no network needs none of it to work.
        let _ = sys::loopback_up();
    }
    let (dressed, upper, top) = if start.features.chroot {
        rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT))
            .refused("prctl(PR_SET_CHILD_SUBREAPER)")?;
        let dressed = chroot::dress(start.step, start.secrets)?;
        let top = dressed.root.try_clone().refused("dup")?;
        (Some(dressed), None, top)
    } else {
        let upper = root::enter(start.step, start.secrets, start.features)?;
        (None, Some(upper), open_root()?)
    };
    let cwd = resolve::make_directory(&top, &start.step.cwd)
        .refused_on("mkdir(working directory)", &start.step.cwd)?;
    let (error, error_writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).refused("pipe")?;
    let listener = start.features.emulates_ids.then(wire::pair).transpose().refused("socketpair")?;
    match sys::fork_into(0).refused("fork")? {
        Forked::Child => {
            let ready = command::Ready {
                step: start.step,
                filter: start.filter,
                seccomp: start.features.seccomp,
                cwd,
                stdout: start.stdout,
                stderr: start.stderr,
                listener: listener.map(|(_, theirs)| theirs),
                root: dressed.map(|dressed| dressed.root),
            };
            let why = command::become_it(&ready);
            if let Ok(body) = serde_json::to_vec(&why) {
                let _ = std::fs::File::from(error_writer).write_all(&body);
            }
            sys::exit_now(127)
        }
        Forked::Parent { pid, pidfd } => {
            // Nobody but the command and what it starts may hold these, or the builder would wait for their end.
            drop((start.stdout, start.stderr, error_writer, cwd));
            let mut why = Vec::new();
            std::fs::File::from(error).read_to_end(&mut why).refused("read")?;
            if !why.is_empty() {
                if let Some(dressed) = dressed {
                    dressed.undress()?;
                }
                return Err(serde_json::from_slice(&why)
                    .unwrap_or_else(|error| because("exec", error.to_string()).into()));
            }
            let (Some((listener, theirs)), Some(upper)) = (listener, upper) else {
                let status = reap_until(pid)?;
                if let Some(dressed) = dressed {
                    strays::kill(&[]);
                    dressed.undress()?;
                }
                return Ok((status, None));
            };
            drop(theirs);
            let (_, mut fds) = wire::receive::<()>(&listener)
                .refused("recvmsg")?
                .ok_or_else(|| because("seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)", "no listener came"))?;
            let listener = fds.pop().ok_or_else(|| because("recvmsg", "no listener came"))?;
            let (user, own_proc) = (&start.step.user, start.features.own_proc);
            let emulator = Emulator::new(listener, user, upper, own_proc);
            Ok(answer_until(pid, &pidfd, emulator)?)
        }
    }
}

/// How the command ended, and the owners that it gave.
type Ended = (ExitStatus, Option<Vec<(Vec<u8>, u32, u32)>>);

/// Answers the calls of the step's processes until the command ends.
fn answer_until(
    command: rustix::process::Pid,
    pidfd: &OwnedFd,
    mut emulator: Emulator,
) -> Result<Ended, Failure> {
    // What is left to this process ends unseen, so it is looked for now and then.
    let now_and_then = rustix::event::Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
    loop {
        let mut polls = [PollFd::new(emulator.listener(), PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polls, Some(&now_and_then))).refused("poll")?;
        let [call, end] = polls.map(|poll| poll.revents());
        if !end.is_empty() {
            let status = reap_until(command)?;
            // Nothing may change while the records become paths.
            sys::kill_all_others();
            return Ok((status, Some(emulator.into_owners())));
        }
        if call.contains(PollFlags::IN) {
            emulator.answer_one().refused("ioctl(SECCOMP_IOCTL_NOTIF_SEND)")?;
        } else {
            reap_strays(command);
        }
    }
}

/// Takes leave of ended processes that were left to this one, but not of the command.
fn reap_strays(command: rustix::process::Pid) {
    while let Some(pid) = sys::ended_child().filter(|pid| *pid != command) {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Waits for the command; whatever else ends meanwhile was left to process 1.
fn reap_until(command: rustix::process::Pid) -> Result<ExitStatus, Failure> {
    loop {
        let Some((pid, status)) =
            rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty())).refused("wait")?
        else {
            continue;
        };
        if pid == command {
            return Ok(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => ExitStatus::Code(code),
                (None, Some(signal)) => ExitStatus::Signal(signal),
                (None, None) => continue,
            });
        }
    }
}

/// Ends this process with the keeper, also if the keeper was killed before this was said.
pub(super) fn die_with_keeper(report: impl AsFd) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .refused("prctl(PR_SET_PDEATHSIG)")?;
    // The keeper alone holds the reading end of the report.
    let mut poll = [PollFd::new(&report, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).refused("poll")?;
    if poll[0].revents().contains(PollFlags::ERR) {
        sys::exit_now(1);
    }
    Ok(())
}

fn open_root() -> Result<OwnedFd, Failure> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .refused("open(/)")
}

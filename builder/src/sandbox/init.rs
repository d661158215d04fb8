//! The first process of a step: makes its surroundings, starts the command, reaps what is left to it, and reports.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Signal, Uid, WaitOptions};
use serde::{Deserialize, Serialize};

use super::emulation::{Below, Changes, Emulator, Given};
use super::failure::{Refused as _, because};
use super::features::Features;
use super::report::{Failure, Filesystem};
use super::stacks::Stack;
use super::step::{ExitStatus, Network, Step, StepUser};
use super::sys::{self, Forked, Instruction};
use super::wire::{InputKind, NotRun};
use super::{cgroup, chroot, command, console, pasta, resolve, root, strays, wire};

/// What the first process tells the keeper when all is over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The command ended; the owners that it gave, where they are recorded.
    Ended(ExitStatus, Option<Vec<Given>>),
    /// It was never started.
    NotRun(NotRun),
}

/// Everything a step's first process starts with.
pub(super) struct Start<'a> {
    pub(super) step: &'a Step,
    /// The lowest of its layers in one mount, where there are many.
    pub(super) stack: Option<&'a Stack>,
    pub(super) features: &'a Features,
    pub(super) filter: &'a [Instruction],
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) input: Option<(InputKind, OwnedFd)>,
    /// The socket to who makes its network, if that is private.
    pub(super) network: Option<OwnedFd>,
    pub(super) secrets: Vec<OwnedFd>,
    /// The owners in the layers below, where the disk cannot say.
    pub(super) below: Below,
    /// The ways into the step's control groups.
    pub(super) doors: Vec<OwnedFd>,
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

fn live(mut start: Start<'_>, report: &OwnedFd) -> Result<Ended, NotRun> {
    let mut keep = vec![start.stdout.as_raw_fd(), start.stderr.as_raw_fd(), report.as_raw_fd()];
    let input = start.input.as_ref().map(|(_, fd)| fd);
    keep.extend(
        start.secrets.iter().chain(&start.doors).chain(input).chain(&start.network).map(AsRawFd::as_raw_fd),
    );
    sys::close_all_but(3, &keep);
    die_with_keeper(report)?;
    cgroup::enter(std::mem::take(&mut start.doors))?;
    rustix::process::umask(Mode::empty());
    if start.features.hostname {
        rustix::system::sethostname(start.step.hostname.as_bytes()).refused("sethostname")?;
    }
    if start.step.network == Network::None {
        // A build that asked for no network needs none of it to work.
        let _ = sys::loopback_up();
    }
    if let Some(socket) = start.network.take() {
        pasta::connect(&socket)?;
    }
    let mut place = Place::make(&mut start)?;
    let (stdin, terminal) = match start.input.take() {
        None => (None, None),
        Some((InputKind::Terminal, socket)) => (None, Some(console::make(&socket, start.step.user.uid)?)),
        Some((_, stream)) => (Some(stream), None),
    };
    let (cwd, made) = resolve::make_directory(&place.root, &start.step.cwd)
        .refused_on("mkdir(working directory)", &start.step.cwd)?;
    let unowned = give(made, &start.step.user).refused_on("chown(working directory)", &start.step.cwd)?;
    let (error, error_writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).refused("pipe")?;
    let listener = place.is_watched(start.features).then(wire::pair).transpose().refused("socketpair")?;
    match sys::fork_into(0).refused("fork")? {
        Forked::Child => {
            let ready = command::Ready {
                step: start.step,
                filter: start.filter,
                seccomp: start.features.seccomp,
                cwd,
                stdin,
                stdout: start.stdout,
                stderr: start.stderr,
                terminal,
                listener: listener.map(|(_, theirs)| theirs),
                root: place.dressed.is_some().then_some(place.root),
                confined: start.features.confines,
            };
            let why = command::become_it(&ready);
            if let Ok(body) = serde_json::to_vec(&why) {
                let _ = std::fs::File::from(error_writer).write_all(&body);
            }
            sys::exit_now(127)
        }
        Forked::Parent { pid, pidfd } => {
            // Nobody but the command and what it starts may hold these, or the builder would wait for their end.
            drop((stdin, start.stdout, start.stderr, terminal, error_writer, cwd));
            let command = Command { pid, pidfd, error, listener };
            let ended = command.follow(&mut place, start.step, start.below, start.features, &unowned);
            if let Some(dressed) = place.dressed {
                strays::kill(&[]);
                dressed.undress()?;
            }
            ended
        }
    }
}

/// Gives what was made for a user to that user. Returns what this process may not give away.
fn give(made: Vec<OwnedFd>, user: &StepUser) -> rustix::io::Result<Vec<OwnedFd>> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let mut left = Vec::new();
    for place in made {
        match rustix::fs::chownat(&place, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::INVAL) => left.push(place),
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// A step's filesystem, made.
struct Place {
    root: OwnedFd,
    /// Where its changes are, where there are mounts.
    changes: Option<Changes>,
    /// The real directory, where there are none.
    dressed: Option<chroot::Dressed>,
}

impl Place {
    fn make(start: &mut Start<'_>) -> Result<Self, NotRun> {
        let secrets = std::mem::take(&mut start.secrets);
        if !start.features.chroot {
            let directory = root::enter(start.step, start.stack, secrets, start.features)?;
            let changes = Changes { directory, whole: start.features.filesystem == Filesystem::Copy };
            return Ok(Self { root: open_root()?, changes: Some(changes), dressed: None });
        }
        rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT))
            .refused("prctl(PR_SET_CHILD_SUBREAPER)")?;
        let dressed = chroot::dress(start.step, secrets, start.features)?;
        let root = dressed.root.try_clone().refused("dup")?;
        Ok(Self { root, changes: None, dressed: Some(dressed) })
    }

    /// Whether some calls of the step are answered here.
    fn is_watched(&self, features: &Features) -> bool {
        features.emulates_ids || self.dressed.as_ref().is_some_and(|dressed| dressed.files.is_some())
    }
}

/// The command's process, from its first moment.
struct Command {
    pid: rustix::process::Pid,
    pidfd: OwnedFd,
    /// Where it says why it was not started.
    error: OwnedFd,
    /// Where it sends the descriptor by which its calls are answered, and its own end of that.
    listener: Option<(OwnedFd, OwnedFd)>,
}

impl Command {
    /// Waits for it, and answers what it and its children ask.
    fn follow(
        self,
        place: &mut Place,
        step: &Step,
        below: Below,
        features: &Features,
        unowned: &[OwnedFd],
    ) -> Result<Ended, NotRun> {
        let Some((listener, theirs)) = self.listener else {
            not_started(self.error)?;
            return Ok((reap_until(self.pid)?, None));
        };
        drop(theirs);
        // It comes before the command's last call, which has to be answered already.
        let Some((_, mut fds)) = wire::receive::<()>(&listener).refused("recvmsg")? else {
            not_started(self.error)?;
            return Err(because("seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)", "no listener came").into());
        };
        let listener = fds.pop().ok_or_else(|| because("recvmsg", "no listener came"))?;
        let files = place.dressed.as_mut().and_then(|dressed| dressed.files.take());
        let mut emulator = match (files, place.changes.take()) {
            (Some(files), _) => Emulator::without_mounts(listener, files),
            (None, Some(changes)) => {
                Emulator::one_id(listener, &step.user, changes, below, features.own_proc)
            }
            (None, None) => return Err(because("recvmsg", "nobody answers the listener").into()),
        };
        for place in unowned {
            emulator
                .give(place, step.user.uid, step.user.gid)
                .map_err(|error| because("chown", error.to_string()))?;
        }
        let ended = answer_until(self.pid, &self.pidfd, emulator)?;
        not_started(self.error)?;
        Ok(ended)
    }
}

/// Why the command was not started, if it was not.
fn not_started(error: OwnedFd) -> Result<(), NotRun> {
    let mut why = Vec::new();
    std::fs::File::from(error).read_to_end(&mut why).refused("read")?;
    if why.is_empty() {
        return Ok(());
    }
    Err(serde_json::from_slice(&why).unwrap_or_else(|error| because("exec", error.to_string()).into()))
}

/// How the command ended, and the owners that it gave.
type Ended = (ExitStatus, Option<Vec<Given>>);

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
            return Ok((status, emulator.into_owners()));
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

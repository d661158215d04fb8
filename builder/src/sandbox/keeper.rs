//! The helper process: single-threaded, in its namespaces, one forked child per request, several at once.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::path::PathBuf;

use layer_store::store::Durability;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions};

use super::cgroup::Group;
use super::emulation::Below;
use super::failure::Refused as _;
use super::features::Features;
use super::init::{self, Outcome, Start};
use super::marks::Marks;
use super::memory::Memory;
use super::report::{Failure, Filesystem, Rung};
use super::stacks::Stacks;
use super::step::{Network, Shortage, Step};
use super::sys::{self, Forked, Instruction};
use super::wire::{self, InputKind, NotRun, Reply, Request};
use super::{capabilities, chroot, copies, files, mounting, probe, root, seccomp, strays};

/// What the helper was started with.
pub(super) struct Orders {
    pub(super) rung: Rung,
    pub(super) store_root: PathBuf,
    pub(super) durability: Durability,
}

/// Serves requests until the builder is gone.
pub(super) fn serve(orders: Orders, id_map: &str, socket: OwnedFd) -> ! {
    // What is in this process's memory is none of a step's business.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let (features, report) = match probe::probe(&orders, id_map) {
        Ok(found) => found,
        Err(failure) => refuse(&socket, Failure { rung: Some(orders.rung), ..failure }),
    };
    let nothing: [OwnedFd; 0] = [];
    if wire::send(&socket, &Reply::Ready { report }, &nothing).is_err() {
        sys::exit_now(1);
    }
    let filter = seccomp::filter(capabilities::DEFAULT);
    let memory = Memory::new(&orders.store_root);
    let (stacks, marks) = (Stacks::default(), Marks::default());
    Keeper { orders, features, filter, socket, children: Vec::new(), files: None, memory, stacks, marks }
        .run()
}

/// Says why this rung does not work, and ends.
pub(super) fn refuse(socket: &OwnedFd, failure: Failure) -> ! {
    let nothing: [OwnedFd; 0] = [];
    let _ = wire::send(socket, &Reply::Refused { failure }, &nothing);
    sys::exit_now(1)
}

struct Keeper {
    orders: Orders,
    features: Features,
    /// The filter of an ordinary step, which nearly all are.
    filter: Vec<Instruction>,
    socket: OwnedFd,
    children: Vec<Child>,
    files: Option<files::Files>,
    memory: Memory,
    stacks: Stacks,
    marks: Marks,
}

/// A request that is being served.
struct Child {
    id: u64,
    pid: Pid,
    pidfd: OwnedFd,
    /// The trees below a step.
    lowers: Vec<PathBuf>,
    /// A step's own directory.
    scratch: PathBuf,
    /// What limits a step.
    group: Option<Group>,
    /// What a step's first process reports; other children answer the builder themselves.
    report: Option<LastWords>,
}

/// What a step's first process says at its end. It is taken as it comes: a pipe holds little, and a step may have given
/// owners to many files.
struct LastWords {
    /// Where more comes from; nothing once all has come.
    pipe: Option<OwnedFd>,
    said: Vec<u8>,
}

impl LastWords {
    /// Takes what has come, and waits if nothing has.
    fn hear(&mut self) {
        let mut buffer = [0; 64 << 10];
        let read =
            self.pipe.as_ref().map(|pipe| rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut buffer)));
        match read {
            Some(Ok(read)) if read > 0 => self.said.extend_from_slice(&buffer[..read]),
            _ => self.pipe = None,
        }
    }

    /// All of it.
    fn whole(mut self) -> Vec<u8> {
        while self.pipe.is_some() {
            self.hear();
        }
        self.said
    }
}

impl Child {
    /// What becomes readable when its first process says something; what ends with it where there is nothing to be said.
    fn speaks(&self) -> &OwnedFd {
        self.report.as_ref().and_then(|report| report.pipe.as_ref()).unwrap_or(&self.pidfd)
    }
}

impl Keeper {
    fn run(mut self) -> ! {
        loop {
            let mut polls = vec![PollFd::new(&self.socket, PollFlags::IN)];
            for child in &self.children {
                polls.extend([&child.pidfd, child.speaks()].map(|fd| PollFd::new(fd, PollFlags::IN)));
            }
            if rustix::io::retry_on_intr(|| rustix::event::poll(&mut polls, None)).is_err() {
                sys::exit_now(1);
            }
            let ready: Vec<bool> = polls.iter().map(|poll| !poll.revents().is_empty()).collect();
            drop(polls);
            for at in (0..self.children.len()).rev() {
                if ready[2 * at + 1] {
                    let child = self.children.swap_remove(at);
                    self.ended(child);
                } else if ready[2 * at + 2]
                    && let Some(report) = &mut self.children[at].report
                {
                    report.hear();
                }
            }
            if ready[0] {
                match wire::receive(&self.socket) {
                    Ok(Some((request, fds))) => self.serve(request, fds),
                    Ok(None) | Err(_) => self.end(),
                }
            }
        }
    }

    /// The builder is gone: nothing that was started for it may stay.
    fn end(&self) -> ! {
        for child in &self.children {
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
        }
        for child in &self.children {
            let _ = wait_for(&child.pidfd);
        }
        strays::kill(&[]);
        if self.features.chroot {
            self.children.iter().for_each(|child| chroot::bring_home(&child.scratch));
        }
        sys::exit_now(0)
    }

    fn serve(&mut self, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Run { id, step, input } => {
                if let Err(failure) = self.start(id, &step, input, fds) {
                    self.answer(&Reply::NotRun { id, why: NotRun::Setup(failure) });
                }
            }
            Request::Cancel { id } => {
                if let Some(child) = self.children.iter().find(|child| child.id == id) {
                    let _ = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
                }
            }
            Request::Mapped { .. } => {}
            request => self.start_file_work(request, fds),
        }
    }

    /// Forks a step's first process.
    fn start(&mut self, id: u64, step: &Step, input: InputKind, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        let mut fds = fds.into_iter();
        let missing = || std::io::Error::from_raw_os_error(libc::EBADMSG);
        let stdout = fds.next().ok_or_else(missing).refused("recvmsg")?;
        let stderr = fds.next().ok_or_else(missing).refused("recvmsg")?;
        let mut given = || fds.next().ok_or_else(missing).refused("recvmsg");
        let input = match input {
            InputKind::Nothing => None,
            InputKind::Stream | InputKind::Terminal => Some((input, given()?)),
        };
        let (report, report_writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).refused("pipe")?;
        let mut namespaces = self.features.namespaces;
        if step.network != Network::Host {
            namespaces |= libc::CLONE_NEWNET;
        }
        let network = (step.network == Network::Private).then(&mut given).transpose()?;
        let below =
            if self.features.emulates_ids { self.files().below(&step.lowers) } else { Below::default() };
        let marked = self.marked(step)?;
        let own_filter;
        let filter = if step.cap_add.is_empty() && step.cap_drop.is_empty() {
            &self.filter
        } else {
            let wanted = capabilities::wanted(step.insecure, &step.cap_add, &step.cap_drop);
            own_filter = seccomp::filter(wanted.unwrap_or(capabilities::DEFAULT));
            &own_filter
        };
        let group = if step.limits.any() {
            let name = format!("rbuild-{}-{id}", std::process::id());
            Some(Group::make(&step.limits, &name)?)
        } else {
            None
        };
        let doors = group.as_ref().map(Group::doors).transpose()?.unwrap_or_default();
        if self.features.filesystem == Filesystem::OverlayInMemory {
            // Here, and not in the step's own mount namespace, where it would go with the step.
            let memory = root::changes(&step.scratch, Filesystem::OverlayInMemory);
            root::make_directory(&memory)?;
            mounting::memory_at(&memory)?;
        }
        let marked = marked.as_ref().unwrap_or(step);
        let stack =
            if self.has_overlay() { self.stacks.below(&mut self.memory, &marked.lowers) } else { None };
        match sys::fork_into(namespaces).refused("clone")? {
            Forked::Child => {
                let features = &self.features;
                let start = Start {
                    step: marked,
                    stack: stack.as_ref(),
                    features,
                    filter,
                    stdout,
                    stderr,
                    input,
                    network,
                    secrets: fds.collect(),
                    below,
                    doors,
                };
                init::main(start, report_writer)
            }
            Forked::Parent { pid, pidfd } => {
                self.children.push(Child {
                    id,
                    pid,
                    pidfd,
                    lowers: step.lowers.clone(),
                    scratch: step.scratch.clone(),
                    group,
                    report: Some(LastWords { pipe: Some(report), said: Vec::new() }),
                });
                Ok(())
            }
        }
    }

    fn has_overlay(&self) -> bool {
        self.features.filesystem != Filesystem::Copy
    }

    /// The step with the marks of its layers between them, where these cannot have them.
    fn marked(&mut self, step: &Step) -> Result<Option<Step>, Failure> {
        if !self.has_overlay() || self.features.marks {
            return Ok(None);
        }
        let files = files::Files::of(&mut self.files, &self.orders, &self.features);
        self.marks.between(&mut self.memory, step, |layer| files.index(layer)).map(Some)
    }

    fn files(&mut self) -> &mut files::Files {
        files::Files::of(&mut self.files, &self.orders, &self.features)
    }

    /// Forks a child that does something to files and answers by itself.
    fn start_file_work(&mut self, request: Request, fds: Vec<OwnedFd>) {
        let Some(id) = files::id(&request) else { return };
        if let Request::Open { path, .. } = request {
            // Too short to fork for.
            let (reply, file) = self.files().open(id, path);
            let _ = wire::send(&self.socket, &reply, &Vec::from_iter(file));
            return;
        }
        self.files().warm(&request);
        let upper = match &request {
            Request::Commit { directory, .. } => Some(PathBuf::from(directory.clone())),
            _ => None,
        };
        match sys::fork_into(0) {
            Ok(Forked::Child) => {
                let keep: Vec<_> =
                    fds.iter().map(AsRawFd::as_raw_fd).chain([self.socket.as_raw_fd()]).collect();
                sys::close_all_but(3, &keep);
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                let reply = self.files().work(id, request, fds);
                let nothing: [OwnedFd; 0] = [];
                let sent = wire::send(self.socket.as_fd(), &reply, &nothing);
                sys::exit_now(i32::from(sent.is_err()))
            }
            Ok(Forked::Parent { pid, pidfd }) => {
                let (lowers, scratch) = (Vec::new(), upper.unwrap_or_default());
                self.children.push(Child { id, pid, pidfd, lowers, scratch, group: None, report: None });
            }
            Err(error) => self.answer(&Reply::Failed {
                id,
                errno: error.raw_os_error(),
                message: format!("fork: {error}"),
            }),
        }
    }

    /// A child is no more; with a step's first process all its namespaces, and the overlay with them.
    fn ended(&mut self, child: Child) {
        let status = wait_for(&child.pidfd);
        if self.features.chroot {
            strays::kill(&self.children.iter().map(|child| child.pid).collect::<Vec<_>>());
        }
        let Some(report) = child.report else {
            let in_memory = self.features.filesystem == Filesystem::OverlayInMemory;
            if let Some(memory) = child.scratch.parent().filter(|_| in_memory) {
                let _ = rustix::mount::unmount(memory, rustix::mount::UnmountFlags::DETACH);
            }
            if status != Some(0) {
                let message = "the process that did it was killed".to_owned();
                self.answer(&Reply::Failed { id: child.id, errno: None, message });
            }
            return;
        };
        let body = report.whole();
        let id = child.id;
        if !self.has_overlay() {
            copies::clear(&child.scratch);
        }
        let reply = match serde_json::from_slice(&body) {
            Ok(Outcome::Ended(status, given)) => {
                let owners = given.map(|given| self.files().owners(&child.lowers, given));
                let shortage = if child.group.as_ref().is_some_and(Group::ran_out_of_memory) {
                    Some(Shortage::Memory)
                } else if self.features.filesystem == Filesystem::OverlayInMemory
                    && is_full(&root::changes(&child.scratch, Filesystem::OverlayInMemory))
                {
                    Some(Shortage::Room)
                } else {
                    None
                };
                Reply::Finished { id, status, shortage, owners }
            }
            Ok(Outcome::NotRun(NotRun::Setup(failure))) => {
                let rung = Some(self.orders.rung);
                Reply::NotRun { id, why: NotRun::Setup(Failure { rung, ..failure }) }
            }
            Ok(Outcome::NotRun(why)) => Reply::NotRun { id, why },
            Err(_) => {
                if self.features.chroot {
                    chroot::bring_home(&child.scratch);
                }
                Reply::NotRun { id, why: NotRun::Killed }
            }
        };
        self.answer(&reply);
    }

    fn answer(&self, reply: &Reply) {
        let nothing: [OwnedFd; 0] = [];
        if wire::send(&self.socket, reply, &nothing).is_err() {
            self.end();
        }
    }
}

/// Whether next to nothing can be written to a filesystem any more.
fn is_full(place: &std::path::Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|stat| stat.f_bavail * stat.f_frsize < 1 << 20 || stat.f_favail == 0)
}

/// The exit status of a child that ended by itself.
pub(super) fn wait_for(pidfd: &OwnedFd) -> Option<i32> {
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
    });
    status.ok().flatten().and_then(|status| status.exit_status())
}

/// Runs `work` in a forked child and gives what it returns.
pub(super) fn in_child<T: serde::Serialize + serde::de::DeserializeOwned>(
    namespaces: i32,
    work: impl FnOnce() -> T,
) -> Result<T, Failure> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).refused("pipe")?;
    match sys::fork_into(namespaces).refused("clone")? {
        Forked::Child => {
            drop(reader);
            let result = serde_json::to_vec(&work()).unwrap_or_default();
            let _ = std::fs::File::from(writer).write_all(&result);
            sys::exit_now(0)
        }
        Forked::Parent { pidfd, .. } => {
            drop(writer);
            let mut body = Vec::new();
            let read = std::fs::File::from(reader).read_to_end(&mut body);
            let _ = wait_for(&pidfd);
            read.refused("read")?;
            serde_json::from_slice(&body).refused("waitid")
        }
    }
}

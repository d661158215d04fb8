//! Runs the commands of RUN steps, isolated as far as the machine allows.
//!
//! The calling process never forks. [`Sandbox::start`] spawns the running executable again as *the keeper*: a
//! single-threaded helper that enters its namespaces once and then serves requests, one forked child each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use layer_store::Digest;
use layer_store::layer::DiffOptions;
use layer_store::store::{Custodian, Durability};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

mod agent;
mod capabilities;
mod cause;
mod cgroup;
mod chroot;
mod client;
mod command;
mod console;
mod copies;
mod custodian;
mod directories;
mod emulation;
mod enter;
mod error;
mod failure;
mod features;
mod files;
mod foreign;
mod ids;
mod init;
mod keeper;
mod landlock;
mod marks;
mod memory;
mod mounting;
mod pasta;
mod probe;
mod report;
mod resolve;
mod root;
mod seccomp;
mod stacks;
mod step;
mod step_mounts;
mod strays;
mod sys;
mod system_mounts;
mod wire;

pub use error::SandboxError;
pub use report::{Degradation, Diagnosis, Failure, Filesystem, Isolation, Report, Rung, Verdict};
pub use step::{
    ExitStatus, Finished, Input, Limits, MountSource, Network, Output, OutputSender, SecretBytes, Shortage,
    Step, StepMount, StepUser, Ulimit,
};

use client::Client;
use custodian::KeeperCustodian;
use directories::Directories;
use wire::{InputKind, Left, NotRun, Reply, Request};

/// How a sandbox is started.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// The store whose trees the steps see and whose custodian the sandbox is.
    pub store_root: PathBuf,
    /// Which isolation is wanted.
    pub isolation: Isolation,
    /// How hard the store tries to survive a power cut.
    pub durability: Durability,
}

/// Becomes the helper process if this process was started as one. The binary calls it first thing in `main`; it
/// returns only in an ordinary process.
pub fn run_helper_if_asked() {
    enter::run_if_asked();
}

/// Whether this is the name of a capability, or `ALL`: with or without `CAP_`, in any case.
#[must_use]
pub fn is_capability(name: &str) -> bool {
    capabilities::wanted(false, &[name.to_owned()], &[]).is_ok()
}

/// A place to run steps in. Dropping it ends its helper process and every step.
pub struct Sandbox {
    report: Report,
    client: Arc<Client>,
    directories: Arc<Directories>,
}

impl Sandbox {
    /// Finds the best isolation by trying and starts the helper process. Costs a few milliseconds.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        blocking("start the sandbox", move || Self::start_now(settings)).await?
    }

    fn start_now(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let mut attempts = Vec::new();
        for rung in rungs(settings.isolation) {
            match Client::start(&settings, rung) {
                Ok((client, report)) => {
                    let client = Arc::new(client);
                    let custodian = custodian_of(&report, &client);
                    let directories = Arc::new(Directories::new(settings, report.trees(), custodian));
                    return Ok(Self { report, client, directories });
                }
                Err(failure) => attempts.push((rung, failure)),
            }
        }
        Err(SandboxError::Refused { attempts })
    }

    /// What the steps get.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Who handles files of subordinate ids for the store; `None` where this process may do all itself.
    #[must_use]
    pub fn custodian(&self) -> Option<Arc<dyn Custodian>> {
        custodian_of(&self.report, &self.client)
    }

    /// Runs a step to its end; its output is sent as it comes, to the last byte, before this returns. A command that
    /// fails is no error. Dropping the future kills the step and all its processes.
    pub async fn run(&self, step: Step, output: OutputSender) -> Result<Finished, SandboxError> {
        self.run_with(step, Input::Nothing, output).await
    }

    /// The same for a step that reads something. With a terminal nothing is sent to `output`.
    pub async fn run_with(
        &self,
        step: Step,
        input: Input,
        output: OutputSender,
    ) -> Result<Finished, SandboxError> {
        if self.report.rung == Rung::Chroot && step.network == Network::None {
            let cause = "a step without network needs a namespace, which this machine refuses";
            return Err(SandboxError::Setup(failure::because("unshare(CLONE_NEWNET)", cause)));
        }
        let failed = |action| move |source: std::io::Error| SandboxError::Io { action, source };
        let (stdout, stdout_writer) = stream().map_err(failed("make a pipe for the output"))?;
        let (stderr, stderr_writer) = stream().map_err(failed("make a pipe for the output"))?;
        let mut fds = vec![stdout_writer, stderr_writer];
        let input = match input {
            Input::Nothing => InputKind::Nothing,
            Input::Stream(stream) => {
                fds.push(stream);
                InputKind::Stream
            }
            Input::Terminal(taker) => {
                let (ours, theirs) = wire::pair().map_err(failed("make a terminal"))?;
                fds.push(theirs);
                tokio::task::spawn_blocking(move || {
                    if let Ok(Some(((), mut terminal))) = wire::receive(&ours)
                        && let Some(terminal) = terminal.pop()
                    {
                        let _ = taker.send(terminal);
                    }
                });
                InputKind::Terminal
            }
        };
        let _attendant = if step.network == Network::Private {
            let (attendant, socket) =
                pasta::Attendant::start(self.report.rung).map_err(SandboxError::Setup)?;
            fds.push(socket);
            Some(attendant)
        } else {
            None
        };
        for mount in &step.mounts {
            if let StepMount::Secret { bytes, .. } = mount {
                fds.push(wire::memory_file(&bytes.0).map_err(failed("pass a secret to the step"))?);
            }
        }
        let mut changed = root::changes(&step.scratch, self.report.filesystem).join("upper");
        let mut step = step;
        let _agents = agent::Agents::forward(&mut step).map_err(failed("make a socket for the SSH agent"))?;
        let mut caches = Vec::new();
        if self.report.filesystem == Filesystem::Copy {
            changed = step.scratch.join(copies::ROOT);
            let (directories, rung) = (Arc::clone(&self.directories), self.report.rung);
            (step, caches) = blocking("write out the image", move || {
                directories.write_out(&step)?;
                let caches = if rung == Rung::Chroot { directories.caches(&step)? } else { Vec::new() };
                Ok((step, caches))
            })
            .await?
            .map_err(|error: layer_store::Error| commit_failed(&error))?;
        }
        let id = self.client.next_id();
        let (answer, answered) = oneshot::channel();
        let mut running = Running { client: &self.client, id: Some(id) };
        self.client.send(id, &Request::Run { id, step: Box::new(step), input }, &fds, move |reply| {
            // Only now nothing of the step is left, also of one that nobody waits for any more.
            drop(caches);
            let _ = answer.send(reply);
        });
        drop(fds);
        let ((), answer) = tokio::join!(forward(stdout, stderr, output), answered);
        running.id = None;
        match answer.unwrap_or_else(|_| Err(SandboxError::HelperGone("it ended".to_owned())))?.0 {
            Reply::Finished { status, shortage, owners, .. } => {
                Ok(Finished { status, changed, shortage, owners })
            }
            Reply::NotRun { why, .. } => Err(match why {
                NotRun::Setup(failure) => SandboxError::Setup(failure),
                NotRun::Mount { target, reason } => SandboxError::Mount { target, reason },
                NotRun::Command { program, reason, status } => {
                    SandboxError::Command { program, reason, status }
                }
                NotRun::Killed => {
                    let rung = Some(self.report.rung);
                    SandboxError::Setup(Failure { rung, ..failure::because("waitid", "the step was killed") })
                }
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes what a finished step changed ([`Finished::changed`]) a layer over the stack of layers `below` (bottom first)
    /// and returns its diffID.
    pub async fn commit(
        &self,
        changed: &Path,
        below: &[Digest],
        options: DiffOptions,
    ) -> Result<Digest, SandboxError> {
        let (changed, below, client) = (changed.to_owned(), below.to_vec(), Arc::clone(&self.client));
        let (directories, filesystem) = (Arc::clone(&self.directories), self.report.filesystem);
        let by_keeper = self.custodian().is_some() || filesystem == Filesystem::OverlayInMemory;
        blocking("commit the step", move || {
            let is_copy = filesystem == Filesystem::Copy;
            let left = if is_copy {
                Left::Copy { since: directories.complete_since(&changed) }
            } else {
                Left::Upper
            };
            let diff_id = if by_keeper {
                commit_by_keeper(&client, &changed, left, below.clone(), options)?
            } else {
                directories.commit(&changed, left, &below, &options).map_err(|error| commit_failed(&error))?
            };
            if let Left::Copy { since: Some(_) } = left {
                directories.keep(&changed, &[below, vec![diff_id]].concat());
            }
            Ok(diff_id)
        })
        .await?
    }
}

/// Asks the keeper, who alone can read what the step left.
fn commit_by_keeper(
    client: &Client,
    directory: &Path,
    left: Left,
    below: Vec<Digest>,
    options: DiffOptions,
) -> Result<Digest, SandboxError> {
    let id = client.next_id();
    match client.ask(id, &Request::Commit { id, directory: directory.into(), left, below, options }, &[])?.0 {
        Reply::Committed { diff_id, .. } => Ok(diff_id),
        Reply::Failed { message, .. } => Err(SandboxError::Commit(message)),
        other => Err(unexpected(&other)),
    }
}

fn custodian_of(report: &Report, client: &Arc<Client>) -> Option<Arc<dyn Custodian>> {
    match report.rung {
        Rung::Root | Rung::Chroot => None,
        Rung::Userns | Rung::Single => {
            Some(Arc::new(KeeperCustodian::new(Arc::clone(client), report.trees())))
        }
    }
}

/// The layer whose tree is at a path of the store: `layers/<hex>/tree`.
fn diff_id_of(tree: &Path) -> Option<Digest> {
    Digest::from_hex(tree.parent()?.file_name()?.to_str()?).ok()
}

fn commit_failed(error: &layer_store::Error) -> SandboxError {
    SandboxError::Commit(layer_store::error::chain(error))
}

/// Tries every rung and says what each would give, without running anything.
pub async fn doctor(settings: SandboxSettings) -> Diagnosis {
    let tried = blocking("look around", move || {
        let tried = Rung::ALL.map(|rung| match Client::start(&settings, rung) {
            Ok((_, report)) => (rung, Verdict::Works(report)),
            Err(failure) => (rung, Verdict::Refused(failure)),
        });
        Vec::from(tried)
    });
    let rungs = tried.await.unwrap_or_default();
    let works =
        |rung| rungs.iter().any(|(other, verdict)| *other == rung && matches!(verdict, Verdict::Works(_)));
    let chosen = self::rungs(Isolation::Auto).into_iter().find(|rung| works(*rung));
    Diagnosis { rungs, chosen }
}

/// Which rungs are tried, best first.
fn rungs(isolation: Isolation) -> Vec<Rung> {
    match isolation {
        Isolation::Auto => vec![Rung::Root, Rung::Userns, Rung::Single, Rung::Chroot],
        Isolation::Root => vec![Rung::Root],
        Isolation::Userns => vec![Rung::Userns],
        Isolation::Single => vec![Rung::Single],
        Isolation::Chroot => vec![Rung::Chroot],
    }
}

/// Kills a step whose future is dropped.
struct Running<'a> {
    client: &'a Client,
    id: Option<u64>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.client.cancel(id);
        }
    }
}

/// A pipe: this side reads without blocking, the step writes as usual.
fn stream() -> std::io::Result<(pipe::Receiver, std::os::fd::OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((pipe::Receiver::from_owned_fd(reader)?, writer))
}

/// Sends all that comes until the last holders of the other sides are gone. Of what came in the same moment, standard
/// output goes first: a command that fails mostly says so last, and on standard error.
async fn forward(mut stdout: pipe::Receiver, mut stderr: pipe::Receiver, to: OutputSender) {
    const ROOM: usize = 64 << 10;
    /// After so many reads of a flood, standard error has its turn.
    const TURN: usize = 16;
    let (mut out, mut err) = (BytesMut::with_capacity(ROOM), BytesMut::with_capacity(ROOM));
    let (mut more_out, mut more_err) = (true, true);
    let mut in_a_row = 0;
    while more_out || more_err {
        tokio::select! {
            biased;
            read = stdout.read_buf(&mut out), if more_out => {
                more_out = matches!(read, Ok(1..));
                in_a_row += 1;
                if in_a_row == TURN {
                    let _ = stderr.try_read_buf(&mut err);
                }
            }
            read = stderr.read_buf(&mut err), if more_err => more_err = matches!(read, Ok(1..)),
        }
        for (which, buffer) in [(Output::Stdout, &mut out), (Output::Stderr, &mut err)] {
            if !buffer.is_empty() {
                let bytes: Bytes = buffer.split().freeze();
                let _ = to.send((which, bytes)).await;
                buffer.reserve(ROOM);
            }
        }
        in_a_row %= TURN;
    }
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SandboxError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SandboxError::Io { action, source: std::io::Error::other(error) })
}

fn unexpected(reply: &Reply) -> SandboxError {
    SandboxError::HelperGone(format!("it answered out of turn: {reply:?}"))
}

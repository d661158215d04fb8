//! The builder's side of the connection to its keeper.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use rustix::net::Shutdown;

use super::error::SandboxError;
use super::failure::Refused as _;
use super::report::{Failure, Report, Rung};
use super::wire::{self, Reply, Request};
use super::{SandboxSettings, cause, enter, ids};

/// An answer with the descriptors that came beside it.
pub(super) type Answer = Result<(Reply, Vec<OwnedFd>), SandboxError>;

/// A connection to a keeper. Dropping it ends the keeper and all that it started, and waits for that.
pub(super) struct Client {
    socket: Arc<OwnedFd>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

type Callback = Box<dyn FnOnce(Answer) + Send>;

#[derive(Default)]
struct Waiting {
    callbacks: HashMap<u64, Callback>,
    /// Why there will be no more answers.
    gone: Option<String>,
}

impl Client {
    /// Starts a keeper on one rung. Blocks until it is ready or has given up.
    pub(super) fn start(settings: &SandboxSettings, rung: Rung) -> Result<(Self, Report), Failure> {
        if rung == Rung::Userns {
            ids::can_map_many().map_err(|failure| cause::explain(Failure { rung: Some(rung), ..failure }))?;
        }
        let (ours, theirs) = wire::pair().refused("socketpair")?;
        let socket = Arc::new(ours);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (started, start) = mpsc::channel();
        // The keeper asks to be killed when the thread that spawned it ends, so one thread lives as long as it.
        let thread = {
            let (socket, waiting, settings) = (Arc::clone(&socket), Arc::clone(&waiting), settings.clone());
            std::thread::Builder::new()
                .name("sandbox".to_owned())
                .spawn(move || {
                    let outcome = Keeper::start(&settings, rung, &socket, theirs);
                    match outcome {
                        Ok((keeper, report)) => {
                            let _ = started.send(Ok(report));
                            keeper.listen(&socket, &waiting);
                        }
                        Err(failure) => {
                            let _ = started.send(Err(failure));
                        }
                    }
                })
                .refused("clone(thread)")?
        };
        let client = Self { socket, waiting, next: AtomicU64::new(1), thread: Some(thread) };
        let gone = || super::failure::because("thread", "it ended");
        let report = start.recv().map_err(|_| gone())?;
        match report {
            Ok(report) => Ok((client, cause::explain_all(report))),
            Err(failure) => Err(cause::explain(Failure { rung: Some(rung), ..failure })),
        }
    }

    /// A number for a new request.
    pub(super) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request; `then` gets the answer, on a thread that must not be kept.
    pub(super) fn send(
        &self,
        id: u64,
        request: &Request,
        fds: &[OwnedFd],
        then: impl FnOnce(Answer) + Send + 'static,
    ) {
        {
            let mut waiting = lock(&self.waiting);
            if let Some(why) = &waiting.gone {
                let why = why.clone();
                drop(waiting);
                return then(Err(SandboxError::HelperGone(why)));
            }
            waiting.callbacks.insert(id, Box::new(then));
        }
        if let Err(error) = wire::send(&self.socket, request, fds)
            && let Some(callback) = lock(&self.waiting).callbacks.remove(&id)
        {
            callback(Err(SandboxError::HelperGone(error.to_string())));
        }
    }

    /// Asks and waits for the answer.
    pub(super) fn ask(&self, id: u64, request: &Request, fds: &[OwnedFd]) -> Answer {
        let (sender, receiver) = mpsc::channel();
        self.send(id, request, fds, move |answer| {
            let _ = sender.send(answer);
        });
        receiver.recv().unwrap_or_else(|_| Err(SandboxError::HelperGone("it ended".to_owned())))
    }

    /// Kills a step. Its answer still comes.
    pub(super) fn cancel(&self, id: u64) {
        let nothing: [OwnedFd; 0] = [];
        let _ = wire::send(&self.socket, &Request::Cancel { id }, &nothing);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The process, and what it says when it ends badly.
struct Keeper {
    process: Child,
    complaints: std::fs::File,
}

impl Keeper {
    fn start(
        settings: &SandboxSettings,
        rung: Rung,
        socket: &OwnedFd,
        theirs: OwnedFd,
    ) -> Result<(Self, Report), Failure> {
        let complaints = std::fs::File::from(wire::memory_file(b"").refused("memfd_create")?);
        // Both, since a bare root may have no /dev/null to say nothing to.
        let complain = || complaints.try_clone().map(Stdio::from).refused("dup");
        let process = Command::new("/proc/self/exe")
            .arg0(enter::NAME)
            .args(enter::arguments(rung, &settings.store_root, settings.durability))
            // Nothing of the builder's environment is for a step to find.
            .env_clear()
            .current_dir(Path::new("/"))
            .stdin(Stdio::from(theirs))
            .stdout(complain()?)
            .stderr(complain()?)
            .spawn()
            .refused_on("execve", "/proc/self/exe")?;
        let mut keeper = Self { process, complaints };
        let report = keeper.greet(socket, rung);
        if report.is_err() {
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
            let _ = keeper.process.wait();
        }
        report.map(|report| (keeper, report))
    }

    /// Until the keeper is in its namespaces.
    fn greet(&mut self, socket: &OwnedFd, rung: Rung) -> Result<Report, Failure> {
        loop {
            match wire::receive(socket).refused("recvmsg")? {
                Some((Reply::NeedsIdMap, _)) => {
                    let outcome = ids::map(self.process.id(), rung).map(str::to_owned);
                    let nothing: [OwnedFd; 0] = [];
                    wire::send(socket, &Request::Mapped { outcome }, &nothing).refused("sendmsg")?;
                }
                Some((Reply::Ready { report }, _)) => return Ok(report),
                Some((Reply::Refused { failure }, _)) => return Err(failure),
                Some(_) | None => {
                    let _ = self.process.wait();
                    return Err(super::failure::because("execve", self.last_words()));
                }
            }
        }
    }

    /// Hands every answer to who waits for it, until the keeper ends.
    fn listen(mut self, socket: &OwnedFd, waiting: &Mutex<Waiting>) {
        while let Ok(Some((reply, fds))) = wire::receive::<Reply>(socket) {
            let callback = reply.id().and_then(|id| lock(waiting).callbacks.remove(&id));
            if let Some(callback) = callback {
                callback(Ok((reply, fds)));
            }
        }
        let _ = rustix::net::shutdown(socket, Shutdown::Both);
        let _ = self.process.wait();
        let why = self.last_words();
        let callbacks = {
            let mut waiting = lock(waiting);
            waiting.gone = Some(why.clone());
            std::mem::take(&mut waiting.callbacks)
        };
        for callback in callbacks.into_values() {
            callback(Err(SandboxError::HelperGone(why.clone())));
        }
    }

    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let _ = self.complaints.rewind();
        let _ = self.complaints.by_ref().take(4096).read_to_string(&mut text);
        match (text.trim(), self.process.try_wait()) {
            ("", Ok(Some(status))) => status.to_string(),
            ("", _) => "it closed the connection".to_owned(),
            (text, _) => text.to_owned(),
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A network of a step's own with a way out, by `pasta`: a program that carries packets of a network namespace through
//! sockets of the host, without privilege.
//!
//! The step's first process hands its namespaces over and waits until it has an address. pasta does not end with the
//! namespace that it serves, nor with who started it, so it runs below a small process of ours that ends it when the builder
//! lets go of a pipe or dies.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;

use super::failure::{Refused as _, because};
use super::report::{Failure, Rung};
use super::{sys, wire};

/// What the process above pasta is called, and how it knows that it is one.
const NAME: &str = "rbuild-network";
/// Where a step asks for names: pasta passes that on to a resolver of the host, which may be one that only the host reaches.
pub(super) const RESOLVER: &str = "169.254.1.1";
/// How long pasta may take until the step has an address.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the step looks whether it has one.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// The process above pasta, from the builder's side. Dropping it ends both.
pub(super) struct Attendant {
    process: Child,
}

impl Attendant {
    /// Starts it. The socket is for the step's first process, which calls [`connect`] with it.
    pub(super) fn start(rung: Rung) -> Result<(Self, OwnedFd), Failure> {
        if matches!(rung, Rung::Root | Rung::Chroot) {
            let cause = "pasta serves network namespaces of user namespaces only, and this rung has none";
            let remedy = "pass `--isolation=userns`, or leave out `--network=private`".to_owned();
            return Err(Failure {
                rung: Some(rung),
                remedy: Some(remedy),
                ..because("setns(CLONE_NEWNET)", cause)
            });
        }
        let (ours, theirs) = wire::pair().refused("socketpair")?;
        let process = Command::new("/proc/self/exe")
            .arg0(NAME)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(ours))
            .stderr(Stdio::null())
            .spawn()
            .refused_on("execve", "/proc/self/exe")?;
        Ok((Self { process }, theirs))
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Becomes the process above pasta if this process was started as one: its input is a pipe that the builder holds, its
/// output the socket to the step.
pub(super) fn attend_if_asked(name: &OsStr) {
    if name != NAME {
        return;
    }
    // Ctrl-C is for the builder, which then stops its steps in order.
    let _ = rustix::process::setsid();
    let why = match wire::receive::<()>(rustix::stdio::stdout()) {
        Ok(Some(((), namespaces))) => match <[OwnedFd; 2]>::try_from(namespaces) {
            Ok([user, network]) => serve(&user, &network),
            Err(_) => because("recvmsg", "the namespaces did not arrive"),
        },
        _ => sys::exit_now(0),
    };
    let nothing: [OwnedFd; 0] = [];
    let _ = wire::send(rustix::stdio::stdout(), &why, &nothing);
    sys::exit_now(1)
}

/// Runs pasta until the builder lets go. Returns only if pasta ends before that.
fn serve(user: &OwnedFd, network: &OwnedFd) -> Failure {
    for namespace in [user, network] {
        // For pasta to inherit.
        if let Err(failure) = rustix::io::fcntl_setfd(namespace, FdFlags::empty()).refused("fcntl(F_SETFD)") {
            return failure;
        }
    }
    let place = |namespace: &OwnedFd| format!("/proc/self/fd/{}", namespace.as_raw_fd());
    let mut pasta = Command::new("pasta");
    pasta.args(["--config-net", "--foreground", "--quiet", "--no-map-gw", "--dns-forward", RESOLVER]);
    // No port of the step is one of the host's, and none of the host's one of the step's.
    pasta.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
    if rustix::process::geteuid().is_root() {
        // It would become nobody, who may not enter the namespaces.
        pasta.args(["--runas", "0"]);
    }
    pasta.args(["--userns", &place(user), "--netns", &place(network)]);
    pasta.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut pasta = match pasta.spawn().refused("execve(pasta)") {
        Ok(pasta) => pasta,
        Err(failure) => {
            return Failure { remedy: Some("install the package `passt`".to_owned()), ..failure };
        }
    };
    let (stderr, id) = (pasta.stderr.take(), rustix::process::Pid::from_child(&pasta));
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        sys::exit_now(0)
    });
    let mut said = String::new();
    if let Some(stderr) = stderr {
        let _ = stderr.take(4096).read_to_string(&mut said);
    }
    let _ = pasta.wait();
    let said = said.lines().last().unwrap_or("it ended without a word").trim().to_owned();
    let remedy =
        said.contains("/dev/net/tun").then(|| "let this user open `/dev/net/tun` (`chmod 666`)".to_owned());
    Failure { remedy, ..because("pasta", said) }
}

/// Gives the calling process's network namespace to pasta, and waits until it has a way out.
pub(super) fn connect(socket: &OwnedFd) -> Result<(), Failure> {
    let namespaces = ["/proc/self/ns/user", "/proc/self/ns/net"].map(|path| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).refused_on("open", path)
    });
    let [user, network] = namespaces;
    wire::send(socket, &(), &[user?, network?]).refused("sendmsg")?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if has_route() {
            return Ok(());
        }
        let mut poll = [PollFd::new(socket, PollFlags::IN)];
        rustix::event::poll(&mut poll, Some(&GLANCE)).refused("poll")?;
        if !poll[0].revents().is_empty() {
            let why = wire::receive::<Failure>(socket).refused("recvmsg")?;
            return Err(why.map_or_else(|| because("pasta", "it was killed"), |(failure, _)| failure));
        }
    }
    Err(because("pasta", format!("it gave the step no address within {} s", PATIENCE.as_secs())))
}

/// Whether there is a way out of this network namespace: a line below the head of a table.
fn has_route() -> bool {
    let lines = |path: &str| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    lines("/proc/self/net/route") > 1
}

//! The person's terminal, joined to the terminal of a command in the sandbox.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::termios::{OptionalActions, Termios};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Result};

/// The person's terminal in raw mode: what is typed goes to the command, Ctrl-C too. Dropping it restores the terminal.
pub(crate) struct Console {
    before: Termios,
}

impl Console {
    /// Takes the terminal that is standard input.
    pub(crate) fn take() -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Failure::usage("standard input and output are not a terminal")
                .hint("leave `--tty` out where there is none"));
        }
        let before = rustix::termios::tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(io::Error::from)?;
        Ok(Self { before })
    }

    /// Carries bytes both ways, and the size of the window, until the command's side is closed. Returns what ends then.
    pub(crate) fn join(&self, master: OwnedFd) -> Result<JoinHandle<()>> {
        let master = Arc::new(master);
        resize(&master);
        let (typed, said) = (Arc::clone(&master), Arc::clone(&master));
        // It ends with the process: a read of the terminal cannot be called back.
        std::thread::Builder::new().name("terminal input".to_owned()).spawn(move || {
            copy(io::stdin().as_fd(), typed.as_fd());
        })?;
        let mut resized = signal(SignalKind::window_change())?;
        tokio::spawn(async move {
            while resized.recv().await.is_some() {
                resize(&master);
            }
        });
        let output = std::thread::Builder::new().name("terminal output".to_owned());
        Ok(output.spawn(move || copy(said.as_fd(), io::stdout().as_fd()))?)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn resize(master: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// Until either side is closed; a terminal says so with `EIO`.
fn copy(from: std::os::fd::BorrowedFd<'_>, to: std::os::fd::BorrowedFd<'_>) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(from, &mut buffer)) {
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            match rustix::io::retry_on_intr(|| rustix::io::write(to, rest)) {
                Ok(written @ 1..) => rest = &rest[written..],
                _ => return,
            }
        }
    }
}

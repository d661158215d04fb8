//! `rbuild run`, and the shell of `--on-error`.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;

use builder::sandbox::{ExitStatus, Input, Output, Sandbox, SandboxError, Step};
use builder::{Error, OnFailure, RunRequest};
use futures_util::future::BoxFuture;
use layer_store::Platform;
use tokio::sync::{mpsc, oneshot};

use super::{Context, engine, tell};
use crate::args::run::RunArgs;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::progress::Renderer;
use crate::settings;

/// Runs a command in an image. The status is the command's own; 125 to 127 are rbuild's, as in Docker.
pub(super) async fn run(context: &Context, args: &RunArgs) -> Result<ExitCode> {
    let environment = &context.environment;
    let isolation = settings::isolation(args.isolation.as_deref(), environment)?;
    let request = request(args, context)?;
    let (engine, renderer) = engine::open_with(context, true, isolation)?;
    let console = args.tty.then(Console::take).transpose()?;
    let (input, joined) = match &console {
        Some(_) => {
            let (taker, master) = oneshot::channel();
            (Input::Terminal(taker), Some(master))
        }
        None if args.interactive => {
            let stdin = io::stdin().as_fd().try_clone_to_owned()?;
            (Input::Stream(stdin), None)
        }
        None => (Input::Nothing, None),
    };
    let (sender, receiver) = mpsc::channel(64);
    let running = engine.run(request, input, sender, context.stop.clone());
    let (finished, (), ()) = tokio::join!(running, pass_on(receiver), attend(console.as_ref(), joined));
    drop(console);
    renderer.finish();
    let finished = finished.map_err(|error| explain(&error))?;
    if let Some(shortage) = finished.shortage.filter(|_| !finished.status.is_success()) {
        tell(&format!("the command failed: {shortage}"));
    }
    Ok(ExitCode::from(u8::try_from(finished.status.code()).unwrap_or(255)))
}

fn request(args: &RunArgs, context: &Context) -> Result<RunRequest> {
    let variable = |text: &String| match text.split_once('=') {
        Some(_) => Some(text.clone()),
        None => context.environment.exact(text).map(|value| format!("{text}={value}")),
    };
    let mut env: Vec<String> = args.env.iter().filter_map(variable).collect();
    if args.tty && !env.iter().any(|pair| pair.starts_with("TERM=")) {
        env.push(format!("TERM={}", context.environment.text("TERM").unwrap_or("xterm")));
    }
    let mut sandbox = settings::sandbox(&args.sandbox)?;
    sandbox.hostname.clone_from(&args.hostname);
    Ok(RunRequest {
        image: args.image.clone(),
        platform: match &args.platform {
            Some(text) => text.parse::<Platform>().map_err(|error| Failure::usage(error.to_string()))?,
            None => Platform::host(),
        },
        pull: match args.pull.as_str() {
            "always" => builder::resolve::Pull::Always,
            "never" => builder::resolve::Pull::Never,
            _ => builder::resolve::Pull::Missing,
        },
        entrypoint: args
            .entrypoint
            .as_ref()
            .map(|program| if program.is_empty() { Vec::new() } else { vec![program.clone()] }),
        command: args.command.clone(),
        env,
        user: args.user.clone(),
        cwd: args.workdir.clone(),
        network: settings::network(args.network.as_deref())?,
        settings: sandbox,
    })
}

/// Writes what a command writes.
async fn pass_on(mut receiver: mpsc::Receiver<(Output, bytes::Bytes)>) {
    while let Some((which, bytes)) = receiver.recv().await {
        // A reader that went away is no failure of the command.
        let _ = match which {
            Output::Stdout => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
            Output::Stderr => io::stderr().write_all(&bytes),
        };
    }
}

/// Joins the terminals once the command has one, until it is closed.
async fn attend(console: Option<&Console>, master: Option<oneshot::Receiver<std::os::fd::OwnedFd>>) {
    let (Some(console), Some(master)) = (console, master) else { return };
    if let Ok(master) = master.await
        && let Ok(output) = console.join(master)
    {
        let _ = tokio::task::spawn_blocking(move || output.join()).await;
    }
}

fn explain(error: &Error) -> Failure {
    let failure = Failure::of(error).hint(error.hint());
    match error {
        Error::Cancelled => Failure::new("the command was stopped").exit(Exit::Interrupted),
        Error::Sandbox(cause) => match &**cause {
            SandboxError::Command { status, .. } => failure.code(u8::try_from(*status).unwrap_or(126)),
            SandboxError::Refused { .. } => failure.details(super::build_failure::attempts(cause)).code(125),
            _ => failure.code(125),
        },
        _ => failure.code(125),
    }
}

/// `--on-error=shell`: a shell where a command failed.
#[derive(Clone)]
pub(super) struct Shell {
    pub(super) renderer: Arc<dyn Renderer>,
    pub(super) term: String,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shell")
    }
}

impl OnFailure for Shell {
    fn look<'a>(&'a self, name: &'a str, sandbox: &'a Sandbox, shell: Step) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.renderer.finish();
            tell(&format!(
                "`{name}` failed; this is a shell where it did (its changes are not kept, `exit` ends it)"
            ));
            let mut step = shell;
            step.env.push(format!("TERM={}", self.term).into());
            match self.serve(sandbox, step).await {
                Ok(status) => tell(&format!("the shell ended with status {}", status.code())),
                Err(failure) => {
                    let _ = failure.write(&mut anstream::stderr().lock());
                }
            }
        })
    }
}

impl Shell {
    async fn serve(&self, sandbox: &Sandbox, step: Step) -> Result<ExitStatus> {
        let console = Console::take()?;
        let (taker, master) = oneshot::channel();
        let (sender, receiver) = mpsc::channel(1);
        let running = sandbox.run_with(step, Input::Terminal(taker), sender);
        let (finished, (), ()) =
            tokio::join!(running, pass_on(receiver), attend(Some(&console), Some(master)));
        Ok(finished.map_err(|error| Failure::of(&error))?.status)
    }
}

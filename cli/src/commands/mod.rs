//! The commands, one file each.

mod bake;
mod bake_call;
mod bake_remote;
mod build;
mod build_failure;
mod build_results;
mod cat;
mod check;
mod completion;
mod diff;
mod doctor;
mod du;
mod engine;
mod history;
mod images;
mod import;
mod info;
mod inside;
mod inspect;
mod kaniko;
mod load;
mod login;
mod logs;
mod ls;
mod man;
mod mirrors;
mod outline;
mod plan;
mod prune;
mod pull;
mod push;
mod read;
mod remote;
mod report;
mod rmi;
mod run;
mod save;
mod store;
mod tag;
mod toolkit;
mod tree;
mod version;
mod why;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use layer_store::{Store, StoreOptions};
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command, GlobalArgs};
use crate::failure::{Exit, Failure, Result};
use crate::progress::{Annotation, Ci};
use crate::settings::{self, Environment};

/// What every command has.
pub(crate) struct Context {
    global: GlobalArgs,
    environment: Environment,
    /// Set by Ctrl-C and SIGTERM.
    stop: CancellationToken,
    /// The status that the signal asks for.
    status: Arc<OnceLock<Exit>>,
}

impl Context {
    fn store_root(&self) -> Result<PathBuf> {
        settings::store_root(&self.global, &self.environment)
    }

    /// The store, for commands that neither remove nor read files of other owners.
    fn store(&self) -> Result<Arc<Store>> {
        let root = self.store_root()?;
        let store = Store::open(&root, StoreOptions::default()).map_err(|error| {
            Failure::from(error).hint("`--root` or `RBUILD_ROOT` names a directory that may be written")
        })?;
        Ok(Arc::new(store))
    }
}

impl Context {
    /// Has the code host in whose log this is read show places beside its files.
    fn annotate(&self, annotations: &[Annotation]) {
        if self.environment.ci() != Ci::GitHub {
            return;
        }
        for annotation in annotations {
            let mut annotation = annotation.clone();
            if let Some((file, ..)) = &mut annotation.place {
                *file = self.environment.in_repository(file);
            }
            tell(&annotation.line());
        }
    }
}

/// Runs a command; its failure is reported, and the status returned.
pub(crate) fn run(cli: Cli) -> ExitCode {
    start_log(&cli.global);
    let context = Context {
        global: cli.global,
        environment: Environment::of_process(),
        stop: CancellationToken::new(),
        status: Arc::default(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(format!("cannot start worker threads: {error}")).report(),
    };
    let result = runtime.block_on(async {
        let signals = tokio::spawn(watch_signals(context.stop.clone(), context.status.clone()));
        let result = dispatch(&context, cli.command).await;
        signals.abort();
        result
    });
    // Threads that still wait for a peer must not hold the process back.
    runtime.shutdown_background();
    match result {
        Ok(status) => status,
        // Whatever failed because it was stopped, it was the signal.
        Err(failure) => match context.status.get() {
            Some(status) => failure.exit(*status).report(),
            None => {
                context.annotate(&failure.annotations());
                failure.report()
            }
        },
    }
}

/// Runs a command. The status of a success is that of the command itself in `rbuild run` only.
async fn dispatch(context: &Context, command: Command) -> Result<ExitCode> {
    let done = match command {
        Command::Run(args) => return run::run(context, &args).await,
        Command::Build(args) => build::run(context, *args).await,
        Command::Bake(args) => bake::run(context, *args).await,
        Command::Kaniko(args) => kaniko::run(context, *args).await,
        Command::Check(args) => check::run(context, &args.build, args.format, false).await,
        Command::Plan(args) => plan::run(context, *args).await,
        Command::Why(args) => why::run(context, &args),
        Command::Images(args) => images::run(context, &args),
        Command::Tag(args) => tag::run(context, &args),
        Command::Rmi(args) => rmi::run(context, &args).await,
        Command::Inspect(args) => inspect::run(context, &args),
        Command::History(args) => history::run(context, &args),
        Command::Logs(args) => logs::run(context, &args),
        Command::Report(args) => report::run(context, &args),
        Command::Ls(args) => ls::run(context, &args).await,
        Command::Cat(args) => cat::run(context, &args).await,
        Command::Tree(args) => tree::run(context, &args).await,
        Command::Diff(args) => diff::run(context, &args).await,
        Command::Save(args) => save::run(context, &args).await,
        Command::Load(args) => load::run(context, &args).await,
        Command::Import(args) => import::run(context, &args).await,
        Command::Pull(args) => pull::run(context, &args).await,
        Command::Push(args) => push::run(context, &args).await,
        Command::Toolkit(command) => toolkit::run(context, command).await,
        Command::Login(args) => login::login(context, args).await,
        Command::Logout(args) => login::logout(context, &args),
        Command::Mirrors(command) => mirrors::run(context, &command).await,
        Command::Prune(args) => prune::run(context, &args).await,
        Command::Du(args) => du::run(context, &args),
        Command::Store(command) => store::run(context, &command).await,
        Command::Doctor(args) => doctor::run(context, &args).await,
        Command::Info(args) => info::run(context, &args).await,
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Version(args) => version::run(context, &args),
        // The parser has put them under their first names.
        Command::Image(_) | Command::System(_) => {
            Err(Failure::usage("this group of commands needs a command"))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Cancels the work on the first Ctrl-C or SIGTERM: it ends in a moment, and what it had begun is taken back. Whoever
/// cannot wait for that ends the process with a second one; steps die with it, and the next build tidies up.
async fn watch_signals(stop: CancellationToken, status: Arc<OnceLock<Exit>>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let asked = tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    };
    let _ = status.set(asked);
    stop.cancel();
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Data of a command, on standard output. A reader that went away is no failure.
fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Something a person may want to know, on standard error.
fn tell(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

fn start_log(global: &GlobalArgs) {
    use tracing_subscriber::EnvFilter;
    let filter = if global.debug {
        Some("debug,hyper=info,h2=info,rustls=info".to_owned())
    } else {
        std::env::var("RBUILD_LOG").ok()
    };
    let Some(filter) = filter else { return };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .try_init();
}

//! A command in an image, as a container: tried where it was built. What it changes is gone with it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use layer_store::Platform;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{ExecSettings, Graph, Network, Node, Op};
use crate::resolve::{Pull, Resolver};
use crate::sandbox::{Finished, Input, OutputSender, Step, StepUser};
use crate::solve::{Layers, Solver, Surroundings, settle};
use crate::task;
use crate::users;

/// What is run, and how it differs from what the image says.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The image's name.
    pub image: String,
    /// The platform of the image.
    pub platform: Platform,
    /// When a registry is asked for it.
    pub pull: Pull,
    /// In the place of the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// In the place of the image's command; none is the image's.
    pub command: Vec<String>,
    /// `NAME=value`, beside and in the place of the image's.
    pub env: Vec<String>,
    /// `user[:group]` in the place of the image's.
    pub user: Option<String>,
    /// The working directory in the place of the image's.
    pub cwd: Option<String>,
    /// The network.
    pub network: Network,
    /// Limits, volumes and the like.
    pub settings: ExecSettings,
}

/// The `PATH` of an image that names none, as in Docker.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Engine {
    /// Runs a command to its end. Fetches the image where it is not here.
    pub async fn run(
        &self,
        request: RunRequest,
        input: Input,
        output: OutputSender,
        cancel: CancellationToken,
    ) -> Result<Finished> {
        let _in_use = self.store.in_use()?;
        let work = self.run_in_image(&request, input, output, &cancel);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            finished = work => finished,
        }
    }

    async fn run_in_image(
        &self,
        request: &RunRequest,
        input: Input,
        output: OutputSender,
        cancel: &CancellationToken,
    ) -> Result<Finished> {
        let resolver = Resolver::new(self.store.clone(), self.client.clone(), request.pull);
        let resolved = resolver.resolve(&request.image, &request.platform).await?;
        let image = &resolved.config.config;
        let layers: Vec<_> = resolved.base.layers.iter().map(|layer| layer.diff_id).collect();
        let solver = self.fetcher(Op::Image(resolved.base.clone()), cancel);
        // First, since what trees are like depends on the rung; and these leave the indexes as well.
        let sandbox = self.sandbox.get().await?.clone();
        let lowers = solver.layers().trees(&layers).await?;
        let view = solver.layers().view(&layers).await?;
        let user = request.user.as_deref().unwrap_or(&image.user).to_owned();
        let store = self.store.clone();
        let (user, scratch) =
            task::blocking(move || Ok((users::run_user(&store, &view, &user)?, store.scratch()?))).await?;
        let argv = argv(request, image.entrypoint.as_deref(), image.cmd.as_deref())?;
        let cwd = request.cwd.as_deref().unwrap_or(&image.working_dir);
        let mut step = Step {
            lowers,
            scratch: scratch.path().to_owned(),
            argv: argv.into_iter().map(OsString::from).collect(),
            env: environment(&image.env, &request.env, &user.home),
            cwd: PathBuf::from(if cwd.is_empty() { "/" } else { cwd }),
            user: StepUser { uid: user.uid, gid: user.gid, groups: user.groups },
            hostname: "rbuild".to_owned(),
            network: request.network.of_step(),
            ..Step::default()
        };
        settle(&mut step, &request.settings)?;
        let finished = sandbox.run_with(step, input, output).await?;
        // Removing files blocks.
        task::blocking(move || {
            drop(scratch);
            Ok(())
        })
        .await?;
        Ok(finished)
    }

    /// A solver that only fetches the layers of one image.
    fn fetcher(&self, image: Op, cancel: &CancellationToken) -> Solver {
        let mut graph = Graph::default();
        graph.add(Node { op: image, name: String::new(), span: None, stage: None, no_cache: false });
        let layers = Layers::new(self.store.clone(), self.client.clone(), &graph);
        let around = Surroundings { cancel: cancel.child_token(), ..self.surroundings() };
        Solver::new(Arc::new(graph), around, layers)
    }
}

/// Entry point and command, by Docker's rules: another entry point leaves the image's command out.
fn argv(request: &RunRequest, entrypoint: Option<&[String]>, cmd: Option<&[String]>) -> Result<Vec<String>> {
    let (entrypoint, default) = match &request.entrypoint {
        Some(entrypoint) => (entrypoint.as_slice(), &[][..]),
        None => (entrypoint.unwrap_or_default(), cmd.unwrap_or_default()),
    };
    let command = if request.command.is_empty() { default } else { &request.command };
    let argv = [entrypoint, command].concat();
    if argv.is_empty() {
        return Err(Error::Invalid {
            message: format!("the image `{}` names no command", request.image),
            help: Some(format!("give one: `rbuild run {} /bin/sh`", request.image)),
        });
    }
    Ok(argv)
}

/// The image's variables with those that were asked for, each name once.
fn environment(image: &[String], asked: &[String], home: &str) -> Vec<OsString> {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
    let mut all: Vec<String> = Vec::new();
    let defaults = [PATH.to_owned(), format!("HOME={home}")];
    for pair in defaults.iter().chain(image).chain(asked) {
        all.retain(|known| name(known) != name(pair));
        all.push(pair.clone());
    }
    all.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_comes_before_what_the_image_says() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let request = |entrypoint: Option<&str>, command: &str| RunRequest {
            image: "app".to_owned(),
            platform: Platform::host(),
            pull: Pull::Missing,
            entrypoint: entrypoint.map(words),
            command: words(command),
            env: Vec::new(),
            user: None,
            cwd: None,
            network: Network::Default,
            settings: ExecSettings::default(),
        };
        let run = |entrypoint, command| {
            let image = (words("/entry -e"), words("serve"));
            argv(&request(entrypoint, command), Some(&image.0), Some(&image.1)).unwrap().join(" ")
        };
        assert_eq!(run(None, ""), "/entry -e serve");
        assert_eq!(run(None, "other"), "/entry -e other");
        assert_eq!(run(Some("sh"), "-c x"), "sh -c x");
        assert_eq!(run(Some("sh"), ""), "sh");
        assert!(argv(&request(None, ""), None, None).is_err());
        let env = environment(&words("PATH=/x A=1"), &words("A=2"), "/root");
        assert_eq!(env, ["HOME=/root", "PATH=/x", "A=2"]);
    }
}

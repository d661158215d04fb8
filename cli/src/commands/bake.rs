//! `rbuild bake`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use builder::lower::NamedContext;
use builder::{BuildRequest, Built, Engine, Reporter};
use futures_util::future::join_all;
use layer_store::Digest;
use registry_client::Reference;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Context, bake_call, bake_remote, build, build_failure, build_results, engine, print, remote, tell,
};
use crate::args::bake::BakeArgs;
use crate::args::build::BuildArgs;
use crate::args::call::{Call, Method};
use crate::bake::select::Selection;
use crate::bake::{list, print as printed};
use crate::failure::{Failure, Result};
use crate::place;
use crate::progress::{self, Kind, Labelled, LogFile, Recorder, Tee};
use crate::settings;
use crate::settings::bake::Definition;

/// Builds the targets of bake files.
pub(super) async fn run(context: &Context, args: BakeArgs) -> Result<()> {
    let fetched = bake_remote::fetch(context, &args).await?;
    let definition = Definition::open(&args, &context.environment, fetched)?;
    let read = definition.read()?;
    if let Some(what) = &args.list {
        return print(&list::list(what, &read)?);
    }
    let selection = definition.select(&read)?;
    if args.print {
        return print(&format!("{}\n", printed::json(&selection)));
    }
    if selection.targets.is_empty() {
        tell("there is nothing to build");
        return Ok(());
    }
    let mut builds = BTreeMap::new();
    for (name, target) in &selection.targets {
        let mut build = settings::bake::build(target, &args, &context.environment)?;
        build.secret.splice(0..0, definition.secrets());
        builds.insert(name.clone(), build);
    }
    let asked = if args.check { Some(Call { method: Method::Check, ..Call::default() }) } else { args.call };
    if selection.targets.values().any(|target| target.call.is_some()) || asked.is_some() {
        builds = bake_call::answer(context, &selection, builds, asked).await?;
    }
    if builds.is_empty() { Ok(()) } else { Bake::new(context, &args, &selection)?.run(builds).await }
}

/// Builds that run at the same time.
struct Bake<'a> {
    context: &'a Context,
    args: &'a BakeArgs,
    selection: &'a Selection,
    engine: Engine,
    renderer: Arc<dyn progress::Renderer>,
    /// The last number of a step that is shown.
    steps: Arc<std::sync::atomic::AtomicU32>,
    /// Set when one of them fails, and when all are to stop.
    stop: CancellationToken,
    /// The images of targets that are built, for those that begin with them.
    done: BTreeMap<String, watch::Sender<Option<Vec<Digest>>>>,
}

/// What became of a target: `None` where it was not built because another one failed.
type Outcome = Result<Built, Option<Failure>>;

impl<'a> Bake<'a> {
    fn new(context: &'a Context, args: &'a BakeArgs, selection: &'a Selection) -> Result<Self> {
        let terminal = progress::terminal(context.environment.text("TERM"));
        let renderer = Kind::new(args.progress, args.quiet, terminal).start(context.environment.ci());
        let isolation = settings::isolation(None, &context.environment)?;
        let engine = engine::telling(context, isolation, renderer.clone())?;
        let done = selection.targets.keys().map(|name| (name.clone(), watch::Sender::new(None))).collect();
        let stop = context.stop.child_token();
        Ok(Self { context, args, selection, engine, renderer, steps: Arc::default(), stop, done })
    }

    async fn run(self, builds: BTreeMap<String, BuildArgs>) -> Result<()> {
        let mut requests = Vec::new();
        for (name, args) in &builds {
            requests.push((name, args, settings::request(args, &self.context.environment)?));
        }
        let takes = |request: &BuildRequest| request.outputs.iter().any(build::goes_to_stdout);
        if requests.iter().filter(|(_, _, request)| takes(request)).count() > 1 {
            return Err(Failure::usage("only one target can go to standard output"));
        }
        let work = requests.into_iter().map(|(name, args, request)| self.target(name, args, request));
        let outcomes = join_all(work).await;
        self.renderer.finish();
        let mut metadata = serde_json::Map::new();
        let mut failure = None;
        for (name, outcome) in builds.keys().zip(outcomes) {
            match outcome {
                Ok((built, said)) => {
                    said.iter().for_each(|line| tell(line));
                    metadata.insert(name.clone(), build_results::metadata(&built, None));
                }
                Err(Some(one)) => failure = failure.or(Some(one)),
                Err(None) => {}
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if self.stop.is_cancelled() {
            return Err(Failure::new("the build was stopped"));
        }
        if let Some(path) = &self.args.metadata_file {
            let text = serde_json::to_string_pretty(&json!(metadata)).map_err(|error| Failure::of(&error))?;
            std::fs::write(path, text + "\n").map_err(|error| {
                Failure::new(format!(
                    "the images are built, but `{}` cannot be written: {error}",
                    path.display()
                ))
            })?;
        }
        Ok(())
    }

    /// Builds a target when those are built that it begins with. Returns what is to be said of it.
    async fn target(
        &self,
        name: &str,
        args: &BuildArgs,
        request: BuildRequest,
    ) -> Result<(Built, Vec<String>), Option<Failure>> {
        let started = Instant::now();
        let outputs = request.outputs.clone();
        let mut source = request.dockerfile.clone();
        let outcome = self.built(name, args, request, &mut source).await;
        let built = outcome.inspect_err(|_| self.stop.cancel())?;
        self.done[name].send_replace(Some(built.images.iter().map(|image| image.id).collect()));
        let mut said = Vec::new();
        if !build::quiet(args) {
            said.extend(built.warnings.iter().map(|warning| place::diagnostic(&source, warning)));
            said.push(format!("{name}: {}", build::summary(&built, &outputs, started.elapsed())));
        }
        Ok((built, said))
    }

    async fn built(
        &self,
        name: &str,
        args: &BuildArgs,
        mut request: BuildRequest,
        source: &mut builder::dockerfile::Source,
    ) -> Outcome {
        let named = |failure: Failure| Some(failure.note(format!("it is the target `{name}`")));
        for (context, place) in &self.selection.targets[name].contexts {
            if let Some(target) = place.strip_prefix("target:") {
                let configs = self.image_of(target).await.ok_or(None)?;
                let stored = NamedContext::Stored { name: format!("target {target}"), configs };
                request.options.contexts.insert(context.to_lowercase(), stored);
            }
        }
        let shown: Arc<dyn Reporter> =
            Arc::new(Labelled::new(name, self.renderer.clone(), self.steps.clone()));
        // A store that cannot be written is the build's own error, with a better message than the log's.
        let root = self.context.store_root().map_err(named)?;
        let log = LogFile::create(&root).ok().map(Arc::new);
        let recorder = Arc::new(Recorder::new(request.tags.iter().map(Reference::familiar).collect()));
        let mut reporters = vec![shown, recorder.clone()];
        reporters.extend(log.clone().map(|log| log as Arc<dyn Reporter>));
        let engine = Engine { reporter: Arc::new(Tee(reporters)), ..self.engine.clone() };

        let bring = async {
            let place = settings::place(&args.context)?;
            remote::bring(&engine, &place, args.dockerfile_inside(), &mut request).await?;
            remote::bring_named(&engine, &mut request, &settings::named_addresses(&args.build_context)?).await
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(None),
            brought = bring => brought.map_err(named)?,
        }
        source.clone_from(&request.dockerfile);
        let result = engine.build(request, self.stop.clone()).await;
        let complete = log.as_ref().is_some_and(|log| log.finish());
        if let Some(log) = &log {
            // A journal that cannot be written takes nothing from the build.
            let _ = recorder.finish(build::end(&result)).write(log.path());
        }
        result.map_err(|error| {
            if matches!(error, builder::Error::Cancelled) {
                return None;
            }
            let failure = build_failure::explain(&error, source);
            named(match &log {
                Some(log) if complete && build_failure::has_output(&error) => {
                    failure.note(format!("the full log is `{}`", log.path().display()))
                }
                _ => failure,
            })
        })
    }

    /// The configurations of a target's image, when it is built; `None` where that will not be.
    async fn image_of(&self, target: &str) -> Option<Vec<Digest>> {
        let mut image = self.done.get(target)?.subscribe();
        let built = async {
            let ready = image.wait_for(Option::is_some).await.ok()?;
            ready.clone()
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            configs = built => configs,
        }
    }
}

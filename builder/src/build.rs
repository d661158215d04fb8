//! A build from beginning to end.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use layer_store::{Descriptor, Digest, ImageConfig, Platform};
use registry_client::Reference;
use tokio_util::sync::CancellationToken;

use crate::attest::{Attestations, Story};
use crate::budget::Budget;
use crate::cache::{CacheSettings, CacheTarget, Exporter, SharedCaches};
use crate::check::Asked;
use crate::context::{LocalContext, StatIndex};
use crate::copy::Fetched;
use crate::dockerfile::ast::Dockerfile;
use crate::dockerfile::{self, Diagnostic, Source};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::event::{Event, Outcome, Reporter};
use crate::explain::BuildReport;
use crate::finish::FinishedImage;
use crate::graph::{Graph, NodeId};
use crate::ignore::Matcher;
use crate::lower::{LowerOptions, Lowered, TargetImage, lower};
use crate::output::{Output, Packing};
use crate::resolve::{Pull, Resolver, UsedBase};
use crate::secret::Secrets;
use crate::solve::{Layers, OnFailure, Solver, Surroundings};
use crate::task;

/// What is built, and what becomes of it.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: Source,
    /// Where the Dockerfile is, for its own ignore file; `None` when it came from elsewhere.
    pub dockerfile_path: Option<PathBuf>,
    /// The context directory; `None` for a build without one, or with a remote one (see [`LowerOptions::contexts`]).
    pub context: Option<PathBuf>,
    /// Archives that [`LowerOptions::contexts`] names.
    pub archives: HashMap<Digest, Fetched>,
    /// Directories of `--build-context`, by lower-cased name.
    pub named_directories: BTreeMap<String, PathBuf>,
    /// Target, arguments, platform and the like.
    pub options: LowerOptions,
    /// Names of the image.
    pub tags: Vec<Reference>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// When registries are asked for base images.
    pub pull: Pull,
    /// Where the image goes beside the store. Without a tag and with an output the store gets no name.
    pub outputs: Vec<Output>,
    /// How layers travel.
    pub packing: Packing,
    /// How many commands run at the same time.
    pub jobs: usize,
    /// How long a command may run; it counts for no key.
    pub step_timeout: Option<Duration>,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub epoch: Option<i64>,
    /// How many bytes of disk the store may take; a build that needs more fails.
    pub max_used_space: Option<u64>,
    /// Secrets and agents.
    pub secrets: Secrets,
    /// Who may look at a command that failed.
    pub on_failure: Option<Arc<dyn OnFailure>>,
    /// `--annotation`. They belong to manifests, so they are seen where an image is pushed or written.
    pub annotations: Vec<Annotation>,
    /// Whether the layers of the build become one, on top of those of the base image.
    pub squash: bool,
    /// Shared caches, and how long results last.
    pub cache: CacheSettings,
    /// What is said of the images beside them.
    pub attestations: Attestations,
    /// Where archives of [`BuildRequest::archives`] were fetched from, for provenance; none for one that came otherwise.
    pub addresses: HashMap<Digest, String>,
    /// Whether [`Built`] describes the build in whole: the manifest, which is made for it, and the provenance.
    pub describe: bool,
}

/// An annotation of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Whether the index of several platforms gets it.
    pub index: bool,
    /// Whether the manifest of an image gets it.
    pub manifest: bool,
    /// Only the manifest of this platform.
    pub platform: Option<Platform>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image id: the digest of the configuration. Of several platforms, or with attestations, that of the index if one
    /// was made, else of the first image.
    pub id: Digest,
    /// The manifest or index that names the image, where one was made.
    pub manifest: Option<Descriptor>,
    /// The images, one for each platform.
    pub images: Vec<BuiltImage>,
    /// The names that it has now.
    pub names: Vec<String>,
    /// Steps whose result was known.
    pub cached: usize,
    /// Steps that did their work.
    pub ran: usize,
    /// What should be known about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
    /// The predicate of the provenance of each image, where the request asked for a description.
    pub provenance: Vec<(Platform, serde_json::Value)>,
}

/// A finished image of one platform.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The platform that was asked for.
    pub platform: Platform,
    /// The digest of its configuration.
    pub id: Digest,
    /// How many bytes the configuration has.
    pub size: u64,
    /// The configuration.
    pub config: ImageConfig,
}

impl BuildRequest {
    /// A build of this Dockerfile with nothing else: no context, no name, this machine's platform, default settings.
    #[must_use]
    pub fn new(dockerfile: Source) -> Self {
        Self {
            dockerfile,
            dockerfile_path: None,
            context: None,
            archives: HashMap::new(),
            named_directories: BTreeMap::new(),
            options: LowerOptions::default(),
            tags: Vec::new(),
            labels: BTreeMap::new(),
            pull: Pull::default(),
            outputs: Vec::new(),
            packing: Packing::default(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            step_timeout: None,
            epoch: None,
            max_used_space: None,
            secrets: Secrets::default(),
            on_failure: None,
            annotations: Vec::new(),
            squash: false,
            cache: CacheSettings::default(),
            attestations: Attestations::default(),
            addresses: HashMap::new(),
            describe: false,
        }
    }

    /// A build of a directory with the `Dockerfile` in it. Everything else as in [`BuildRequest::new`].
    ///
    /// # Errors
    ///
    /// [`Error::File`] where there is no Dockerfile that can be read.
    pub fn of_directory(context: impl Into<PathBuf>) -> Result<Self> {
        let context = context.into();
        let dockerfile = crate::input::dockerfile(Some(&context), None)?;
        let dockerfile_path = Some(PathBuf::from(&dockerfile.name));
        Ok(Self { dockerfile_path, context: Some(context), ..Self::new(dockerfile) })
    }

    /// The ignore rules of the context directory, if there is one.
    pub(crate) fn ignore_rules(&self) -> Result<Option<Matcher>> {
        let Some(directory) = &self.context else { return Ok(None) };
        crate::input::ignore_rules(directory, self.dockerfile_path.as_deref())
    }
}

impl Engine {
    /// Builds an image. `cancel` stops it: nothing is left running and nothing half-written is used. What became of
    /// each step is kept in the store, whether the build succeeds or not (see [`crate::explain::last`]).
    pub async fn build(&self, request: BuildRequest, cancel: CancellationToken) -> Result<Built> {
        let (parsed, warnings) = parse(&request)?;
        let budget = Budget::new(self.store.clone(), request.max_used_space);
        let in_use = self.store.in_use()?;
        let built = self.build_within(&parsed, request, warnings, &budget, cancel).await;
        drop(in_use);
        // Also what a failed build leaves; its own error is the one to tell.
        let store = self.store.clone();
        let kept = task::blocking(move || {
            // What killed builds left; nobody waits for it, so a failure can wait for the next build or `prune`.
            let _ = store.tidy();
            budget.keep()
        })
        .await;
        let built = built?;
        kept.map(|()| built)
    }

    async fn build_within(
        &self,
        parsed: &Dockerfile,
        mut request: BuildRequest,
        mut warnings: Vec<Diagnostic>,
        budget: &Budget,
        cancel: CancellationToken,
    ) -> Result<Built> {
        let resolver = Resolver::new(self.store.clone(), self.client.clone(), request.pull);
        let lowering = lower(parsed, &request.options, &request.secrets, &resolver);
        let Lowered { graph, images, also, epoch, warnings: more, declared, .. } = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            lowered = lowering => lowered?,
        };
        warnings.extend(findings(&request, parsed, &resolver)?);
        warnings.extend(more);
        request.epoch = request.epoch.or(epoch);
        for message in crate::check::unused_arguments(&request, parsed, &declared) {
            self.reporter.event(Event::Warning { message });
        }
        let work = Lowering { graph: Arc::new(graph), images, also, bases: resolver.used() };
        let shared = self.shared(&request);
        loop {
            match self.attempt(&request, &work, shared.clone(), budget, cancel.child_token()).await {
                // A cache never fails a build: what it promised and did not give is done here.
                Err(Error::SharedCache { cache, source }) => {
                    let Some(shared) = &shared else { return Err(Error::SharedCache { cache, source }) };
                    shared.distrust(&cache, &layer_store::error::chain(&*source));
                }
                Err(error) => return Err(error),
                Ok(mut built) => {
                    warnings.extend(std::mem::take(&mut built.warnings));
                    built.warnings = warnings;
                    return Ok(built);
                }
            }
        }
    }

    /// One go at everything that is wanted, with the caches that are still trusted.
    async fn attempt(
        &self,
        request: &BuildRequest,
        work: &Lowering,
        shared: Option<Arc<SharedCaches>>,
        budget: &Budget,
        cancel: CancellationToken,
    ) -> Result<Built> {
        // A build that nobody waits for any more leaves nothing running.
        let _stop = cancel.clone().drop_guard();
        let counter = Arc::new(Counter::new(self.reporter.clone()));
        let started = format!("{:.9}", jiff::Timestamp::now());
        let layers = Layers::new(self.store.clone(), self.client.clone(), &work.graph);
        let exporter = self.exporter(request, work, &layers);
        let budget = budget.clone();
        let around = Around { reporter: counter.clone(), shared, exporter: exporter.clone(), budget };
        let (solver, indexes) =
            self.solver(request, request.epoch, work.graph.clone(), layers, around, &cancel)?;
        let solved = self.solve(&solver, request, &work.images, &work.also).await;
        let story = Story { started: started.clone(), bases: work.bases.clone() };
        let noted = self.report(request, &solver, started);
        let saved = indexes.iter().try_for_each(|index| index.save(&self.store));
        // In a store that cannot be written the error of a failed build is the clearer one.
        if solved.is_ok() {
            noted?;
            saved?;
        }
        let result = match solved {
            Ok(images) => self.conclude(request, &images, &solver, &story, &counter, &cancel).await,
            Err(error) => Err(error),
        };
        // What was done is of use to others, too, when a later step failed.
        if let Some(exporter) = exporter.filter(|_| !cancel.is_cancelled()) {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Error::Cancelled),
                () = self.export(&solver, &exporter) => {}
            }
        }
        result.map_err(|error| solver.cause(error).or_shared_cache())
    }

    async fn conclude(
        &self,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        story: &Story,
        counter: &Counter,
        cancel: &CancellationToken,
    ) -> Result<Built> {
        let mut built = Built {
            id: images[0].built.id,
            manifest: None,
            images: images.iter().map(|image| image.built.clone()).collect(),
            names: request.tags.iter().map(Reference::familiar).collect(),
            cached: counter.cached.load(Ordering::Relaxed),
            ran: counter.ran.load(Ordering::Relaxed),
            warnings: Vec::new(),
            provenance: Vec::new(),
        };
        let finish = self.finish(request, images, solver, story, &mut built);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            finished = finish => finished?,
        }
        Ok(built)
    }

    /// A solver of `graph` with times up to `epoch`, and the stat indexes of the contexts that it reads.
    pub(crate) fn solver(
        &self,
        request: &BuildRequest,
        epoch: Option<i64>,
        graph: Arc<Graph>,
        layers: Layers,
        around: Around,
        cancel: &CancellationToken,
    ) -> Result<(Solver, Vec<Arc<StatIndex>>)> {
        let Around { reporter, shared, exporter, budget } = around;
        let (contexts, indexes) = self.contexts(request)?;
        let around = Surroundings {
            store: self.store.clone(),
            client: self.client.clone(),
            reporter,
            sandbox: self.sandbox.clone(),
            contexts,
            archives: request.archives.clone(),
            secrets: request.secrets.clone(),
            jobs: request.jobs,
            epoch,
            on_failure: request.on_failure.clone(),
            cache_ttl: request.cache.ttl,
            step_timeout: request.step_timeout,
            shared,
            exporter,
            cache_mounts: request.cache.mounts,
            budget,
            cancel: cancel.child_token(),
        };
        Ok((Solver::new(graph, around, layers), indexes))
    }

    /// The caches that the request reads, if there are any.
    pub(crate) fn shared(&self, request: &BuildRequest) -> Option<Arc<SharedCaches>> {
        let settings = &request.cache;
        let shared = || Arc::new(SharedCaches::new(settings, self.client.clone(), self.reporter.clone()));
        (!settings.from.is_empty()).then(shared)
    }

    /// Who writes to the caches of the request, if there are any.
    fn exporter(&self, request: &BuildRequest, work: &Lowering, layers: &Layers) -> Option<Arc<Exporter>> {
        let to = &request.cache.to;
        if !to.iter().any(|target| matches!(target, CacheTarget::Place { .. })) {
            return None;
        }
        let in_image = work.images.iter().flat_map(|image| work.graph.chain(image.node)).collect();
        let exporter =
            Exporter::start(&request.cache, &in_image, &self.store, &self.client, request.packing, layers);
        Some(Arc::new(exporter))
    }

    /// Waits until the caches are written. What goes wrong there is a warning.
    async fn export(&self, solver: &Solver, exporter: &Exporter) {
        let warn = |message: String| self.reporter.event(Event::Warning { message });
        let step = solver.next_step();
        let begun = std::time::Instant::now();
        self.reporter.event(Event::StepStarted { step, name: "exporting the cache".to_owned() });
        for (key, mount) in solver.used_mounts() {
            let store = self.store.clone();
            let name = mount.name.clone();
            let exported = task::blocking(move || {
                crate::cache::export_mount(&store, key, &mount.name, &mount.path, mount.owner)
            });
            match exported.await {
                Ok(exported) => exporter.add(&exported),
                Err(error) => warn(format!("the cache mount `{name}` is not exported: {error}")),
            }
        }
        for (place, end) in exporter.finish().await {
            if let Err(reason) = end {
                warn(format!("the cache `{place}` is not written: {reason}"));
            }
        }
        self.reporter.event(Event::StepFinished { step, outcome: Outcome::Done, elapsed: begun.elapsed() });
    }

    /// Solves everything that is wanted, all platforms and targets side by side.
    async fn solve(
        &self,
        solver: &Solver,
        request: &BuildRequest,
        images: &[TargetImage],
        also: &[NodeId],
    ) -> Result<Vec<FinishedImage>> {
        let others = try_join_all(also.iter().map(|node| solver.solve(*node)));
        let wanted = try_join_all(images.iter().map(|image| self.solve_target(solver, request, image)));
        let (_, images) = tokio::try_join!(others, wanted)?;
        Ok(images)
    }

    /// Keeps what became of each step.
    fn report(&self, request: &BuildRequest, solver: &Solver, started: String) -> Result<()> {
        let steps = solver.reports().into_iter().map(|(span, mut report)| {
            report.line = span.map(|span| request.dockerfile.line(span.start));
            report
        });
        let dockerfile = request.dockerfile.name.clone();
        BuildReport { started, dockerfile, steps: steps.collect() }.keep(&self.store)
    }

    fn contexts(&self, request: &BuildRequest) -> Result<(Contexts, Vec<Arc<StatIndex>>)> {
        let (mut contexts, mut indexes) = (HashMap::new(), Vec::new());
        let main =
            request.context.iter().map(|directory| ("", directory, request.dockerfile_path.as_deref()));
        let named =
            request.named_directories.iter().map(|(name, directory)| (name.as_str(), directory, None));
        for (name, directory, dockerfile) in main.chain(named) {
            let (context, index) = crate::input::context(&self.store, directory, dockerfile)?;
            contexts.insert(name.to_owned(), Arc::new(context));
            indexes.push(index);
        }
        Ok((contexts, indexes))
    }
}

/// The Dockerfile of a request, and what should be known about it.
///
/// # Errors
///
/// All errors that it has.
pub(crate) fn parse(request: &BuildRequest) -> Result<(Dockerfile, Vec<Diagnostic>)> {
    let (parsed, diagnostics) = dockerfile::parse(&request.dockerfile);
    let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics.into_iter().partition(Diagnostic::is_error);
    if !errors.is_empty() {
        return Err(Error::Dockerfile(errors));
    }
    Ok((parsed, warnings))
}

/// What the lint rules say of a Dockerfile whose base images were resolved.
///
/// # Errors
///
/// What they hold to be an error.
pub(crate) fn findings(
    request: &BuildRequest,
    parsed: &Dockerfile,
    resolver: &Resolver,
) -> Result<Vec<Diagnostic>> {
    let base = |name: &str, platform: &Platform| {
        resolver.known(name, platform).map(|config| crate::check::facts(&config))
    };
    let ignore = request.ignore_rules()?;
    let asked =
        Asked { request, ignore: ignore.as_ref(), base: Some(&base), own_rules: false, all_stages: false };
    let (errors, findings): (Vec<_>, Vec<_>) =
        asked.lints(parsed)?.into_iter().partition(Diagnostic::is_error);
    if errors.is_empty() { Ok(findings) } else { Err(Error::Dockerfile(errors)) }
}

/// What a build has to do.
struct Lowering {
    graph: Arc<Graph>,
    images: Vec<TargetImage>,
    also: Vec<NodeId>,
    bases: Vec<UsedBase>,
}

/// Who a solver speaks with.
pub(crate) struct Around {
    /// Who is told.
    pub(crate) reporter: Arc<dyn Reporter>,
    /// Caches that are asked after the store.
    pub(crate) shared: Option<Arc<SharedCaches>>,
    /// Who writes to caches.
    pub(crate) exporter: Option<Arc<Exporter>>,
    /// How large the store may become.
    pub(crate) budget: Budget,
}

/// Context directories by name; the main one is empty.
type Contexts = HashMap<String, Arc<LocalContext>>;

/// Counts how steps end, on the way to the reporter.
struct Counter {
    reporter: Arc<dyn Reporter>,
    cached: AtomicUsize,
    ran: AtomicUsize,
}

impl Counter {
    fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, cached: AtomicUsize::new(0), ran: AtomicUsize::new(0) }
    }
}

impl Reporter for Counter {
    fn event(&self, event: Event) {
        if let Event::StepFinished { outcome, .. } = &event {
            match outcome {
                Outcome::Cached => self.cached.fetch_add(1, Ordering::Relaxed),
                Outcome::Done => self.ran.fetch_add(1, Ordering::Relaxed),
                Outcome::Failed | Outcome::Cancelled => 0,
            };
        }
        self.reporter.event(event);
    }
}

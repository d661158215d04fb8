//! A build from beginning to end.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use layer_store::manifest::media_type;
use layer_store::store::{ImageRecord, PlatformImage};
use layer_store::{Descriptor, Digest, ImageConfig, Store};
use registry_client::Reference;
use tokio_util::sync::CancellationToken;

use crate::context::{LocalContext, StatIndex};
use crate::copy::Fetched;
use crate::dockerfile::{self, Diagnostic, Source};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::event::{Event, Outcome, Reporter};
use crate::image;
use crate::lower::{LowerOptions, Lowered, TargetImage, lower};
use crate::output::{self, ImageLayers, Output, Packing};
use crate::resolve::{Pull, Resolver};
use crate::secret::Secrets;
use crate::solve::{Solved, Solver, Surroundings};

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
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub epoch: Option<i64>,
    /// Secrets and agents.
    pub secrets: Secrets,
}

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    /// The digest of the configuration: the image id.
    pub id: Digest,
    /// The digest of the manifest, where one was made.
    pub manifest: Option<Descriptor>,
    /// The configuration.
    pub config: ImageConfig,
    /// The names that it has now.
    pub names: Vec<String>,
    /// Steps whose result was known.
    pub cached: usize,
    /// Steps that did their work.
    pub ran: usize,
    /// What should be known about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
}

impl Engine {
    /// Builds an image. `cancel` stops it: nothing is left running and nothing half-written is used.
    pub async fn build(&self, mut request: BuildRequest, cancel: CancellationToken) -> Result<Built> {
        let (parsed, diagnostics) = dockerfile::parse(&request.dockerfile);
        let (errors, mut warnings): (Vec<_>, Vec<_>) =
            diagnostics.into_iter().partition(Diagnostic::is_error);
        if !errors.is_empty() {
            return Err(Error::Dockerfile(errors));
        }
        let (errors, findings): (Vec<_>, Vec<_>) =
            crate::check::lints(&parsed, &request, None, false).into_iter().partition(Diagnostic::is_error);
        if !errors.is_empty() {
            return Err(Error::Dockerfile(errors));
        }
        warnings.extend(findings);
        let _in_use = self.store.in_use()?;
        let resolver = Resolver::new(self.store.clone(), self.client.clone(), request.pull);
        let lowering = lower(&parsed, &request.options, &resolver);
        let Lowered { graph, image, epoch, warnings: more } = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            lowered = lowering => lowered?,
        };
        warnings.extend(more);
        request.epoch = request.epoch.or(epoch);
        let (contexts, indexes) = self.contexts(&request)?;
        let counter = Arc::new(Counter::new(self.reporter.clone()));
        let solver = Solver::new(
            graph,
            Surroundings {
                store: self.store.clone(),
                client: self.client.clone(),
                reporter: counter.clone(),
                sandbox: self.sandbox.clone(),
                contexts,
                archives: request.archives.clone(),
                secrets: request.secrets.clone(),
                jobs: request.jobs,
                epoch: request.epoch,
                cancel: cancel.child_token(),
            },
        );
        let solved = solver.solve_target(&image).await.map_err(|error| solver.cause(error))?;
        for index in indexes {
            index.save(&self.store)?;
        }
        let (config, config_bytes) = self.configure(&request, &image, &solved)?;
        let id = self.store.put_blob(&config_bytes)?;
        let mut built = Built {
            id,
            manifest: None,
            config,
            names: request.tags.iter().map(Reference::familiar).collect(),
            cached: counter.cached.load(Ordering::Relaxed),
            ran: counter.ran.load(Ordering::Relaxed),
            warnings,
        };
        if request.outputs.is_empty() || !request.tags.is_empty() {
            self.name(&request, &built, config_bytes.len() as u64)?;
        }
        let image = ImageLayers { config_bytes, diff_ids: solved.filesystem.layers.clone() };
        for output in &request.outputs {
            let finish = self.output(output, &request, &image, &solver, &mut built);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Error::Cancelled),
                finished = finish => finished?,
            }
        }
        Ok(built)
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

    /// The configuration with layers, history, labels and times.
    fn configure(
        &self,
        request: &BuildRequest,
        image: &TargetImage,
        solved: &SolvedTarget,
    ) -> Result<(ImageConfig, Vec<u8>)> {
        let mut image = image.clone();
        image.config.config.labels.extend(request.labels.clone());
        let fallback = first_seen(&self.store, &image.config, &solved.filesystem.layers)?;
        let time = |node| solved.times.get(&node).cloned();
        let config = image::finish(&image, &solved.filesystem.layers, &time, &fallback, request.epoch);
        let bytes = config.to_bytes();
        Ok((config, bytes))
    }

    fn name(&self, request: &BuildRequest, built: &Built, size: u64) -> Result<()> {
        // An image without a name keeps one that nobody types, so that it is listed and collected as untagged.
        let untagged = format!("<none>@{}", built.id);
        let names: Vec<String> = match request.tags.as_slice() {
            [] => vec![untagged],
            tags => tags.iter().map(Reference::canonical).collect(),
        };
        for name in names {
            self.store.tag(&ImageRecord {
                name,
                platforms: vec![PlatformImage {
                    config: Descriptor::new(media_type::OCI_CONFIG, built.id, size),
                    manifest: None,
                    origin: None,
                }],
                index: None,
                tagged: image::now(),
            })?;
        }
        Ok(())
    }

    async fn output(
        &self,
        output: &Output,
        request: &BuildRequest,
        image: &ImageLayers,
        solver: &Solver,
        built: &mut Built,
    ) -> Result<()> {
        let step = solver.next_step();
        let name = match output {
            Output::Oci { .. } => "exporting to OCI layout",
            Output::Docker { .. } => "exporting to Docker archive",
            Output::Tar { .. } => "exporting the filesystem as tar",
            Output::Local { .. } => "exporting the filesystem",
            Output::Registry => "pushing",
        };
        let begun = std::time::Instant::now();
        self.reporter.event(Event::StepStarted { step, name: name.to_owned() });
        let result = self.produce(output, request, image, solver, built).await;
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
        self.reporter.event(Event::StepFinished { step, outcome, elapsed: begun.elapsed() });
        result
    }

    async fn produce(
        &self,
        output: &Output,
        request: &BuildRequest,
        image: &ImageLayers,
        solver: &Solver,
        built: &mut Built,
    ) -> Result<()> {
        let local = !matches!(output, Output::Registry);
        if local {
            solver.layers().bytes(&image.diff_ids).await?;
        }
        if matches!(output, Output::Tar { .. } | Output::Local { .. }) {
            let view = solver.layers().view(&image.diff_ids).await?;
            let (store, output) = (self.store.clone(), output.clone());
            return Solver::blocking(move || output::write_filesystem(&store, &view, &output)).await;
        }
        let (store, image, packing) = (self.store.clone(), image.clone(), request.packing);
        let packed = Solver::blocking(move || output::pack(&store, &image, packing, local)).await?;
        built.manifest = Some(packed.manifest.descriptor());
        if local {
            let (store, output, tags) = (self.store.clone(), output.clone(), request.tags.clone());
            let platform = built.config.platform();
            return Solver::blocking(move || {
                output::write(&store, &packed.manifest, &platform, &tags, &output)
            })
            .await;
        }
        if request.tags.is_empty() {
            return Err(Error::Invalid {
                message: "there is no name to push to".to_owned(),
                help: Some("pass `-t REGISTRY/NAME:TAG`".to_owned()),
            });
        }
        for target in &request.tags {
            output::push(&self.client, &self.store, packed.clone(), target).await?;
        }
        Ok(())
    }
}

/// Context directories by name; the main one is empty.
type Contexts = HashMap<String, Arc<LocalContext>>;

/// A solved image.
struct SolvedTarget {
    filesystem: Arc<Solved>,
    times: HashMap<crate::graph::NodeId, image::StepTime>,
}

impl Solver {
    /// Solves the filesystem of an image, and asks each step of its history when it was made.
    async fn solve_target(&self, target: &TargetImage) -> Result<SolvedTarget> {
        let filesystem = self.solve(target.node).await?;
        let mut times = HashMap::new();
        for entry in &target.history {
            if let crate::lower::HistoryEntry::Layer { node, .. } = entry
                && let Some(created) = self.solve(*node).await?.created.clone()
            {
                times.insert(*node, image::StepTime { created, name: self.step_name(*node) });
            }
        }
        Ok(SolvedTarget { filesystem, times })
    }
}

/// When an image of this configuration and these layers was first made here: so that an image that has no step of
/// its own is the same image when it is built again.
fn first_seen(store: &Store, config: &ImageConfig, layers: &[Digest]) -> Result<String> {
    let mut hasher = layer_store::digest::Hasher::default();
    hasher.field("image").field(config.to_bytes());
    for layer in layers {
        hasher.field(layer.as_bytes());
    }
    let key = hasher.finish();
    if let Some(time) = store.record("images-made", &key)?.and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(time);
    }
    let now = image::now();
    store.put_record("images-made", &key, now.as_bytes())?;
    Ok(now)
}

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

//! From a Dockerfile to the graph of what a build has to do, and the configuration of the image that it makes.
//!
//! Only stages that the targets need are looked at: what is not needed is not even resolved.

pub(crate) mod args;
mod epoch;
mod files;
mod go_text;
mod metadata;
mod names;
mod run;
mod stage;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexSet;
use layer_store::{Digest, ImageConfig, Platform};

use crate::context::git::GitSource;
use crate::context::layout::LayoutSource;
use crate::dockerfile::ast::{Dockerfile, Stage, StageName};
use crate::dockerfile::globals::Globals;
use crate::dockerfile::stages::StageGraph;
use crate::dockerfile::{Diagnostic, Span, nearest};
use crate::error::{Error, Result};
use crate::graph::{CopyOp, CopySource, ExecSettings, Graph, Network, Node, NodeId, Op, Unpack};
use crate::resolve::{Resolved, Resolver};
use crate::secret::Secrets;

use registry_client::Reference;

pub use self::stage::HistoryEntry;
use self::stage::StageState;

/// What a build is asked for, beside the Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerOptions {
    /// The stages to build, by name; none for the last one. The last of them is the image, the others only have to
    /// succeed.
    pub targets: Vec<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The platforms of the image, at least one; each gets its own image.
    pub platforms: Vec<Platform>,
    /// Whether a platform was asked for: then the image says it, whatever its base image says.
    pub platform_is_asked: bool,
    /// The platform of this machine.
    pub build_platform: Platform,
    /// Settings that reach commands.
    pub settings: ExecSettings,
    /// The network of a RUN that asks for none.
    pub network: Network,
    /// Whether `RUN --security=insecure` is allowed.
    pub allow_insecure: bool,
    /// Whether `RUN --network=host` is allowed.
    pub allow_host_network: bool,
    /// Which stages do not use stored results.
    pub no_cache: NoCache,
    /// `--build-context`: what a name stands for instead of a stage or image. The main context has the empty name,
    /// and needs no entry when it is a directory.
    pub contexts: BTreeMap<String, NamedContext>,
}

impl Default for LowerOptions {
    /// The last stage for this machine's platform.
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            build_args: BTreeMap::new(),
            platforms: vec![Platform::host()],
            platform_is_asked: false,
            build_platform: Platform::host(),
            settings: ExecSettings::default(),
            network: Network::default(),
            allow_insecure: false,
            allow_host_network: false,
            no_cache: NoCache::default(),
            contexts: BTreeMap::new(),
        }
    }
}

/// What a name of `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory of this machine.
    Directory,
    /// An image.
    Image(String),
    /// An image of an OCI layout in a directory.
    Layout(LayoutSource),
    /// An image of the store that needs no name there: what to call it, and the configurations of its platforms.
    Stored {
        /// For messages.
        name: String,
        /// One for each platform.
        configs: Vec<Digest>,
    },
    /// A git repository.
    Git(GitSource),
    /// An archive that was spooled before the build, by the digest of its bytes.
    Archive(Digest),
}

/// Which steps do not use stored results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NoCache {
    /// All use them.
    #[default]
    Never,
    /// None uses them.
    All,
    /// Those of these stages do not.
    Stages(Vec<String>),
}

/// What a build has to do.
#[derive(Debug)]
pub struct Lowered {
    /// The operations, of all platforms and targets: what is the same for two of them is one node.
    pub graph: Graph,
    /// The image that is wanted, once for each platform.
    pub images: Vec<TargetImage>,
    /// Filesystems of further targets, which only have to succeed.
    pub also: Vec<NodeId>,
    /// What became of each stage, by platform and then in the order of the file.
    pub stages: Vec<StageUse>,
    /// `SOURCE_DATE_EPOCH` as an ARG above the first FROM, or the source that it names, gives it, in seconds.
    pub epoch: Option<i64>,
    /// What should be known about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
    /// The names that an ARG of a stage or of a base image's trigger declared.
    pub declared: BTreeSet<String>,
}

/// What a build has to do of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageUse {
    /// Its name for people: `build`, `stage-2`.
    pub name: String,
    /// Its position among the stages.
    pub index: usize,
    /// The platform that it is built for.
    pub platform: Platform,
    /// Why it is needed; `None` for a stage that is dropped.
    pub need: Option<Need>,
    /// Its steps in order, its base image first.
    pub steps: Vec<NodeId>,
}

/// Why a stage is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// It is wanted itself.
    Target,
    /// A stage begins with it.
    From(String),
    /// A stage copies from it or mounts it.
    Files(String),
}

/// The image that a stage makes, but for its layers.
#[derive(Debug, Clone)]
pub struct TargetImage {
    /// The platform that it was asked for.
    pub platform: Platform,
    /// Its filesystem.
    pub node: NodeId,
    /// Its configuration without `rootfs`, `history` and `created`.
    pub config: ImageConfig,
    /// Where its history comes from.
    pub history: Vec<HistoryEntry>,
    /// The image that it begins with, by its whole name and digest; `None` above nothing.
    pub base: Option<String>,
}

/// Makes the graph for the stages and platforms that `options` want. `secrets` count where a repository has to be asked for
/// the time of its commit.
///
/// # Errors
///
/// [`Error::Dockerfile`] with the place of what is wrong; a base image that cannot be resolved.
pub async fn lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    secrets: &Secrets,
    resolver: &Resolver,
) -> Result<Lowered> {
    let (options, epoch) = epoch::resolved(dockerfile, options, secrets).await?;
    let options = &*options;
    let targets = targets(dockerfile, options)?;
    let mut passes = Vec::new();
    for platform in &options.platforms {
        for (index, name) in &targets {
            let globals = args::globals(dockerfile, options, platform, name.as_deref())?;
            let stages = StageGraph::new(dockerfile, &globals);
            let pass = Lowering {
                dockerfile,
                options,
                platform,
                resolver,
                globals,
                stages,
                graph: Graph::default(),
                finished: HashMap::new(),
                heirs: HashMap::from([(*index, 1)]),
                nodes: HashMap::new(),
                depth: 0,
                uses: HashMap::new(),
                open: Vec::new(),
                warnings: Vec::new(),
                declared: BTreeSet::new(),
            };
            // Registries answer for all platforms side by side.
            pass.prefetch(&pass.needed(*index));
            passes.push((*index, pass));
        }
    }
    let mut lowered = Lowered {
        graph: Graph::default(),
        images: Vec::new(),
        also: Vec::new(),
        stages: Vec::new(),
        epoch: None,
        warnings: Vec::new(),
        declared: BTreeSet::new(),
    };
    let last = targets.len();
    for (at, (index, mut pass)) in passes.into_iter().enumerate() {
        pass.graph = std::mem::take(&mut lowered.graph);
        pass.note_need(index, Need::Target);
        pass.work_out(index).await?;
        let mut stage = pass.inherit(index)?;
        set_platform(&mut stage.config, pass.platform, options);
        lowered.epoch = epoch.or(args::epoch(&pass.globals)?);
        if (at + 1) % last == 0 {
            lowered.images.push(TargetImage {
                platform: pass.platform.clone(),
                node: stage.node,
                config: stage.config,
                history: stage.history,
                base: stage.base,
            });
        } else {
            lowered.also.push(stage.node);
        }
        report(&mut lowered.stages, dockerfile, pass.platform, pass.uses);
        lowered.graph = pass.graph;
        lowered.declared.extend(pass.declared);
        for warning in pass.warnings {
            if !lowered.warnings.contains(&warning) {
                lowered.warnings.push(warning);
            }
        }
    }
    Ok(lowered)
}

/// Adds what one pass found of the stages to the report of all.
fn report(
    stages: &mut Vec<StageUse>,
    dockerfile: &Dockerfile,
    platform: &Platform,
    mut uses: HashMap<usize, Use>,
) {
    for stage in &dockerfile.stages {
        let Use { need, steps } = uses.remove(&stage.index).unwrap_or_default();
        let steps = Vec::from_iter(steps);
        let known = stages.iter_mut().find(|known| known.index == stage.index && known.platform == *platform);
        if let Some(known) = known {
            known.need = known.need.take().or(need);
            if known.steps.is_empty() {
                known.steps = steps;
            }
            continue;
        }
        let (name, platform) = (names::stage(stage), platform.clone());
        stages.push(StageUse { name, index: stage.index, platform, need, steps });
    }
}

/// The platform that the finished image says it is for, in normalised form.
fn set_platform(config: &mut ImageConfig, asked: &Platform, options: &LowerOptions) {
    if options.platform_is_asked {
        let same = config.os == asked.os && config.architecture == asked.architecture;
        config.os.clone_from(&asked.os);
        config.architecture.clone_from(&asked.architecture);
        if asked.variant.is_some() || !same {
            config.variant.clone_from(&asked.variant);
        }
        if asked.os_version.is_some() || !same {
            config.os_version.clone_from(&asked.os_version);
        }
    }
    let platform = config.platform();
    (config.os, config.architecture, config.variant) = (platform.os, platform.architecture, platform.variant);
}

/// What a pass found of a stage.
#[derive(Default)]
struct Use {
    need: Option<Need>,
    steps: IndexSet<NodeId>,
}

/// The work at hand.
struct Lowering<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a LowerOptions,
    platform: &'a Platform,
    resolver: &'a Resolver,
    globals: Globals,
    stages: StageGraph<'a>,
    graph: Graph,
    /// What stages became, as long as another one starts from them.
    finished: HashMap<usize, StageState>,
    /// How many stages still start from a stage.
    heirs: HashMap<usize, usize>,
    /// The filesystems of finished stages.
    nodes: HashMap<usize, NodeId>,
    /// How many stages wait for one that only a trigger named.
    depth: usize,
    /// Why each stage is needed, and its steps.
    uses: HashMap<usize, Use>,
    /// The stages that are being worked out, the innermost last.
    open: Vec<usize>,
    warnings: Vec<Diagnostic>,
    declared: BTreeSet<String>,
}

/// Triggers may need stages whose own triggers need stages, so deep at most.
const MAX_DEPTH: usize = 50;

impl Lowering<'_> {
    /// Remembers why a stage is needed; the first reason stays.
    fn note_need(&mut self, index: usize, need: Need) {
        self.uses.entry(index).or_default().need.get_or_insert(need);
    }

    /// Adds a node, as a step of the stage that is being worked out.
    fn insert(&mut self, node: Node) -> NodeId {
        let plain = matches!(node.op, Op::Scratch);
        let id = self.graph.add(node);
        if !plain {
            self.note_step(id);
        }
        id
    }

    /// Remembers a node as a step of the stage that is being worked out.
    fn note_step(&mut self, id: NodeId) {
        let Some(index) = self.open.last() else { return };
        self.uses.entry(*index).or_default().steps.insert(id);
    }

    /// A stage and all that it needs, in the order of the file.
    fn needed(&self, index: usize) -> Vec<usize> {
        let mut needed = self.stages.needed(index, |name| self.named_context(name).is_some());
        needed.sort_unstable();
        needed
    }

    /// Works out a stage and all that it needs, in the order of the file: each stands below what it needs, so that a
    /// chain of stages of any length is a loop and not a recursion.
    async fn work_out(&mut self, index: usize) -> Result<()> {
        let needed = self.unfinished(&self.needed(index));
        for index in &needed {
            if let Some(base) = self.base_stage(*index) {
                *self.heirs.entry(base).or_default() += 1;
            }
        }
        self.prefetch(&needed);
        for index in needed {
            self.open.push(index);
            let state = self.lower_stage(&self.dockerfile.stages[index]).await?;
            self.open.pop();
            self.nodes.insert(index, state.node);
            if self.heirs.contains_key(&index) {
                self.finished.insert(index, state);
            }
        }
        Ok(())
    }

    /// Which of these stages are still to be worked out, and which again: a stage that nothing more started from was
    /// dropped, and then a trigger named another heir. Working it out again finds the same nodes.
    fn unfinished(&self, needed: &[usize]) -> Vec<usize> {
        let mut bases = HashSet::new();
        let mut list: Vec<usize> = Vec::new();
        for index in needed.iter().rev() {
            let dropped = bases.contains(index) && !self.finished.contains_key(index);
            if dropped || !self.nodes.contains_key(index) {
                bases.extend(self.base_stage(*index));
                list.push(*index);
            }
        }
        list.reverse();
        list
    }

    /// The stage that a stage starts from, unless a named context stands in its place.
    fn base_stage(&self, index: usize) -> Option<usize> {
        let start = self.stages.start(index);
        start.stage.filter(|_| self.named_context(&start.image).is_none())
    }

    /// What a finished stage became, for one that starts from it: the last of them takes it without a copy.
    fn inherit(&mut self, index: usize) -> Result<StageState> {
        let heirs = self.heirs.get_mut(&index).filter(|heirs| **heirs > 1);
        let state = match heirs {
            Some(heirs) => {
                *heirs -= 1;
                self.finished.get(&index).cloned()
            }
            None => {
                self.heirs.remove(&index);
                self.finished.remove(&index)
            }
        };
        state.ok_or_else(|| Error::Internal(format!("stage {index} was used before it was worked out")))
    }

    /// The filesystem of a stage. One that only a trigger names is worked out now.
    async fn stage_node(&mut self, index: usize, state: &StageState, span: Span) -> Result<NodeId> {
        if let Some(node) = self.nodes.get(&index) {
            return Ok(*node);
        }
        if index == state.index {
            return Err(at(span, format!("circular dependency: stage \"{}\" needs itself", state.stage)));
        }
        if self.depth == MAX_DEPTH {
            return Err(at(span, "the triggers of base images need each other's stages too deeply"));
        }
        self.depth += 1;
        let worked_out = Box::pin(self.work_out(index)).await;
        self.depth -= 1;
        worked_out?;
        self.nodes
            .get(&index)
            .copied()
            .ok_or_else(|| Error::Internal(format!("stage {index} was not worked out")))
    }

    async fn lower_stage(&mut self, stage: &Stage) -> Result<StageState> {
        let mut state = self.begin(stage).await?;
        for trigger in std::mem::take(&mut state.config.config.on_build) {
            let instruction = crate::dockerfile::parse_trigger(&trigger).map_err(|error| {
                at(
                    stage.from_span,
                    format!("the base image's trigger `ONBUILD {trigger}` is malformed: {}", first(&error)),
                )
            })?;
            self.instruction(&mut state, &instruction, Some(stage.from_span)).await?;
        }
        for instruction in &stage.instructions {
            self.instruction(&mut state, instruction, None).await?;
        }
        Ok(state)
    }

    /// What `--from=` names: a stage (any, by name or number), a named context, or an image.
    async fn origin(&mut self, name: &str, numbers: bool, state: &StageState, span: Span) -> Result<Origin> {
        if let Some((key, context)) = self.named_context_entry(name) {
            let key = key.clone();
            return match context.clone() {
                NamedContext::Image(image) => {
                    self.image_node(&image, &state.platform, span).await.map(Origin::Node)
                }
                NamedContext::Stored { name, configs } => {
                    let resolved = self.resolve_stored(&name, &configs, &state.platform, span).await?;
                    Ok(Origin::Node(self.resolved_node(&name, &resolved, span)))
                }
                NamedContext::Layout(layout) => {
                    let resolved = self.resolve_layout(&layout, &state.platform, span).await?;
                    Ok(Origin::Node(self.resolved_node(&layout.to_string(), &resolved, span)))
                }
                _ => Ok(self.context(&key)),
            };
        }
        let by_number = numbers.then(|| name.parse::<usize>().ok()).flatten();
        if let Some(index) = by_number {
            if index >= self.dockerfile.stages.len() {
                return Err(at(span, format!("there is no stage number {index}")));
            }
            self.must_be_earlier(name, index, state, span)?;
            self.note_need(index, Need::Files(state.stage.clone()));
            return self.stage_node(index, state, span).await.map(Origin::Node);
        }
        if let Some(index) = self.stages.named(name) {
            self.must_be_earlier(name, index, state, span)?;
            self.note_need(index, Need::Files(state.stage.clone()));
            return self.stage_node(index, state, span).await.map(Origin::Node);
        }
        self.image_node(name, &state.platform, span).await.map(Origin::Node)
    }

    /// A stage has to stand before the one that copies from it.
    fn must_be_earlier(&self, name: &str, index: usize, state: &StageState, span: Span) -> Result<()> {
        // A stage that names itself is found out as a circle.
        if index <= state.index {
            return Ok(());
        }
        let message = format!(
            "cannot copy from stage \"{name}\", it needs to be defined before current stage \"{}\"",
            state.stage
        );
        Err(at(span, message))
    }

    /// What `--build-context` says of a name.
    fn named_context(&self, name: &str) -> Option<&NamedContext> {
        self.named_context_entry(name).map(|(_, context)| context)
    }

    /// The entry of `--build-context` for a name: as it is written, or for the image that it means, with or without
    /// registry and `:latest`.
    fn named_context_entry(&self, name: &str) -> Option<(&String, &NamedContext)> {
        if name.is_empty() {
            return None;
        }
        let name = name.to_lowercase();
        let image = |text: &str| Reference::parse(text).ok().map(|reference| reference.canonical());
        self.options.contexts.get_key_value(&name).or_else(|| {
            let wanted = image(&name)?;
            self.options
                .contexts
                .iter()
                .find(|(key, _)| !key.is_empty() && image(key).as_ref() == Some(&wanted))
        })
    }

    /// A context by its name. One that is no directory of this machine becomes a filesystem of the graph.
    fn context(&mut self, name: &str) -> Origin {
        let source = match self.options.contexts.get(name) {
            Some(NamedContext::Git(git)) => CopySource::Git(git.clone()),
            Some(NamedContext::Archive(digest)) => CopySource::Archive(*digest),
            _ => return Origin::Context(name.to_owned()),
        };
        Origin::Node(self.loaded(source))
    }

    /// The filesystem that a remote context is, as a step of this stage.
    fn loaded(&mut self, source: CopySource) -> NodeId {
        let id = context_node(&mut self.graph, source);
        self.note_step(id);
        id
    }

    /// A named context as a whole filesystem.
    fn context_root(&mut self, name: &str) -> NodeId {
        let key = self.named_context_entry(name).map_or_else(String::new, |(key, _)| key.clone());
        match self.context(&key) {
            Origin::Node(node) => node,
            Origin::Context(name) => {
                let source = CopySource::Context { name, paths: vec![".".to_owned()] };
                self.loaded(source)
            }
        }
    }

    /// The node of an image that is only a source of files.
    async fn image_node(&mut self, name: &str, platform: &Platform, span: Span) -> Result<NodeId> {
        if name == "scratch" {
            return Ok(self.scratch());
        }
        let resolved = self.resolve(name, platform, span).await?;
        Ok(self.resolved_node(name, &resolved, span))
    }

    fn resolved_node(&mut self, name: &str, resolved: &Resolved, span: Span) -> NodeId {
        self.insert(Node {
            name: format!("FROM {name}@{}", resolved.digest),
            op: Op::Image(resolved.base.clone()),
            span: Some(span),
            stage: None,
            no_cache: false,
        })
    }

    async fn resolve(&self, name: &str, platform: &Platform, span: Span) -> Result<Arc<Resolved>> {
        let resolved = self.resolver.resolve(name, platform).await;
        resolved.map_err(|source| unresolved(name, span, source).hinted(self.meant_stage(name)))
    }

    /// The stage that was probably meant by an image that nobody has.
    fn meant_stage(&self, name: &str) -> Option<String> {
        let stages = self.dockerfile.stages.iter().filter_map(|stage| stage.name.as_ref());
        let near = nearest(name, stages.map(StageName::as_str))?;
        Some(format!("if the stage is meant, it is called `{near}`"))
    }

    async fn resolve_stored(
        &self,
        name: &str,
        configs: &[Digest],
        platform: &Platform,
        span: Span,
    ) -> Result<Arc<Resolved>> {
        let resolved = self.resolver.resolve_stored(name, configs, platform).await;
        resolved.map_err(|source| unresolved(name, span, source))
    }

    async fn resolve_layout(
        &self,
        layout: &LayoutSource,
        platform: &Platform,
        span: Span,
    ) -> Result<Arc<Resolved>> {
        let resolved = self.resolver.resolve_layout(layout, platform).await;
        resolved.map_err(|source| unresolved(&layout.to_string(), span, source))
    }

    fn scratch(&mut self) -> NodeId {
        self.insert(Node {
            op: Op::Scratch,
            name: "FROM scratch".to_owned(),
            span: None,
            stage: None,
            no_cache: false,
        })
    }

    /// Begins to resolve the base images of stages, so that registries answer side by side.
    fn prefetch(&self, needed: &[usize]) {
        for index in needed {
            let image = &self.stages.start(*index).image;
            if image.is_empty()
                || image == "scratch"
                || self.base_stage(*index).is_some()
                || self.named_context(image).is_some()
            {
                continue;
            }
            let stage = &self.dockerfile.stages[*index];
            let platform = self.stage_platform(stage).unwrap_or_else(|_| self.platform.clone());
            tokio::spawn(self.resolver.resolve(image, &platform));
        }
    }
}

fn unresolved(name: &str, span: Span, source: Error) -> Error {
    Error::Step { name: format!("FROM {name}"), span: Some(span), source: Arc::new(source) }
}

/// Adds the filesystem that a remote context is.
pub(crate) fn context_node(graph: &mut Graph, source: CopySource) -> NodeId {
    let plain = |op, name: &str| Node { op, name: name.to_owned(), span: None, stage: None, no_cache: false };
    let input = graph.add(plain(Op::Scratch, "FROM scratch"));
    let op = CopyOp {
        input,
        sources: vec![source],
        destination: "/".to_owned(),
        cwd: "/".to_owned(),
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: Unpack::Recognised,
    };
    graph.add(plain(Op::Copy(Box::new(op)), "[context] load"))
}

/// Where files come from.
enum Origin {
    /// A filesystem of the graph.
    Node(NodeId),
    /// A context directory by name; the main one is empty.
    Context(String),
}

/// The stage that is the image.
pub(crate) fn image_stage(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<usize> {
    let targets = targets(dockerfile, options)?;
    Ok(targets.last().map_or(0, |(index, _)| *index))
}

/// The stages that are wanted, by position, with the names they were asked for by.
fn targets(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<Vec<(usize, Option<String>)>> {
    let Some(last) = dockerfile.stages.len().checked_sub(1) else {
        return Err(at(Span::default(), "the Dockerfile has no FROM"));
    };
    if options.targets.is_empty() {
        return Ok(vec![(last, None)]);
    }
    options.targets.iter().map(|name| Ok((target(dockerfile, name)?, Some(name.clone())))).collect()
}

fn target(dockerfile: &Dockerfile, name: &str) -> Result<usize> {
    if let Some(stage) = dockerfile.stage(name) {
        return Ok(stage.index);
    }
    let names: Vec<&str> =
        dockerfile.stages.iter().filter_map(|stage| stage.name.as_ref()).map(StageName::as_str).collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "no stage of this Dockerfile has a name".to_owned(),
        None => format!("the stages are {}", names.join(", ")),
    };
    Err(Error::Invalid { message: format!("there is no target stage `{name}`"), help: Some(help) })
}

fn first(diagnostics: &[Diagnostic]) -> &str {
    diagnostics.first().map_or("", |diagnostic| &diagnostic.message)
}

/// An error at a place of the Dockerfile.
fn at(span: Span, message: impl Into<String>) -> Error {
    Error::Dockerfile(vec![Diagnostic::error(span, message)])
}

//! From a Dockerfile to the graph of what a build has to do, and the configuration of the image that it makes.
//!
//! Only stages that the targets need are looked at: what is not needed is not even resolved.

pub(crate) mod args;
mod files;
mod metadata;
mod names;
mod run;
mod stage;

use std::collections::{BTreeMap, HashMap, HashSet};

use layer_store::{Digest, ImageConfig, Platform};

use crate::context::git::GitSource;
use crate::dockerfile::ast::{Dockerfile, InstructionKind, Stage};
use crate::dockerfile::globals::Globals;
use crate::dockerfile::{Diagnostic, Span};
use crate::error::{Error, Result};
use crate::graph::{CopyOp, CopySource, ExecSettings, Graph, Network, Node, NodeId, Op, Unpack};
use crate::resolve::Resolver;

use registry_client::Reference;

pub(crate) use self::names::earlier_stage;
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

/// What a name of `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory of this machine.
    Directory,
    /// An image.
    Image(String),
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
    /// What should be known about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
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
}

/// Makes the graph for the stages and platforms that `options` want.
///
/// # Errors
///
/// [`Error::Dockerfile`] with the place of what is wrong; a base image that cannot be resolved.
pub async fn lower(dockerfile: &Dockerfile, options: &LowerOptions, resolver: &Resolver) -> Result<Lowered> {
    let targets = targets(dockerfile, options)?;
    let mut passes = Vec::new();
    for platform in &options.platforms {
        for (index, name) in &targets {
            let globals = args::globals(dockerfile, options, platform, name.as_deref())?;
            let pass = Lowering {
                dockerfile,
                options,
                platform,
                resolver,
                globals,
                graph: Graph::default(),
                finished: HashMap::new(),
                uses: HashMap::new(),
                open: Vec::new(),
                warnings: Vec::new(),
            };
            pass.prefetch(*index);
            passes.push((*index, pass));
        }
    }
    let mut lowered = Lowered {
        graph: Graph::default(),
        images: Vec::new(),
        also: Vec::new(),
        stages: Vec::new(),
        warnings: Vec::new(),
    };
    let last = targets.len();
    for (at, (index, mut pass)) in passes.into_iter().enumerate() {
        pass.graph = std::mem::take(&mut lowered.graph);
        pass.need(index, Need::Target);
        let stage = pass.stage(index).await?;
        if (at + 1) % last == 0 {
            lowered.images.push(TargetImage {
                platform: pass.platform.clone(),
                node: stage.node,
                config: stage.config,
                history: stage.history,
            });
        } else {
            lowered.also.push(stage.node);
        }
        report(&mut lowered.stages, dockerfile, pass.platform, pass.uses);
        lowered.graph = pass.graph;
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
    mut uses: HashMap<usize, (Need, Vec<NodeId>)>,
) {
    for stage in &dockerfile.stages {
        let found = uses.remove(&stage.index);
        let known = stages.iter_mut().find(|known| known.index == stage.index && known.platform == *platform);
        match (known, found) {
            (Some(known), Some((need, steps))) => {
                known.need.get_or_insert(need);
                if known.steps.is_empty() {
                    known.steps = steps;
                }
            }
            (Some(_), None) => {}
            (None, found) => {
                let (need, steps) = found.map_or((None, Vec::new()), |(need, steps)| (Some(need), steps));
                stages.push(StageUse {
                    name: names::stage(stage),
                    index: stage.index,
                    platform: platform.clone(),
                    need,
                    steps,
                });
            }
        }
    }
}

/// The work at hand.
struct Lowering<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a LowerOptions,
    platform: &'a Platform,
    resolver: &'a Resolver,
    globals: Globals,
    graph: Graph,
    finished: HashMap<usize, StageState>,
    /// Why each stage is needed, and its steps.
    uses: HashMap<usize, (Need, Vec<NodeId>)>,
    open: Vec<usize>,
    warnings: Vec<Diagnostic>,
}

impl Lowering<'_> {
    /// Remembers why a stage is needed; the first reason stays.
    fn need(&mut self, index: usize, need: Need) {
        self.uses.entry(index).or_insert((need, Vec::new()));
    }

    /// Adds a node, as a step of the stage that is being taken in.
    fn insert(&mut self, node: Node) -> NodeId {
        let plain = matches!(node.op, Op::Scratch);
        let id = self.graph.add(node);
        if let Some((_, steps)) = self.open.last().and_then(|index| self.uses.get_mut(index))
            && !plain
            && !steps.contains(&id)
        {
            steps.push(id);
        }
        id
    }

    /// The finished state of a stage; works it out first if need be.
    async fn stage(&mut self, index: usize) -> Result<StageState> {
        if let Some(state) = self.finished.get(&index) {
            return Ok(state.clone());
        }
        let stage = &self.dockerfile.stages[index];
        if self.open.contains(&index) {
            return Err(at(
                stage.from_span,
                format!("circular dependency: stage \"{}\" needs itself", names::stage(stage)),
            ));
        }
        self.open.push(index);
        let state = Box::pin(self.lower_stage(stage)).await?;
        self.open.pop();
        self.finished.insert(index, state.clone());
        Ok(state)
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
                _ => Ok(self.context(&key)),
            };
        }
        let by_number = numbers.then(|| name.parse::<usize>().ok()).flatten();
        if let Some(index) = by_number {
            if index >= self.dockerfile.stages.len() {
                return Err(at(span, format!("there is no stage number {index}")));
            }
            self.must_be_earlier(name, index, state, span)?;
            self.need(index, Need::Files(state.stage.clone()));
            return self.stage(index).await.map(|stage| Origin::Node(stage.node));
        }
        if let Some(stage) = self.dockerfile.stage(name) {
            let index = stage.index;
            self.must_be_earlier(name, index, state, span)?;
            self.need(index, Need::Files(state.stage.clone()));
            return self.stage(index).await.map(|stage| Origin::Node(stage.node));
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
        if let Some((_, steps)) = self.open.last().and_then(|index| self.uses.get_mut(index))
            && !steps.contains(&id)
        {
            steps.push(id);
        }
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
        Ok(self.insert(Node {
            name: format!("FROM {name}@{}", resolved.digest),
            op: Op::Image(resolved.base.clone()),
            span: Some(span),
            stage: None,
            no_cache: false,
        }))
    }

    async fn resolve(
        &self,
        name: &str,
        platform: &Platform,
        span: Span,
    ) -> Result<std::sync::Arc<crate::resolve::Resolved>> {
        self.resolver.resolve(name, platform).await.map_err(|source| Error::Step {
            name: format!("FROM {name}"),
            span: Some(span),
            source: std::sync::Arc::new(source),
        })
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

    /// Begins to resolve the base images of all stages that are surely needed, so that registries answer side by side.
    fn prefetch(&self, target: usize) {
        let mut seen = HashSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            let stage = &self.dockerfile.stages[index];
            let Ok(image) = args::expand_from(&self.globals, &stage.image, self.escape()) else {
                continue;
            };
            if let Some(earlier) = earlier_stage(self.dockerfile, index, &image) {
                open.push(earlier);
            } else if image != "scratch" && self.named_context(&image).is_none() {
                let platform = self.stage_platform(stage).unwrap_or_else(|_| self.platform.clone());
                tokio::spawn(self.resolver.resolve(&image, &platform));
            }
            for instruction in &stage.instructions {
                if let InstructionKind::Copy(copy) = &instruction.kind
                    && let Some(from) = &copy.from
                {
                    let by_number =
                        from.text.parse::<usize>().ok().filter(|n| *n < self.dockerfile.stages.len());
                    open.extend(
                        by_number.or_else(|| self.dockerfile.stage(&from.text).map(|stage| stage.index)),
                    );
                }
            }
        }
    }
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
    let names: Vec<&str> = dockerfile
        .stages
        .iter()
        .filter_map(|stage| stage.name.as_ref())
        .map(crate::dockerfile::ast::StageName::as_str)
        .collect();
    let help = match crate::dockerfile::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "no stage of this Dockerfile has a name".to_owned(),
        None => format!("the stages are {}", names.join(", ")),
    };
    Err(Error::Invalid { message: format!("target stage \"{name}\" could not be found"), help: Some(help) })
}

fn first(diagnostics: &[Diagnostic]) -> &str {
    diagnostics.first().map_or("", |diagnostic| &diagnostic.message)
}

/// An error at a place of the Dockerfile.
fn at(span: Span, message: impl Into<String>) -> Error {
    Error::Dockerfile(vec![Diagnostic::error(span, message)])
}

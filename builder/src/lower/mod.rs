//! From a Dockerfile to the graph of what a build has to do, and the configuration of the image that it makes.
//!
//! Only stages that the targets need are looked at: what is not needed is not even resolved.

mod args;
mod files;
mod go_text;
mod metadata;
mod names;
mod run;
mod stage;

use std::collections::{BTreeMap, HashMap, HashSet};

use layer_store::{Digest, ImageConfig, Platform};

use crate::context::git::GitSource;
use crate::dockerfile::ast::{Dockerfile, InstructionKind, Stage};
use crate::dockerfile::{Diagnostic, Span};
use crate::error::{Error, Result};
use crate::graph::{CopyOp, CopySource, ExecSettings, Graph, Network, Node, NodeId, Op, Unpack};
use crate::resolve::Resolver;

use registry_client::Reference;

pub use self::stage::HistoryEntry;
use self::stage::StageState;

/// What a build is asked for, beside the Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerOptions {
    /// The stage to build, by name; `None` for the last one.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The platform of the image.
    pub platform: Platform,
    /// Whether that platform was asked for: then the image says it, whatever its base image says.
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
    /// The operations.
    pub graph: Graph,
    /// The image that is wanted.
    pub image: TargetImage,
    /// `SOURCE_DATE_EPOCH` as an ARG before the first FROM gives it, in seconds.
    pub epoch: Option<i64>,
    /// What should be known about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
}

/// The image that a stage makes, but for its layers.
#[derive(Debug, Clone)]
pub struct TargetImage {
    /// Its filesystem.
    pub node: NodeId,
    /// Its configuration without `rootfs`, `history` and `created`.
    pub config: ImageConfig,
    /// Where its history comes from.
    pub history: Vec<HistoryEntry>,
    /// The image that it begins with, by its whole name and digest; `None` above nothing.
    pub base: Option<String>,
}

/// Makes the graph for the stage that `options` want.
///
/// # Errors
///
/// [`Error::Dockerfile`] with the place of what is wrong; a base image that cannot be resolved.
pub async fn lower(dockerfile: &Dockerfile, options: &LowerOptions, resolver: &Resolver) -> Result<Lowered> {
    let globals = args::Globals::of(dockerfile, options)?;
    let epoch = globals.epoch(dockerfile)?;
    let target = target(dockerfile, options)?;
    let mut lowering = Lowering {
        dockerfile,
        options,
        resolver,
        globals,
        graph: Graph::default(),
        finished: HashMap::new(),
        open: Vec::new(),
        warnings: Vec::new(),
    };
    lowering.prefetch(target);
    let mut stage = lowering.stage(target).await?;
    set_platform(&mut stage.config, options);
    Ok(Lowered {
        image: TargetImage {
            node: stage.node,
            config: stage.config,
            history: stage.history,
            base: stage.base,
        },
        graph: lowering.graph,
        epoch,
        warnings: lowering.warnings,
    })
}

/// The platform that the finished image says it is for, in normalised form.
fn set_platform(config: &mut ImageConfig, options: &LowerOptions) {
    let asked = &options.platform;
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

/// The work at hand.
struct Lowering<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a LowerOptions,
    resolver: &'a Resolver,
    globals: args::Globals,
    graph: Graph,
    finished: HashMap<usize, StageState>,
    open: Vec<usize>,
    warnings: Vec<Diagnostic>,
}

impl Lowering<'_> {
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
            return self.stage(index).await.map(|stage| Origin::Node(stage.node));
        }
        if let Some(stage) = self.dockerfile.stage(name) {
            let index = stage.index;
            self.must_be_earlier(name, index, state, span)?;
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
        Origin::Node(context_node(&mut self.graph, source))
    }

    /// A named context as a whole filesystem.
    fn context_root(&mut self, name: &str) -> NodeId {
        let key = self.named_context_entry(name).map_or_else(String::new, |(key, _)| key.clone());
        match self.context(&key) {
            Origin::Node(node) => node,
            Origin::Context(name) => {
                let source = CopySource::Context { name, paths: vec![".".to_owned()] };
                context_node(&mut self.graph, source)
            }
        }
    }

    /// The node of an image that is only a source of files.
    async fn image_node(&mut self, name: &str, platform: &Platform, span: Span) -> Result<NodeId> {
        if name == "scratch" {
            return Ok(self.scratch());
        }
        let resolved = self.resolve(name, platform, span).await?;
        Ok(self.graph.add(Node {
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
        self.graph.add(Node {
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
            let Ok(image) = self.globals.expand_from(&stage.image, self.dockerfile.directives.escape) else {
                continue;
            };
            if let Some(earlier) = names::earlier_stage(self.dockerfile, index, &image) {
                open.push(earlier);
            } else if image != "scratch" && self.named_context(&image).is_none() {
                let platform = self.stage_platform(stage).unwrap_or_else(|_| self.options.platform.clone());
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

fn target(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<usize> {
    let Some(last) = dockerfile.stages.len().checked_sub(1) else {
        return Err(at(Span::default(), "the Dockerfile has no FROM"));
    };
    let Some(name) = &options.target else { return Ok(last) };
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

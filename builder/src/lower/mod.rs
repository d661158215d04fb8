//! From a Dockerfile to the graph of what a build has to do, and the configuration of the image that it makes.
//!
//! Only stages that the targets need are looked at: what is not needed is not even resolved.

pub(crate) mod args;
mod epoch;
mod files;
mod go_text;
mod metadata;
mod names;
mod options;
mod order;
mod origin;
mod run;
mod stage;
mod targets;
mod windows;

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexSet;
use layer_store::{ImageConfig, Platform};

use crate::dockerfile::ast::{Dockerfile, Stage};
use crate::dockerfile::globals::Globals;
use crate::dockerfile::stages::StageGraph;
use crate::dockerfile::{Diagnostic, Span};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, Op};
use crate::resolve::Resolver;
use crate::secret::Secrets;

pub use self::options::{LowerOptions, NamedContext, NoCache};
pub(crate) use self::origin::context_node;
pub use self::stage::HistoryEntry;
use self::stage::StageState;
pub(crate) use self::targets::image_stage;
use self::targets::targets;

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
            let mut globals = args::globals(dockerfile, options, platform, name.as_deref())?;
            epoch.settle(&mut globals);
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
            pass.check_bases()?;
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
        lowered.epoch = epoch.time().or(args::epoch(&pass.globals)?);
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
}

fn first(diagnostics: &[Diagnostic]) -> &str {
    diagnostics.first().map_or("", |diagnostic| &diagnostic.message)
}

/// An error at a place of the Dockerfile.
fn at(span: Span, message: impl Into<String>) -> Error {
    Error::Dockerfile(vec![Diagnostic::error(span, message)])
}

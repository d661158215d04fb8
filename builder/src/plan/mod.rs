//! What a build would do: the stages that it keeps and drops, its steps with their inputs, and which of them are
//! known. Nothing is fetched but manifests and configurations, nothing is run and nothing is written to the store.

mod text;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::build::{self, Around, BuildRequest};
use crate::dockerfile::Diagnostic;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::explain::{self, BuildReport, Difference, Explained, Verdict};
use crate::graph::{CopySource, ExecMountKind, Graph, NodeId, Op};
use crate::lower::{Lowered, Need, StageUse, lower};
use crate::resolve::Resolver;
use crate::solve::{Doubt, Forecast, Layers};

/// What a build would do. As text it is for people ([`std::fmt::Display`]), as JSON for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The name of the Dockerfile.
    pub dockerfile: String,
    /// The platforms that are built for, as `linux/amd64`.
    pub platforms: Vec<String>,
    /// The stages, by platform and then in the order of the file.
    pub stages: Vec<PlannedStage>,
    /// The steps, numbered from 1 in the order of this list; inputs come before the steps that use them.
    pub steps: Vec<PlannedStep>,
    /// What should be known about the Dockerfile.
    #[serde(skip)]
    pub warnings: Vec<Diagnostic>,
}

/// A stage of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStage {
    /// Its name, or `stage-2`.
    pub name: String,
    /// The platform that it is built for.
    pub platform: String,
    /// Whether it is built.
    pub kept: bool,
    /// Why, in words.
    pub reason: String,
    /// The numbers of its steps.
    pub steps: Vec<usize>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// Its number.
    pub number: usize,
    /// As people read it.
    pub name: String,
    /// The line of the Dockerfile, from 1.
    pub line: Option<usize>,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What would become of it.
    pub cache: Cache,
    /// Why, in words; empty for a hit in the store.
    pub reason: String,
    /// What is different from the nearest step that was done before.
    pub differences: Vec<Difference>,
    /// How many further differences there are.
    pub more: usize,
}

/// What a step reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Input {
    /// The filesystem that it works on.
    Base {
        /// The step that makes it.
        step: usize,
    },
    /// Files of another step.
    Step {
        /// Which.
        step: usize,
        /// The paths.
        paths: Vec<String>,
    },
    /// Files of a build context.
    Context {
        /// Its name; empty for the main one.
        name: String,
        /// The paths.
        paths: Vec<String>,
    },
    /// Something that is fetched.
    Fetched {
        /// Its address.
        address: String,
    },
    /// Text of the Dockerfile.
    Inline {
        /// The names that it has.
        names: Vec<String>,
    },
}

/// What would become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// There is nothing to do.
    Given,
    /// Its result is known.
    Hit,
    /// It would run.
    Run,
    /// That is not known before something else has run or was fetched.
    Unknown,
}

impl Engine {
    /// What [`Engine::build`] would do with the request.
    pub async fn plan(&self, request: &BuildRequest, cancel: CancellationToken) -> Result<Plan> {
        let (parsed, mut warnings) = build::parse(request)?;
        let resolver = Resolver::new(self.store.clone(), self.client.clone(), request.pull).keeping_nothing();
        let lowering = lower(&parsed, &request.options, &request.secrets, &resolver);
        let Lowered { graph, stages, epoch, warnings: more, .. } = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            lowered = lowering => lowered?,
        };
        warnings.extend(build::findings(request, &parsed, &resolver)?);
        warnings.extend(more);
        let graph = Arc::new(graph);
        let layers = Layers::new(self.store.clone(), self.client.clone(), &graph);
        let around = Around {
            reporter: self.reporter.clone(),
            shared: self.shared(request),
            exporter: None,
            budget: Budget::new(self.store.clone(), None),
        };
        let (solver, _) =
            self.solver(request, request.epoch.or(epoch), graph.clone(), layers, around, &cancel)?;
        let foreseen = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            foreseen = solver.foresee() => foreseen?,
        };
        let started = format!("{:.9}", jiff::Timestamp::now());
        let steps = solver.reports().into_iter().map(|(_, report)| report).collect();
        let report = BuildReport { started, dockerfile: request.dockerfile.name.clone(), steps };
        let explained = explain::explain(&self.store, &report)?;
        let explained = explained.into_iter().map(|one| (one.name.clone(), one)).collect();
        let line = |id: NodeId| graph.node(id).span.map(|span| request.dockerfile.line(span.start));
        let (steps, numbers) = steps_of(&graph, &foreseen, &explained, &line);
        Ok(Plan {
            dockerfile: request.dockerfile.name.clone(),
            platforms: request.options.platforms.iter().map(ToString::to_string).collect(),
            stages: stages.iter().map(|stage| planned_stage(stage, &numbers)).collect(),
            steps,
            warnings,
        })
    }
}

fn planned_stage(stage: &StageUse, numbers: &HashMap<NodeId, usize>) -> PlannedStage {
    let reason = match &stage.need {
        Some(Need::Target) => "it is the target".to_owned(),
        Some(Need::From(user)) => format!("`{user}` begins with it"),
        Some(Need::Files(user)) => format!("`{user}` takes files from it"),
        None => "nothing that is wanted needs it".to_owned(),
    };
    PlannedStage {
        name: stage.name.clone(),
        platform: stage.platform.to_string(),
        kept: stage.need.is_some(),
        reason,
        steps: stage.steps.iter().filter_map(|id| numbers.get(id).copied()).collect(),
    }
}

/// The steps of a graph with their numbers; an empty filesystem is no step.
fn steps_of(
    graph: &Graph,
    foreseen: &[(NodeId, Forecast)],
    explained: &HashMap<String, Explained>,
    line: &dyn Fn(NodeId) -> Option<usize>,
) -> (Vec<PlannedStep>, HashMap<NodeId, usize>) {
    let (mut steps, mut numbers) = (Vec::new(), HashMap::new());
    for (id, forecast) in foreseen {
        let node = graph.node(*id);
        if matches!(node.op, Op::Scratch) {
            continue;
        }
        let number = steps.len() + 1;
        numbers.insert(*id, number);
        let (cache, reason) = outcome(forecast, &numbers);
        let known = explained.get(&node.name).filter(|_| cache == Cache::Run);
        let reason = match known {
            Some(known) if known.nearest.is_none() && matches!(known.verdict, Verdict::Miss) => {
                "nothing like it was done before".to_owned()
            }
            _ => reason,
        };
        steps.push(PlannedStep {
            number,
            name: node.name.clone(),
            line: line(*id),
            inputs: inputs(&node.op, &numbers),
            cache,
            reason,
            differences: known.map(|known| known.differences.clone()).unwrap_or_default(),
            more: known.map_or(0, |known| known.more),
        });
    }
    (steps, numbers)
}

fn outcome(forecast: &Forecast, numbers: &HashMap<NodeId, usize>) -> (Cache, String) {
    match forecast {
        Forecast::Given => (Cache::Given, String::new()),
        Forecast::Hit { from: None } => (Cache::Hit, String::new()),
        Forecast::Hit { from: Some(cache) } => (Cache::Hit, format!("from {cache}")),
        Forecast::Run(verdict) => {
            let reason = match verdict {
                Verdict::Refused => "stored results are not to be used".to_owned(),
                Verdict::Expired { created } => format!("the result of {created} is too old"),
                Verdict::Lost => "the layer that it made is gone from the store".to_owned(),
                Verdict::Miss | Verdict::Hit { .. } => String::new(),
            };
            (Cache::Run, reason)
        }
        Forecast::Unknown(doubt) => {
            let reason = match doubt {
                Doubt::After(steps) => {
                    let steps: Vec<String> =
                        steps.iter().filter_map(|id| numbers.get(id)).map(|n| format!("#{n}")).collect();
                    let verb = if steps.len() == 1 { "gives" } else { "give" };
                    format!("depends on what {} {verb}", steps.join(" and "))
                }
                Doubt::Fetch(url) => format!("`{url}` has to be fetched"),
                Doubt::Ask(remote) => format!("`{remote}` has to be asked for its commit"),
                Doubt::Compare => "files in layers have to be compared".to_owned(),
            };
            (Cache::Unknown, reason)
        }
    }
}

fn inputs(op: &Op, numbers: &HashMap<NodeId, usize>) -> Vec<Input> {
    let base = |id: &NodeId| numbers.get(id).map(|step| Input::Base { step: *step });
    match op {
        Op::Scratch | Op::Image(_) => Vec::new(),
        Op::Workdir(workdir) => base(&workdir.input).into_iter().collect(),
        Op::Exec(exec) => {
            let mounts = exec.mounts.iter().filter_map(|mount| match &mount.kind {
                ExecMountKind::Bind { from, source, .. }
                | ExecMountKind::Cache { from: Some(from), source, .. } => {
                    numbers.get(from).map(|step| Input::Step { step: *step, paths: vec![source.clone()] })
                }
                _ => None,
            });
            base(&exec.input).into_iter().chain(mounts).collect()
        }
        Op::Copy(copy) => {
            let sources = copy.sources.iter().filter_map(|source| match source {
                CopySource::Context { name, paths } => {
                    Some(Input::Context { name: name.clone(), paths: paths.clone() })
                }
                CopySource::Node { node, paths } => {
                    numbers.get(node).map(|step| Input::Step { step: *step, paths: paths.clone() })
                }
                CopySource::Url { url, .. } => Some(Input::Fetched { address: url.clone() }),
                CopySource::Git(git) => Some(Input::Fetched { address: git.remote.clone() }),
                CopySource::Archive(digest) => {
                    Some(Input::Fetched { address: format!("archive {}", digest.short()) })
                }
                CopySource::Inline(files) => {
                    Some(Input::Inline { names: files.iter().map(|file| file.name.clone()).collect() })
                }
            });
            base(&copy.input).into_iter().chain(sources).collect()
        }
    }
}

//! Works out a graph: each node once, independent ones side by side, and nothing that a record already answers.
//!
//! A node is solved when its stack of layers is known by name. Bytes move only when a step has to run: base layers
//! that nobody reads stay where they are.

mod ahead;
mod copy;
mod exec;
mod foresee;
mod key;
mod layers;
mod lookup;
mod notes;
mod progress;
mod record;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use layer_store::{Digest, Store};
use registry_client::Client;
use tokio::sync::{Semaphore, SetOnce};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::cache::{Exported, Exporter, SharedCaches};
use crate::context::LocalContext;
use crate::copy::{Fetched, Owner};
use crate::error::{Error, Result};
use crate::event::{Reporter, StepId};
use crate::explain::Verdict;
use crate::graph::{CopySource, ExecMountKind, Graph, Node, NodeId, Op};
use crate::sandbox::{Sandbox, Step};
use crate::sandbox_handle::SandboxHandle;
use crate::secret::Secrets;
use crate::task::{self, Awaited};

pub(crate) use exec::settle;
pub(crate) use foresee::{Doubt, Forecast};
pub use layers::Layers;

/// The filesystem of a node.
#[derive(Debug, Clone)]
pub struct Solved {
    /// Its layers, bottom first.
    pub layers: Vec<Digest>,
    /// When its own layer was made, RFC 3339; `None` for a base image.
    pub created: Option<String>,
    /// Whether its result was known before.
    pub cached: bool,
}

/// What solving needs from outside.
pub struct Surroundings {
    /// Where results are kept.
    pub store: Arc<Store>,
    /// Who fetches base layers.
    pub client: Arc<Client>,
    /// Who is told.
    pub reporter: Arc<dyn Reporter>,
    /// Where commands run; started when the first one has to.
    pub sandbox: Arc<SandboxHandle>,
    /// Build contexts by name; the main one is empty.
    pub contexts: HashMap<String, Arc<LocalContext>>,
    /// Archives that were spooled before the build, by the digest of their bytes.
    pub archives: HashMap<Digest, Fetched>,
    /// What `RUN --mount=type=secret` and `type=ssh` can get.
    pub secrets: Secrets,
    /// How many commands run at the same time.
    pub jobs: usize,
    /// Times in new layers that are later become this (`SOURCE_DATE_EPOCH`, seconds).
    pub epoch: Option<i64>,
    /// Who may look at a command that failed, before its filesystem is gone.
    pub on_failure: Option<Arc<dyn OnFailure>>,
    /// The age from which the stored result of a command is not used any more.
    pub cache_ttl: Option<Duration>,
    /// How long a command may run.
    pub step_timeout: Option<Duration>,
    /// How large the store may become.
    pub budget: Budget,
    /// Caches that are asked after the store.
    pub(crate) shared: Option<Arc<SharedCaches>>,
    /// Who writes results to caches.
    pub(crate) exporter: Option<Arc<Exporter>>,
    /// Whether the directories of cache mounts come from shared caches and go there.
    pub cache_mounts: bool,
    /// Stops everything.
    pub cancel: CancellationToken,
}

/// A cache mount that a command had.
#[derive(Debug, Clone)]
pub(crate) struct UsedMount {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// Its id.
    pub(crate) name: String,
    /// Who owns what is in it.
    pub(crate) owner: Owner,
}

/// Somebody who looks at a failed command.
pub trait OnFailure: std::fmt::Debug + Send + Sync {
    /// Called with a step that starts a shell in the filesystem that the command of `name` left, with its environment
    /// and its mounts. The step may be run and changed as often as wanted until this returns.
    fn look<'a>(&'a self, name: &'a str, sandbox: &'a Sandbox, shell: Step) -> BoxFuture<'a, ()>;
}

type Pending = Awaited<Arc<Solved>>;

/// Solves the nodes of one graph.
#[derive(Clone)]
pub struct Solver {
    inner: Arc<Inner>,
}

struct Inner {
    graph: Arc<Graph>,
    around: Surroundings,
    layers: Layers,
    jobs: Semaphore,
    /// Set when the first command is to be run.
    runs: SetOnce<()>,
    /// By node: whether a command will see its layers, so that they are written as trees.
    seen_by_commands: Vec<bool>,
    pending: Mutex<HashMap<NodeId, Pending>>,
    progress: progress::Progress,
    notes: notes::Notes,
    /// What every step made, for caches.
    exported: Mutex<Vec<Exported>>,
    /// The cache mounts that were used, by their key: where they are, their name and their owner.
    mounts: Mutex<BTreeMap<Digest, UsedMount>>,
    /// The commits of repositories and the digests of files that were fetched.
    fetched: Mutex<HashMap<CopySource, String>>,
    /// The first failure: what the user sees, while the steps that it stopped only say that they were stopped.
    failure: OnceLock<Error>,
}

impl Solver {
    /// A solver of `graph`.
    #[must_use]
    pub fn new(graph: Arc<Graph>, around: Surroundings, layers: Layers) -> Self {
        let progress = progress::Progress::new(around.reporter.clone());
        Self {
            inner: Arc::new(Inner {
                seen_by_commands: seen_by_commands(&graph),
                jobs: Semaphore::new(around.jobs.max(1)),
                runs: SetOnce::new(),
                layers,
                graph,
                around,
                pending: Mutex::default(),
                progress,
                notes: notes::Notes::default(),
                exported: Mutex::default(),
                mounts: Mutex::default(),
                fetched: Mutex::default(),
                failure: OnceLock::new(),
            }),
        }
    }

    /// Solves a node and what it needs. Concurrent calls for one node share the work.
    pub fn solve(&self, id: NodeId) -> Pending {
        let mut pending = self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending
            .entry(id)
            .or_insert_with(|| {
                let solver = self.clone();
                task::start(async move { solver.work(id).await.map(Arc::new) })
            })
            .clone()
    }

    /// What makes bytes of layers present.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    /// The graph that is solved.
    pub(crate) fn graph(&self) -> &Graph {
        &self.inner.graph
    }

    /// The commits of repositories and the digests of files that were fetched so far.
    pub(crate) fn fetched(&self) -> HashMap<CopySource, String> {
        self.inner.fetched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nodes whose layers are the filesystem of `id`.
    pub(crate) fn chain(&self, id: NodeId) -> Vec<NodeId> {
        self.inner.graph.chain(id)
    }

    /// The name of a step for people: `[2/3] COPY a b`.
    pub(crate) fn step_name(&self, id: NodeId) -> String {
        self.inner.graph.node(id).name.clone()
    }

    async fn work(&self, id: NodeId) -> Result<Solved> {
        let node = self.inner.graph.node(id);
        let work = async {
            let inputs = self.solve_inputs(node).await?;
            let result: Result<Solved> = match &node.op {
                Op::Scratch => Ok(Solved { layers: Vec::new(), created: None, cached: true }),
                Op::Image(base) => {
                    let layers = base.layers.iter().map(|layer| layer.diff_id).collect();
                    self.inner.progress.known(&node.name);
                    self.note(id, Verdict::Hit { from: None }, None);
                    Ok(Solved { layers, created: None, cached: true })
                }
                Op::Exec(exec) => self.exec(id, exec, &inputs).await,
                Op::Copy(copy) => self.copy(id, copy, &inputs).await,
                Op::Workdir(workdir) => self.workdir(id, node, workdir, &inputs).await,
            };
            if result.as_ref().is_ok_and(|solved| !solved.cached) && self.inner.around.budget.is_limited() {
                let budget = self.inner.around.budget.clone();
                task::blocking(move || budget.keep()).await.map_err(|error| located(node, error))?;
            }
            result.map_err(|error| located(node, error))
        };
        let result = tokio::select! {
            biased;
            () = self.inner.around.cancel.cancelled() => Err(Error::Cancelled),
            result = work => result,
        };
        match result {
            // One failure stops the rest.
            Err(error) if !matches!(error, Error::Cancelled) => {
                let _ = self.inner.failure.set(error.clone());
                self.inner.around.cancel.cancel();
                Err(error)
            }
            result => result,
        }
    }

    /// The number of a step that is not in the graph.
    pub(crate) fn next_step(&self) -> StepId {
        self.inner.progress.number()
    }

    /// Starts the sandbox, or says why no command can run here: asked before the first step below a command does any
    /// work, so that a build that cannot be finished is refused before it begins. The error stands at the command.
    async fn commands_can_run(&self) -> Result<()> {
        let Err(error) = self.inner.around.sandbox.get().await else { return Ok(()) };
        let command = self.inner.graph.nodes().find(|(_, node)| matches!(node.op, Op::Exec(_)));
        let error = Error::from(error);
        Err(match command {
            Some((_, node)) => located(node, error),
            None => error,
        })
    }

    /// What a failed solve failed of.
    pub(crate) fn cause(&self, error: Error) -> Error {
        match (error, self.inner.failure.get()) {
            (Error::Cancelled, Some(first)) => first.clone(),
            (error, _) => error,
        }
    }
}

/// Says which step failed, unless the error says so already.
fn located(node: &Node, error: Error) -> Error {
    match error {
        Error::Step { .. } | Error::Cancelled | Error::Dockerfile(_) => error,
        error => Error::Step { name: node.name.clone(), span: node.span, source: Arc::new(error) },
    }
}

/// Marks the nodes whose layers a command will see: its input, the inputs below that, and what it mounts.
fn seen_by_commands(graph: &Graph) -> Vec<bool> {
    let mut seen = vec![false; graph.nodes().count()];
    let mut open = Vec::new();
    for (_, node) in graph.nodes() {
        if let Op::Exec(exec) = &node.op {
            open.push(exec.input);
            open.extend(exec.mounts.iter().filter_map(|mount| match &mount.kind {
                ExecMountKind::Bind { from, .. } => Some(*from),
                ExecMountKind::Cache { from, .. } => *from,
                _ => None,
            }));
        }
    }
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.position()], true) {
            continue;
        }
        match &graph.node(id).op {
            Op::Copy(copy) => open.push(copy.input),
            Op::Workdir(workdir) => open.push(workdir.input),
            Op::Exec(exec) => open.push(exec.input),
            Op::Scratch | Op::Image(_) => {}
        }
    }
    seen
}

//! What is noted of each step: whether its result was known, and what went into its key.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use layer_store::Digest;

use super::lookup::Lookup;
use super::record::{self, StepRecord};
use super::sources::Origin;
use super::{Solver, UsedMount, key};
use crate::cache::Exported;
use crate::copy::{Request, Selection};
use crate::dockerfile::Span;
use crate::error::Result;
use crate::explain::{Inputs, StepReport, Verdict};
use crate::graph::{CopyOp, Exec, ExecMountKind, NodeId, Op, WorkdirOp};

/// The notes of one build.
#[derive(Default)]
pub(super) struct Notes(Mutex<BTreeMap<NodeId, (Option<Span>, StepReport)>>);

impl Solver {
    /// The stored result of a step, told to whoever watches.
    pub(super) async fn known(&self, id: NodeId, key: Digest) -> Result<Option<StepRecord>> {
        let node = self.inner.graph.node(id);
        let found = self.look_up(node, key).await?;
        let (verdict, record) = match found {
            Lookup::Known { record, from } => (Verdict::Hit { from }, Some(record)),
            Lookup::Unknown(verdict) => (verdict, None),
        };
        if let Some(record) = &record {
            self.inner.progress.known(&node.name);
            self.export(id, key, record);
        }
        self.note(id, verdict, Some(key));
        Ok(record)
    }

    /// Notes what the cache said of a step.
    pub(super) fn note(&self, id: NodeId, verdict: Verdict, key: Option<Digest>) {
        let node = self.inner.graph.node(id);
        let report = StepReport { name: node.name.clone(), line: None, verdict, key, inputs: None };
        self.notes().insert(id, (node.span, report));
    }

    /// Notes what went into the key of a step that has to be done.
    pub(super) fn missed(&self, id: NodeId, inputs: Inputs) {
        if let Some((_, report)) = self.notes().get_mut(&id) {
            report.inputs = Some(inputs);
        }
    }

    /// Remembers the result of a step that was done, with what went into its key. Blocks.
    pub(super) fn keep(&self, id: NodeId, key: &Digest, record: &StepRecord) -> Result<()> {
        let store = &self.inner.around.store;
        record::keep(store, key, record)?;
        self.export(id, *key, record);
        let inputs = self.notes().get_mut(&id).and_then(|(_, report)| {
            report.key = Some(*key);
            report.inputs.take()
        });
        match inputs {
            Some(inputs) => inputs.keep(store, key),
            None => Ok(()),
        }
    }

    /// Remembers a result under a further key. Blocks.
    pub(super) fn keep_also(&self, id: NodeId, key: &Digest, record: &StepRecord) -> Result<()> {
        self.export(id, *key, record);
        if record.shared { Ok(()) } else { record::keep(&self.inner.around.store, key, record) }
    }

    /// Notes a result for caches, and sends it on its way to those that are written.
    fn export(&self, id: NodeId, key: Digest, record: &StepRecord) {
        let StepRecord { diff_id, created, name, .. } = record.clone();
        let exported = Exported { node: Some(id), key, diff_id, created, name };
        if let Some(exporter) = &self.inner.around.exporter {
            exporter.add(&exported);
        }
        self.inner.exported.lock().unwrap_or_else(PoisonError::into_inner).push(exported);
    }

    /// What every step made, by its keys.
    pub(crate) fn exported(&self) -> Vec<Exported> {
        self.inner.exported.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a cache mount that a command has.
    pub(super) fn note_mount(&self, key: Digest, mount: UsedMount) {
        self.inner.mounts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, mount);
    }

    /// The cache mounts that commands had, by their keys.
    pub(crate) fn used_mounts(&self) -> BTreeMap<Digest, UsedMount> {
        self.inner.mounts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was noted, inputs before the steps that use them.
    pub(crate) fn reports(&self) -> Vec<(Option<Span>, StepReport)> {
        self.notes().values().cloned().collect()
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, (Option<Span>, StepReport)>> {
        self.inner.notes.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn exec_inputs(&self, id: NodeId, exec: &Exec, below: &[Digest], shown: &[Digest]) -> Inputs {
        let mut inputs = self.inputs(id, exec.input, below);
        inputs.field("command", exec.argv.join(" "));
        for pair in exec.env.pairs() {
            inputs.variable(pair);
        }
        inputs.field("working directory", &exec.cwd);
        inputs.field("user", if exec.user.is_empty() { "root" } else { &exec.user });
        inputs.field("platform", exec.platform.to_string());
        inputs.field("network", exec.network.name());
        if exec.insecure {
            inputs.field("security", "insecure");
        }
        for (name, _) in &exec.settings.extra_hosts {
            inputs.field(format!("extra host {name}"), "set");
        }
        for (name, soft, hard) in &exec.settings.ulimits {
            inputs.field(format!("limit {name}"), format!("{soft}:{hard}"));
        }
        if let Some(size) = exec.settings.shm_size {
            inputs.field("size of /dev/shm", size.to_string());
        }
        let mut shown = shown.iter();
        for mount in &exec.mounts {
            let value = match &mount.kind {
                ExecMountKind::Bind { from, source, writable } => format!(
                    "{source} of {} ({}){}",
                    self.inner.graph.node(*from).name,
                    shown.next().map(Digest::short).unwrap_or_default(),
                    if *writable { ", writable" } else { "" }
                ),
                ExecMountKind::Cache { from, source, readonly, .. } => {
                    let begins = from.map(|from| {
                        let name = &self.inner.graph.node(from).name;
                        let stack = shown.next().map(Digest::short).unwrap_or_default();
                        format!(" that begins with {source} of {name} ({stack})")
                    });
                    let readonly = if *readonly { ", read-only" } else { "" };
                    format!("a cache{}{readonly}", begins.unwrap_or_default())
                }
                ExecMountKind::Tmpfs { size } => format!("memory, {}", size.unwrap_or(0)),
                ExecMountKind::Secret { id, mode, uid, gid, env, .. } => {
                    format!("secret {id} {mode:o} {uid}:{gid} {}", env.as_deref().unwrap_or_default())
                }
                ExecMountKind::Ssh { id, mode, uid, gid, .. } => format!("agent {id} {mode:o} {uid}:{gid}"),
            };
            inputs.field(format!("mount {}", mount.target), value.trim_end());
        }
        inputs
    }

    pub(super) fn copy_inputs(
        &self,
        id: NodeId,
        op: &CopyOp,
        below: &[Digest],
        origins: &[Origin],
        selection: Option<&Selection<'_>>,
        request: &Request,
    ) -> Result<Inputs> {
        let below = if op.link { &[] } else { below };
        let mut inputs = self.inputs(id, op.input, below);
        inputs.field("destination", &op.destination);
        inputs.field("working directory", &op.cwd);
        for (name, value) in [("--chown", &op.chown), ("--chmod", &op.chmod)] {
            if let Some(value) = value {
                inputs.field(name, value);
            }
        }
        for (name, set) in [("--link", op.link), ("--parents", op.parents)] {
            if set {
                inputs.field(name, "set");
            }
        }
        for origin in origins {
            match origin {
                Origin::Git(git, commit) => inputs.field(format!("repository {}", git.remote), commit),
                Origin::Fetched(fetched, _) => {
                    inputs.field(format!("fetched file {}", fetched.name), fetched.digest.short());
                }
                Origin::Context(..) | Origin::Stack(..) | Origin::Inline(_) => {}
            }
        }
        if let Some(selection) = selection {
            inputs.files(selection.explain(request)?);
        }
        Ok(inputs)
    }

    pub(super) fn workdir_inputs(&self, id: NodeId, op: &WorkdirOp, below: &[Digest]) -> Inputs {
        let mut inputs = self.inputs(id, op.input, below);
        inputs.field("directory", &op.path);
        inputs.field("user", if op.user.is_empty() { "root" } else { &op.user });
        inputs
    }

    /// What all steps have.
    fn inputs(&self, id: NodeId, input: NodeId, below: &[Digest]) -> Inputs {
        let node = self.inner.graph.node(id);
        let text = node.name.split_once("] ").map_or(node.name.as_str(), |(_, text)| text);
        let mut inputs = Inputs {
            asked: format!("{:.9}", jiff::Timestamp::now()),
            name: node.name.clone(),
            stage: node.stage.clone(),
            stack: self.makers(input, below),
            ..Inputs::default()
        };
        inputs.field("instruction", text.split(' ').next().unwrap_or(text));
        inputs.field("text", text);
        if let Some(epoch) = self.inner.around.epoch {
            inputs.field("SOURCE_DATE_EPOCH", epoch.to_string());
        }
        inputs
    }

    /// The layers of a stack, each with who made it.
    fn makers(&self, top: NodeId, layers: &[Digest]) -> Vec<(Digest, String)> {
        let mut named = Vec::with_capacity(layers.len());
        let (mut at, mut left) = (top, layers);
        while let Some((layer, below)) = left.split_last() {
            let node = self.inner.graph.node(at);
            named.push((*layer, node.name.clone()));
            left = below;
            match &node.op {
                Op::Exec(exec) => at = exec.input,
                Op::Copy(copy) => at = copy.input,
                Op::Workdir(workdir) => at = workdir.input,
                // All that is left is the image's.
                Op::Image(_) | Op::Scratch => {}
            }
        }
        named.reverse();
        named
    }
}

/// What a RUN's bind mounts show and its caches begin with, by the stacks of its inputs after the first, in order.
pub(super) fn shown(stacks: &[&[Digest]]) -> Vec<Digest> {
    stacks.iter().map(|stack| key::chain(stack)).collect()
}

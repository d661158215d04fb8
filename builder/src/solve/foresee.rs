//! What solving would do, without doing it: nothing is fetched, run or written.
//!
//! Keys are made of content, so what stands behind a step that would run is not known before it did: it may give the
//! same bytes as ever. That is said as it is, and only what does not depend on such a step is looked for.

use layer_store::Digest;

use super::lookup::Lookup;
use super::notes::shown;
use super::sources::{Origin, Unfetched, early_key, names_owner, numeric_owner, request};
use super::{Solver, key};
use crate::error::Result;
use crate::explain::Verdict;
use crate::graph::{CopyOp, CopySource, Exec, NodeId, Op, WorkdirOp};
use crate::task;

/// What would become of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forecast {
    /// It is there without any work: a base image, an empty filesystem.
    Given,
    /// Its result is known.
    Hit {
        /// The shared cache that has it; `None` for the store.
        from: Option<String>,
    },
    /// It would be done.
    Run(Verdict),
    /// Nobody can say yet.
    Unknown(Doubt),
}

/// Why nobody can say whether a step would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// These steps come first, and what they give is not known.
    After(Vec<NodeId>),
    /// A file has to be fetched.
    Fetch(String),
    /// A repository has to be asked.
    Ask(String),
    /// Files in layers have to be read.
    Compare,
}

/// A forecast, with the layers if they are known.
type Foreseen = (Forecast, Option<Vec<Digest>>);

impl Solver {
    /// A forecast for each node of the graph, inputs before those that use them. Reads records and the files of
    /// contexts, and asks the shared caches for records.
    pub(crate) async fn foresee(&self) -> Result<Vec<(NodeId, Forecast)>> {
        let mut layers: Vec<Option<Vec<Digest>>> = Vec::new();
        let mut forecasts = Vec::new();
        for (id, node) in self.inner.graph.nodes() {
            let (forecast, stack) = match &node.op {
                Op::Scratch => (Forecast::Given, Some(Vec::new())),
                Op::Image(base) => {
                    (Forecast::Given, Some(base.layers.iter().map(|layer| layer.diff_id).collect()))
                }
                Op::Exec(exec) => self.foresee_exec(id, exec, &layers).await?,
                Op::Copy(copy) => self.foresee_copy(id, copy, &layers).await?,
                Op::Workdir(workdir) => self.foresee_workdir(id, workdir, &layers).await?,
            };
            layers.push(stack);
            forecasts.push((id, forecast));
        }
        Ok(forecasts)
    }

    async fn foresee_exec(
        &self,
        id: NodeId,
        exec: &Exec,
        layers: &[Option<Vec<Digest>>],
    ) -> Result<Foreseen> {
        let inputs = Op::Exec(Box::new(exec.clone())).inputs();
        let unknown = unknown(inputs.iter().copied(), layers);
        let below = match &layers[exec.input.position()] {
            Some(below) if unknown.is_empty() => below,
            _ => return Ok((Forecast::Unknown(Doubt::After(unknown)), None)),
        };
        let stacks: Vec<&[Digest]> =
            inputs[1..].iter().map(|input| layers[input.position()].as_deref().unwrap_or_default()).collect();
        let shown = shown(&stacks);
        let key = key::exec(exec, below, &shown, self.inner.around.epoch);
        let found = self.foresee_key(id, key, below).await?;
        if matches!(found.0, Forecast::Run(_)) {
            self.missed(id, self.exec_inputs(id, exec, below, &shown));
        }
        Ok(found)
    }

    async fn foresee_workdir(
        &self,
        id: NodeId,
        workdir: &WorkdirOp,
        layers: &[Option<Vec<Digest>>],
    ) -> Result<Foreseen> {
        let Some(below) = &layers[workdir.input.position()] else {
            return Ok((Forecast::Unknown(Doubt::After(vec![workdir.input])), None));
        };
        let key = key::workdir(workdir, below, self.inner.around.epoch);
        let found = self.foresee_key(id, key, below).await?;
        if matches!(found.0, Forecast::Run(_)) {
            self.missed(id, self.workdir_inputs(id, workdir, below));
        }
        Ok(found)
    }

    async fn foresee_copy(
        &self,
        id: NodeId,
        op: &CopyOp,
        layers: &[Option<Vec<Digest>>],
    ) -> Result<Foreseen> {
        // What is below a linked layer decides nothing but who its owners are, and where it lies.
        let needs_below = !op.link || names_owner(op);
        let sources = op.sources.iter().filter_map(|source| match source {
            CopySource::Node { node, .. } => Some(*node),
            _ => None,
        });
        let needed: Vec<NodeId> = sources.clone().chain(needs_below.then_some(op.input)).collect();
        let unknown = unknown(needed.into_iter(), layers);
        if !unknown.is_empty() {
            return Ok((Forecast::Unknown(Doubt::After(unknown)), None));
        }
        let below = layers[op.input.position()].clone();
        let mut stacks = sources.map(|node| layers[node.position()].clone());
        let mut origins = Vec::new();
        for source in &op.sources {
            let stack = match source {
                CopySource::Node { .. } => stacks.next().flatten(),
                _ => None,
            };
            origins.push(match self.origin(source, stack)? {
                Ok(origin) => origin,
                Err(Unfetched::Url(url)) => return Ok((Forecast::Unknown(Doubt::Fetch(url)), None)),
                Err(Unfetched::Git(remote)) => return Ok((Forecast::Unknown(Doubt::Ask(remote)), None)),
            });
        }
        let (solver, op_here) = (self.clone(), op.clone());
        let under = below.clone().unwrap_or_default();
        let prepared = task::blocking(move || solver.prepare(id, &op_here, &under, &origins)).await?;
        let Prepared { key, is_final, inputs } = prepared;
        match self.look_up(self.inner.graph.node(id), key).await? {
            Lookup::Known { record, from } => {
                self.note(id, Verdict::Hit { from: from.clone() }, Some(key));
                let stack = below.map(|mut below| {
                    below.push(record.diff_id);
                    below
                });
                Ok((Forecast::Hit { from }, stack))
            }
            Lookup::Unknown(Verdict::Miss) if !is_final => Ok((Forecast::Unknown(Doubt::Compare), None)),
            Lookup::Unknown(verdict) => {
                self.note(id, verdict.clone(), Some(key));
                if let Some(inputs) = inputs {
                    self.missed(id, inputs);
                }
                Ok((Forecast::Run(verdict), None))
            }
        }
    }

    /// The first key that is looked for: the content key, where that needs no look into a layer.
    fn prepare(&self, id: NodeId, op: &CopyOp, below: &[Digest], origins: &[Origin]) -> Result<Prepared> {
        let epoch = self.inner.around.epoch;
        let mut request = request(op, numeric_owner(&self.inner.around.store, op)?, epoch)?;
        let mut here = Vec::with_capacity(origins.len());
        for origin in origins {
            here.push(origin.select_here(op, &mut request)?);
        }
        if let Some(key) = early_key(op, below, origins, &here, epoch)? {
            return Ok(Prepared { key, is_final: false, inputs: None });
        }
        let mut digests = Vec::new();
        let mut all: Option<crate::copy::Selection<'_>> = None;
        for part in here.into_iter().flatten() {
            digests.push(part.digest(&request)?);
            match &mut all {
                None => all = Some(part),
                Some(all) => all.append(part),
            }
        }
        let key = key::copy(op, below, &digests, epoch);
        let inputs = self.copy_inputs(id, op, below, origins, all.as_ref(), &request)?;
        Ok(Prepared { key, is_final: true, inputs: Some(inputs) })
    }

    async fn foresee_key(&self, id: NodeId, key: Digest, below: &[Digest]) -> Result<Foreseen> {
        Ok(match self.look_up(self.inner.graph.node(id), key).await? {
            Lookup::Known { record, from } => {
                self.note(id, Verdict::Hit { from: from.clone() }, Some(key));
                (Forecast::Hit { from }, Some(below.iter().copied().chain([record.diff_id]).collect()))
            }
            Lookup::Unknown(verdict) => {
                self.note(id, verdict.clone(), Some(key));
                (Forecast::Run(verdict), None)
            }
        })
    }
}

/// The first key of a COPY, and what went into it.
struct Prepared {
    key: Digest,
    /// Whether a miss under it means that the step would run.
    is_final: bool,
    inputs: Option<crate::explain::Inputs>,
}

/// The nodes whose layers are not known, each once.
fn unknown(nodes: impl Iterator<Item = NodeId>, layers: &[Option<Vec<Digest>>]) -> Vec<NodeId> {
    let mut unknown: Vec<NodeId> = nodes.filter(|node| layers[node.position()].is_none()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

//! COPY, ADD and WORKDIR: finds the result under its key, or writes the layer. No mount, no privilege.

use std::path::PathBuf;
use std::sync::Arc;

use layer_store::layer::{Form, NewEntry};
use layer_store::{Digest, Store, View};
use tokio::runtime::Handle;

use super::exec::stacked;
use super::record::{self, StepRecord};
use super::sources::{Origin, early_key, names_owner, numeric_owner, request};
use super::{Solved, Solver, key};
use crate::copy::{self as files, Selection, Source};
use crate::error::Result;
use crate::event::Outcome;
use crate::graph::{CopyOp, Node, NodeId, Unpack, WorkdirOp};
use crate::task;
use crate::users;

impl Solver {
    pub(super) async fn copy(&self, id: NodeId, op: &CopyOp, inputs: &[Arc<Solved>]) -> Result<Solved> {
        let stacks: Vec<Vec<Digest>> = inputs[1..].iter().map(|input| input.layers.clone()).collect();
        let work = Work {
            solver: self.clone(),
            handle: Handle::current(),
            id,
            origins: self.origins(op, &stacks).await?,
            below: inputs[0].layers.clone(),
            op: op.clone(),
        };
        task::blocking(move || work.copy()).await
    }

    pub(super) async fn workdir(
        &self,
        id: NodeId,
        node: &Node,
        op: &WorkdirOp,
        inputs: &[Arc<Solved>],
    ) -> Result<Solved> {
        let inner = &self.inner;
        let below = inputs[0].layers.clone();
        let key = key::workdir(op, &below, inner.around.epoch);
        if let Some(known) = self.known(id, key).await? {
            return Ok(stacked(below, known, true));
        }
        // The directory has the time of its making: where two processes made one each, all that follows would be two.
        let store = inner.around.store.clone();
        let _lock = task::blocking(move || Ok(store.lock(record::SPACE, &key)?)).await?;
        if let Some(known) = self.known(id, key).await? {
            return Ok(stacked(below, known, true));
        }
        self.missed(id, self.workdir_inputs(id, op, &below));
        if self.form(id) == Form::Tree {
            self.commands_can_run().await?;
        }
        let progress = inner.progress.begin(&node.name);
        let view = inner.layers.view(&below).await?;
        let (store, form, epoch, op, name) =
            (inner.around.store.clone(), self.form(id), inner.around.epoch, op.clone(), node.name.clone());
        let solver = self.clone();
        let known = task::blocking(move || {
            let owner = match op.user.as_str() {
                "" => None,
                user => Some(users::chown(&store, &view, user)?),
            };
            let mtime = epoch.unwrap_or_else(|| jiff::Timestamp::now().as_second());
            let mut entries = files::workdir(&view, &op.path, owner, mtime)?;
            clamp(&mut entries, epoch);
            let diff_id = store.write_layer(entries, form)?;
            let known = StepRecord { diff_id, created: crate::image::now(), name, shared: false };
            solver.keep(id, &key, &known)?;
            Ok(known)
        })
        .await?;
        progress.finish(Outcome::Done);
        Ok(stacked(below, known, false))
    }

    /// A tree for a layer that a command will see, a tar for others.
    fn form(&self, id: NodeId) -> Form {
        if self.inner.seen_by_commands[id.position()] { Form::Tree } else { Form::Tar }
    }
}

/// One COPY on its own thread: selecting, hashing and writing block.
struct Work {
    solver: Solver,
    handle: Handle,
    id: NodeId,
    op: CopyOp,
    below: Vec<Digest>,
    origins: Vec<Origin>,
}

impl Work {
    fn copy(&self) -> Result<Solved> {
        let (op, epoch) = (&self.op, self.solver.inner.around.epoch);
        let mut request = request(op, numeric_owner(self.store(), op)?, epoch)?;
        let mut here = Vec::with_capacity(self.origins.len());
        for origin in &self.origins {
            here.push(origin.select_here(op, &mut request)?);
        }
        let early = early_key(op, &self.below, &self.origins, &here, epoch)?;
        if let Some(key) = early
            && let Some(known) = self.known(key)?
        {
            return Ok(stacked(self.below.clone(), known, true));
        }
        // From here on layers may have to be fetched.
        let mut view = None;
        if names_owner(op) {
            let names = self.view(&self.below)?;
            let text = op.chown.as_deref().unwrap_or_default();
            request.owner = Some(users::chown(self.store(), &names, text)?);
            view = Some(names).filter(|_| !op.link);
        }
        let views = self.views()?;
        let checkouts = self
            .origins
            .iter()
            .map(|origin| origin.checkout(self.store(), &self.solver.inner.around.secrets, &self.handle))
            .collect::<Result<Vec<_>>>()?;
        let mut digests = Vec::new();
        let mut selection: Option<Selection<'_>> = None;
        for (((origin, here), view), checkout) in self.origins.iter().zip(here).zip(&views).zip(&checkouts) {
            let part = match (here, origin, checkout) {
                (Some(part), ..) => part,
                (None, Origin::Stack(stack, paths), _) => {
                    request.sources.clone_from(paths);
                    request.unpack = false;
                    let part = files::select(Source::View(self.store(), view), &request)?;
                    // Files of a base image are read from its blobs, which may not be here.
                    self.handle.block_on(self.solver.inner.layers.bytes(stack))?;
                    part
                }
                (None, _, Some((context, _))) => {
                    request.sources.clear();
                    request.unpack = false;
                    files::select(Source::Checkout(context), &request)?
                }
                (None, _, None) => continue,
            };
            digests.push(part.digest(&request)?);
            match &mut selection {
                None => selection = Some(part),
                Some(all) => all.append(part),
            }
        }
        let key = key::copy(op, &self.below, &digests, epoch);
        if let Some(known) = self.found(&key, early.as_ref())? {
            return Ok(known);
        }
        let _lock = self.store().lock(record::SPACE, &key)?;
        if let Some(known) = self.found(&key, early.as_ref())? {
            return Ok(known);
        }
        self.solver.missed(
            self.id,
            self.solver.copy_inputs(self.id, op, &self.below, &self.origins, selection.as_ref(), &request)?,
        );
        if self.solver.form(self.id) == Form::Tree {
            self.handle.block_on(self.solver.commands_can_run())?;
        }
        let node = self.solver.inner.graph.node(self.id);
        let progress = self.solver.inner.progress.begin(&node.name);
        request.unpack = op.unpack == Unpack::Recognised;
        let diff_id = match self.write(selection.as_ref(), view, &request) {
            Ok(diff_id) => diff_id,
            Err(error) => {
                progress.finish(Outcome::Failed);
                return Err(error);
            }
        };
        let known =
            StepRecord { diff_id, created: crate::image::now(), name: node.name.clone(), shared: false };
        self.solver.keep(self.id, &key, &known)?;
        if let Some(early) = &early {
            self.solver.keep_also(self.id, early, &known)?;
        }
        progress.finish(Outcome::Done);
        Ok(stacked(self.below.clone(), known, false))
    }

    /// Writes the layer.
    fn write(
        &self,
        selection: Option<&Selection<'_>>,
        view: Option<View>,
        request: &files::Request,
    ) -> Result<Digest> {
        let view = match view {
            Some(view) => view,
            None if self.op.link => View::default(),
            None => self.view(&self.below)?,
        };
        let mut entries = match selection {
            Some(selection) => files::entries(self.store(), selection, &view, request)?,
            None => Vec::new(),
        };
        clamp(&mut entries, self.solver.inner.around.epoch);
        // Only trees can share files with what was made the last time.
        let form = self.solver.form(self.id);
        let place = if form == Form::Tree { self.place() } else { None };
        let last = place.and_then(|place| record::last_copy(self.store(), &place));
        let diff_id = self.store().write_layer_like(entries, form, last.as_ref())?;
        if let Some(selection) = selection {
            selection.verify()?;
        }
        if let Some(place) = place {
            record::keep_last_copy(self.store(), &place, &diff_id)?;
        }
        Ok(diff_id)
    }

    /// Where this step stands, if it copies from a directory: the step as it is written, and the directory.
    fn place(&self) -> Option<Digest> {
        let contexts = self.origins.iter().filter_map(|origin| match origin {
            Origin::Context(context, _) => context.path().canonicalize().ok(),
            _ => None,
        });
        let contexts: Vec<PathBuf> = contexts.collect();
        let name = &self.solver.inner.graph.node(self.id).name;
        (!contexts.is_empty()).then(|| key::place(name, &contexts))
    }

    fn known(&self, key: Digest) -> Result<Option<StepRecord>> {
        self.handle.block_on(self.solver.known(self.id, key))
    }

    /// The result under the content key. The early key leads to it from now on, too.
    fn found(&self, key: &Digest, early: Option<&Digest>) -> Result<Option<Solved>> {
        let Some(known) = self.known(*key)? else { return Ok(None) };
        if let Some(early) = early {
            self.solver.keep_also(self.id, early, &known)?;
        }
        Ok(Some(stacked(self.below.clone(), known, true)))
    }

    fn views(&self) -> Result<Vec<View>> {
        let view = |origin: &Origin| match origin {
            Origin::Stack(stack, _) => self.view(stack),
            _ => Ok(View::default()),
        };
        self.origins.iter().map(view).collect()
    }

    fn view(&self, layers: &[Digest]) -> Result<View> {
        self.handle.block_on(self.solver.inner.layers.view(layers))
    }

    fn store(&self) -> &Store {
        &self.solver.inner.around.store
    }
}

/// No time of a new layer is after the epoch of the build.
fn clamp(entries: &mut [NewEntry], epoch: Option<i64>) {
    let Some(epoch) = epoch else { return };
    for entry in entries {
        entry.mtime = entry.mtime.min(epoch);
    }
}

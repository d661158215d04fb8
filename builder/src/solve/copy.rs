//! COPY, ADD and WORKDIR: finds the result under its key, or writes the layer. No mount, no privilege.

use std::sync::Arc;

use layer_store::layer::{Form, NewEntry};
use layer_store::store::Scratch;
use layer_store::{Digest, Store, View};
use percent_encoding::percent_decode_str;
use tokio::runtime::Handle;

use super::exec::stacked;
use super::record::{self, StepRecord};
use super::{Layers, Solved, Solver, key};
use crate::context::LocalContext;
use crate::context::git::GitSource;
use crate::copy::{self as files, Fetched, ModeChange, Request, Source};
use crate::error::{Error, Result};
use crate::event::Outcome;
use crate::graph::{CopyOp, CopySource, Node, NodeId, Unpack, WorkdirOp};
use crate::users;

impl Solver {
    pub(super) async fn copy(
        &self,
        id: NodeId,
        node: &Node,
        op: &CopyOp,
        inputs: &[Arc<Solved>],
    ) -> Result<Solved> {
        let below = inputs[0].layers.clone();
        let mut stacks = inputs[1..].iter();
        let mut sources = Vec::new();
        for source in &op.sources {
            sources.push(match source {
                CopySource::Context { name, paths } => {
                    let context = self.inner.around.contexts.get(name).cloned().ok_or_else(|| {
                        Error::invalid(
                            "this build has no context directory, so there is nothing to copy from",
                        )
                    })?;
                    Origin::Context(context, paths.clone())
                }
                CopySource::Node { paths, .. } => {
                    let stack = stacks.next().map(|solved| solved.layers.clone()).unwrap_or_default();
                    Origin::Stack(stack, paths.clone())
                }
                CopySource::Url { url, checksum, unpack } => {
                    let fetched = self.fetch(url, *checksum).await?;
                    Origin::Fetched(fetched, *unpack)
                }
                CopySource::Git(git) => Origin::Git(git.clone(), git.commit().await?),
                CopySource::Archive(digest) => {
                    let spooled = self.inner.around.archives.get(digest).cloned();
                    let spooled =
                        spooled.ok_or_else(|| Error::Internal(format!("archive {digest} is not spooled")))?;
                    Origin::Fetched(spooled, true)
                }
                CopySource::Inline(files) => Origin::Inline(
                    files.iter().map(|file| (file.name.clone(), file.content.clone().into_bytes())).collect(),
                ),
            });
        }
        let work = Work {
            store: self.inner.around.store.clone(),
            layers: self.inner.layers.clone(),
            handle: Handle::current(),
            form: self.form(id),
            epoch: self.inner.around.epoch,
            name: node.name.clone(),
            no_cache: node.no_cache,
            solver: self.clone(),
        };
        let solver = self.clone();
        let op = op.clone();
        let name = node.name.clone();
        Self::blocking(move || {
            let begin = || solver.inner.progress.begin(&name);
            let known = |_: &StepRecord| solver.inner.progress.known(&name);
            work.copy(&op, below, &sources, &begin, &known)
        })
        .await
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
        if let Some(known) = self.known(node, key).await? {
            return Ok(stacked(below, known, true));
        }
        if self.form(id) == Form::Tree {
            self.commands_can_run().await?;
        }
        let progress = inner.progress.begin(&node.name);
        let view = inner.layers.view(&below).await?;
        let (store, form, epoch, op, name) =
            (inner.around.store.clone(), self.form(id), inner.around.epoch, op.clone(), node.name.clone());
        let known = Self::blocking(move || {
            let owner = match op.user.as_str() {
                "" => None,
                user => Some(users::chown(&store, &view, user)?),
            };
            let mtime = epoch.unwrap_or_else(|| jiff::Timestamp::now().as_second());
            let mut entries = files::workdir(&view, &op.path, owner, mtime)?;
            clamp(&mut entries, epoch);
            let diff_id = store.write_layer(entries, form)?;
            let known = StepRecord { diff_id, created: crate::image::now(), name };
            record::keep(&store, &key, &known)?;
            Ok(known)
        })
        .await?;
        progress.finish(Outcome::Done);
        Ok(stacked(below, known, false))
    }

    /// Fetches a file, and checks it.
    async fn fetch(&self, url: &str, checksum: Option<Digest>) -> Result<Fetched> {
        let around = &self.inner.around;
        let store = around.store.clone();
        let scratch = Self::blocking(move || Ok(store.scratch()?)).await?;
        let download = around.client.download(url, scratch.path(), None).await?;
        let download = download.ok_or_else(|| Error::Internal("an unasked-for 304".to_owned()))?;
        if let Some(expected) = checksum.filter(|expected| *expected != download.digest) {
            return Err(Error::invalid(format!(
                "`{url}` is {}, but `--checksum` says {expected}",
                download.digest
            )));
        }
        Ok(Fetched {
            name: name_of(url),
            mtime: download.version.modified().unwrap_or(0),
            file: download.file,
            size: download.size,
            digest: download.digest,
        })
    }

    /// A tree for a layer that a command will see, a tar for others.
    fn form(&self, id: NodeId) -> Form {
        if self.inner.seen_by_commands[id.position()] { Form::Tree } else { Form::Tar }
    }
}

/// Where files come from, owned.
enum Origin {
    Context(Arc<LocalContext>, Vec<String>),
    Stack(Vec<Digest>, Vec<String>),
    Inline(Vec<(String, Vec<u8>)>),
    Fetched(Fetched, bool),
    Git(GitSource, String),
}

/// One COPY on its own thread: selecting, hashing and writing block.
struct Work {
    store: Arc<Store>,
    layers: Layers,
    handle: Handle,
    form: Form,
    epoch: Option<i64>,
    name: String,
    no_cache: bool,
    solver: Solver,
}

impl Work {
    fn copy(
        &self,
        op: &CopyOp,
        below: Vec<Digest>,
        origins: &[Origin],
        begin: &dyn Fn() -> super::progress::StepProgress,
        on_hit: &dyn Fn(&StepRecord),
    ) -> Result<Solved> {
        let found = |key: &Digest| -> Result<Option<StepRecord>> {
            if self.no_cache { Ok(None) } else { record::find(&self.store, key) }
        };
        // What is only named by its stack of layers can be found without looking at a file.
        let definition = self.definition_key(op, &below, origins);
        if let Some(key) = &definition
            && let Some(known) = found(key)?
        {
            on_hit(&known);
            return Ok(stacked(below, known, true));
        }
        let mut request = Request {
            destination: op.destination.clone(),
            cwd: op.cwd.clone(),
            mode: op.chmod.as_deref().map(parse_mode).transpose()?,
            parents: op.parents,
            exclude: op.exclude.clone(),
            mtime: self.epoch,
            ..Request::default()
        };
        let destination = |this: &Self| -> Result<View> {
            if op.link { Ok(View::default()) } else { this.handle.block_on(this.layers.view(&below)) }
        };
        // Names of owners stand in the image; numbers and nothing need no look into it.
        let mut view = None;
        if let Some(text) = &op.chown {
            let names = if is_numeric(text) {
                View::default()
            } else {
                let below_view = self.handle.block_on(self.layers.view(&below))?;
                if !op.link {
                    view = Some(below_view.clone());
                }
                below_view
            };
            request.owner = Some(users::chown(&self.store, &names, text)?);
        }
        let views = origins
            .iter()
            .map(|origin| match origin {
                Origin::Stack(stack, _) => self.handle.block_on(self.layers.view(stack)),
                _ => Ok(View::default()),
            })
            .collect::<Result<Vec<_>>>()?;
        let checkouts = origins.iter().map(|origin| self.checkout(origin)).collect::<Result<Vec<_>>>()?;
        let mut selection: Option<files::Selection<'_>> = None;
        let mut digests = Vec::new();
        for ((origin, origin_view), checkout) in origins.iter().zip(&views).zip(&checkouts) {
            let (source, paths, unpack) = match origin {
                Origin::Context(context, paths) => {
                    (Source::Context(context.as_ref()), paths.clone(), op.unpack == Unpack::Recognised)
                }
                Origin::Stack(_, paths) => (Source::View(&self.store, origin_view), paths.clone(), false),
                Origin::Inline(inline) => (Source::Inline(inline.clone()), Vec::new(), false),
                Origin::Fetched(fetched, unpack) => (Source::Fetched(fetched.clone()), Vec::new(), *unpack),
                Origin::Git(..) => match checkout {
                    Some((context, _)) => (Source::Checkout(context), Vec::new(), false),
                    None => continue,
                },
            };
            request.sources = paths;
            request.unpack = unpack;
            let part = files::select(source, &request)?;
            if let Origin::Stack(stack, _) = origin {
                // Files of a base image are read from its blobs, which may not be here.
                self.handle.block_on(self.layers.bytes(stack))?;
            }
            digests.push(part.digest(&request)?);
            match &mut selection {
                None => selection = Some(part),
                Some(all) => all.append(part),
            }
        }
        let key = key::copy(op, &below, &digests, self.epoch);
        let hit = |known: StepRecord| -> Result<Solved> {
            if let Some(definition) = &definition {
                record::keep(&self.store, definition, &known)?;
            }
            on_hit(&known);
            Ok(stacked(below.clone(), known, true))
        };
        if let Some(known) = found(&key)? {
            return hit(known);
        }
        let _lock = self.store.lock(record::SPACE, &key)?;
        if let Some(known) = found(&key)? {
            return hit(known);
        }
        if self.form == Form::Tree {
            self.handle.block_on(self.solver.commands_can_run())?;
        }
        let progress = begin();
        let result = (|| {
            let view = match view {
                Some(view) => view,
                None => destination(self)?,
            };
            request.unpack = op.unpack == Unpack::Recognised;
            let mut entries = match &selection {
                Some(selection) => files::entries(&self.store, selection, &view, &request)?,
                None => Vec::new(),
            };
            clamp(&mut entries, self.epoch);
            let diff_id = self.store.write_layer(entries, self.form)?;
            if let Some(selection) = &selection {
                selection.verify()?;
            }
            Ok(diff_id)
        })();
        let diff_id = match result {
            Ok(diff_id) => diff_id,
            Err(error) => {
                progress.finish(Outcome::Failed);
                return Err(error);
            }
        };
        let known = StepRecord { diff_id, created: crate::image::now(), name: self.name.clone() };
        record::keep(&self.store, &key, &known)?;
        if let Some(definition) = &definition {
            record::keep(&self.store, definition, &known)?;
        }
        progress.finish(Outcome::Done);
        Ok(stacked(below, known, false))
    }

    /// The files of a git source, in a directory that goes with the scratch.
    fn checkout(&self, origin: &Origin) -> Result<Option<(LocalContext, Scratch)>> {
        let Origin::Git(git, commit) = origin else { return Ok(None) };
        let scratch = self.store.scratch()?;
        let directory = self.handle.block_on(git.checkout(commit, scratch.path()))?;
        // The subdirectory comes from outside: it is resolved inside the checkout.
        let context = LocalContext::open_below(&directory, &git.subdirectory)?;
        Ok(Some((context, scratch)))
    }

    /// The key by stacks and patterns, if no source needs a look at its files.
    fn definition_key(&self, op: &CopyOp, below: &[Digest], origins: &[Origin]) -> Option<Digest> {
        let digests = origins
            .iter()
            .map(|origin| match origin {
                Origin::Stack(stack, paths) => Some(key::source_definition(stack, paths, &op.exclude)),
                Origin::Git(git, commit) => Some(git.key(commit)),
                Origin::Context(..) | Origin::Inline(_) | Origin::Fetched(..) => None,
            })
            .collect::<Option<Vec<_>>>()?;
        Some(key::copy(op, below, &digests, self.epoch))
    }
}

/// The name of what is fetched: the last part of the URL's path, whatever the server calls it.
fn name_of(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path =
        path.split_once("://").map_or(path, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    // As Go's `path.Base`: slashes at the end do not count.
    match decoded.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

fn parse_mode(text: &str) -> Result<ModeChange> {
    text.parse().map_err(|error| Error::invalid(format!("{error}")))
}

/// Whether an owner is given by numbers alone, so that no file of the image is needed.
fn is_numeric(owner: &str) -> bool {
    owner.split(':').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// No time of a new layer is after the epoch of the build.
fn clamp(entries: &mut [NewEntry], epoch: Option<i64>) {
    let Some(epoch) = epoch else { return };
    for entry in entries {
        entry.mtime = entry.mtime.min(epoch);
    }
}

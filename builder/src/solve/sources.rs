//! Where the files of a COPY come from, and the keys that they give.

use std::sync::{Arc, PoisonError};

use layer_store::store::Scratch;
use layer_store::{Digest, Store};
use percent_encoding::percent_decode_str;

use super::{Solver, key};
use crate::context::LocalContext;
use crate::context::authorization::Authorization;
use crate::context::git::GitSource;
use crate::copy::{self as files, Fetched, ModeChange, Owner, Request, Selection, Source};
use crate::error::{Error, Result};
use crate::graph::{CopyOp, CopySource, Unpack};
use crate::secret::Secrets;
use crate::task;
use crate::users;

/// Where files come from, owned.
pub(super) enum Origin {
    Context(Arc<LocalContext>, Vec<String>),
    Stack(Vec<Digest>, Vec<String>),
    Inline(Vec<(String, Vec<u8>)>),
    Fetched(Fetched, bool),
    Git(GitSource, String),
}

/// What has to happen before a source is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfetched {
    /// A file has to be fetched.
    Url(String),
    /// A repository has to be asked for its commit.
    Git(String),
}

impl Solver {
    /// The origin of one source, with the stack of its node if it is one; what would have to be fetched or asked for
    /// is only named.
    pub(super) fn origin(
        &self,
        source: &CopySource,
        stack: Option<Vec<Digest>>,
    ) -> Result<std::result::Result<Origin, Unfetched>> {
        Ok(Ok(match source {
            CopySource::Context { name, paths } => {
                let context = self.inner.around.contexts.get(name).cloned().ok_or_else(|| {
                    Error::invalid("this build has no context directory, so there is nothing to copy from")
                })?;
                Origin::Context(context, paths.clone())
            }
            CopySource::Node { paths, .. } => Origin::Stack(stack.unwrap_or_default(), paths.clone()),
            CopySource::Url { url, .. } => return Ok(Err(Unfetched::Url(url.clone()))),
            CopySource::Git(git) => match git.pinned() {
                Some(commit) => Origin::Git(git.clone(), commit.to_owned()),
                None => return Ok(Err(Unfetched::Git(git.remote.clone()))),
            },
            CopySource::Archive(digest) => {
                let spooled = self.inner.around.archives.get(digest).cloned();
                let spooled =
                    spooled.ok_or_else(|| Error::Internal(format!("archive {digest} is not spooled")))?;
                Origin::Fetched(spooled, true)
            }
            CopySource::Inline(files) => Origin::Inline(
                files.iter().map(|file| (file.name.clone(), file.content.clone().into_bytes())).collect(),
            ),
        }))
    }

    /// The origins of all sources of a COPY. Fetches files by URL, and asks repositories for their commits. `stacks`
    /// has the layers of each source that is a node, in order.
    pub(super) async fn origins(&self, op: &CopyOp, stacks: &[Vec<Digest>]) -> Result<Vec<Origin>> {
        let mut stacks = stacks.iter();
        let mut origins = Vec::with_capacity(op.sources.len());
        for source in &op.sources {
            let stack = match source {
                CopySource::Node { .. } => stacks.next().cloned(),
                _ => None,
            };
            origins.push(match (self.origin(source, stack)?, source) {
                (Ok(origin), _) => origin,
                (Err(_), CopySource::Url { url, checksum, unpack }) => {
                    let fetched = self.fetch(url, *checksum).await?;
                    self.note_version(source, fetched.digest.hex());
                    Origin::Fetched(fetched, *unpack)
                }
                (Err(_), CopySource::Git(git)) => {
                    let authorization = Authorization::of(&git.remote, &self.inner.around.secrets)?;
                    let commit = git.commit(authorization.as_ref()).await?;
                    self.note_version(source, commit.clone());
                    Origin::Git(git.clone(), commit)
                }
                (Err(Unfetched::Url(what) | Unfetched::Git(what)), _) => {
                    return Err(Error::Internal(format!("`{what}` cannot be fetched")));
                }
            });
        }
        Ok(origins)
    }

    /// Remembers which version of a source was used, for provenance.
    fn note_version(&self, source: &CopySource, version: String) {
        let mut fetched = self.inner.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.insert(source.clone(), version);
    }

    /// Fetches a file, and checks it.
    async fn fetch(&self, url: &str, checksum: Option<Digest>) -> Result<Fetched> {
        let around = &self.inner.around;
        let store = around.store.clone();
        let scratch = task::blocking(move || Ok(store.scratch()?)).await?;
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
}

impl Origin {
    /// What is selected of files that are here before anything else is known; `None` for files in layers and
    /// repositories.
    pub(super) fn select_here(&self, op: &CopyOp, request: &mut Request) -> Result<Option<Selection<'_>>> {
        let (source, paths, unpack) = match self {
            Self::Context(context, paths) => {
                (Source::Context(context.as_ref()), paths.clone(), op.unpack == Unpack::Recognised)
            }
            Self::Inline(inline) => (Source::Inline(inline.clone()), Vec::new(), false),
            Self::Fetched(fetched, unpack) => (Source::Fetched(fetched.clone()), Vec::new(), *unpack),
            Self::Stack(..) | Self::Git(..) => return Ok(None),
        };
        request.sources = paths;
        request.unpack = unpack;
        Ok(Some(files::select(source, request)?))
    }

    /// The files of a git source, in a directory that goes with the scratch.
    pub(super) fn checkout(
        &self,
        store: &Store,
        secrets: &Secrets,
        handle: &tokio::runtime::Handle,
    ) -> Result<Option<(LocalContext, Scratch)>> {
        let Self::Git(git, commit) = self else { return Ok(None) };
        let scratch = store.scratch()?;
        let authorization = Authorization::of(&git.remote, secrets)?;
        let directory = handle.block_on(git.checkout(commit, scratch.path(), authorization.as_ref()))?;
        // The subdirectory comes from outside: it is resolved inside the checkout.
        let context = LocalContext::open_below(&directory, &git.subdirectory)?;
        Ok(Some((context, scratch)))
    }
}

/// What the instruction asks for, but for its sources.
pub(super) fn request(op: &CopyOp, owner: Option<Owner>, epoch: Option<i64>) -> Result<Request> {
    let parse = |text: &str| -> Result<ModeChange> {
        text.parse().map_err(|error| Error::invalid(format!("{error}")))
    };
    Ok(Request {
        destination: op.destination.clone(),
        cwd: op.cwd.clone(),
        mode: op.chmod.as_deref().map(parse).transpose()?,
        owner,
        parents: op.parents,
        along_links: op.along_links,
        exclude: op.exclude.clone(),
        mtime: epoch,
        ..Request::default()
    })
}

/// Whether the owner is a name, for which the image has to be looked into.
pub(super) fn names_owner(op: &CopyOp) -> bool {
    op.chown.as_deref().is_some_and(|text| !users::is_numeric(text))
}

/// The owner that is given by numbers.
pub(super) fn numeric_owner(store: &Store, op: &CopyOp) -> Result<Option<Owner>> {
    let numbers = op.chown.as_deref().filter(|_| !names_owner(op));
    Ok(numbers.map(|text| users::chown(store, &layer_store::View::default(), text)).transpose()?)
}

/// The key that needs no look into a layer or repository: those count by name. `None` where the content key needs none
/// either. `here` has what is selected of each origin that is here.
pub(super) fn early_key(
    op: &CopyOp,
    below: &[Digest],
    origins: &[Origin],
    here: &[Option<Selection<'_>>],
    epoch: Option<i64>,
) -> Result<Option<Digest>> {
    let by_name = names_owner(op);
    if !by_name && here.iter().all(Option::is_some) {
        return Ok(None);
    }
    let request = request(op, None, epoch)?;
    let mut digests = Vec::with_capacity(origins.len() + 1);
    for (origin, here) in origins.iter().zip(here) {
        digests.push(match (origin, here) {
            (_, Some(selection)) => selection.digest(&request)?,
            (Origin::Stack(stack, paths), None) => key::source_definition(stack, paths, &op.exclude),
            (Origin::Git(git, commit), None) => key::repository(git.key(commit), &op.exclude),
            (_, None) => return Ok(None),
        });
    }
    if by_name {
        // Who has the name is written in the layers below, under `--link` too.
        digests.push(key::chain(below));
    }
    Ok(Some(key::copy(op, below, &digests, epoch)))
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

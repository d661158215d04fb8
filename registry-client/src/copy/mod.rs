//! Images from one place to another: one engine walks the graph of descriptors for every pair of places.
//!
//! A [`Tree`] is read first (all manifests, no layer), then [`Client::plan`] says what would move, or [`Client::copy`]
//! moves it: what is there stays, what a sibling repository has is mounted, and the rest streams from source to target,
//! verified on the way, with nothing but a few pieces in memory. A cut is gone on from at both ends.

mod local;
mod plan;
mod relay;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use layer_store::{Blobs, Descriptor, Digest, Manifest, Store};

use crate::client::Client;
use crate::error::Error;
use crate::push::{PushRequest, Pushed};
use crate::reference::Reference;
use crate::report::Transfer;
use crate::sink::blocking;

pub(crate) use plan::sibling;
pub use plan::{Plan, PlannedBlob, PlannedManifest, Step};
pub(crate) use relay::Relay;
pub(crate) use tree::blobs_of;
pub use tree::{Platforms, Tree};

/// A place that has manifests and blobs by digest.
#[derive(Clone)]
pub enum Repository {
    /// One repository of a registry; tag and digest of the reference do not matter.
    Remote(Reference),
    /// A directory of blobs on this machine.
    Local(Arc<dyn Blobs>),
}

/// Where the parts of an image come from: each is taken from the first place that has it.
#[derive(Clone, Default)]
pub struct Supply {
    /// Places that may have any part, nearest first.
    pub repositories: Vec<Repository>,
    /// Repositories that are known to have certain blobs.
    pub origins: BTreeMap<Digest, Reference>,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs that moved.
    pub moved: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Blobs that the registry took from another repository of its own.
    pub mounted: usize,
    /// Blobs that were there already.
    pub skipped: usize,
}

impl From<Repository> for Supply {
    fn from(repository: Repository) -> Self {
        Self { repositories: vec![repository], origins: BTreeMap::new() }
    }
}

impl Client {
    /// Copies a tree to `target`. In a registry its last manifest gets the tag of the reference, if that has one; a
    /// directory of blobs gets the manifests as blobs, and whoever keeps names there writes them afterwards. `memory`
    /// keeps what is learnt about places and how far uploads are.
    ///
    /// Safe to repeat: what a copy that failed has moved is not moved again.
    pub async fn copy(
        &self,
        tree: &Tree,
        supply: &Supply,
        target: &Repository,
        memory: &Arc<Store>,
    ) -> Result<Copied, Error> {
        match target {
            Repository::Remote(reference) => {
                let push = PushRequest {
                    manifests: tree.manifests().to_vec(),
                    origins: supply.origins.clone(),
                    sources: supply.repositories.clone(),
                };
                Ok(self.push(reference, memory, push).await?.into())
            }
            Repository::Local(blobs) => self.copy_here(tree, supply, blobs).await,
        }
    }

    async fn copy_here(
        &self,
        tree: &Tree,
        supply: &Supply,
        target: &Arc<dyn Blobs>,
    ) -> Result<Copied, Error> {
        let wanted = tree.blobs();
        let moved = try_join_all(wanted.iter().map(|blob| self.bring(blob, supply, target))).await?;
        let mut copied = Copied::default();
        for (blob, has_moved) in wanted.iter().zip(moved) {
            if has_moved {
                copied.moved += 1;
                copied.bytes += blob.size;
            } else {
                copied.skipped += 1;
            }
        }
        for manifest in tree.manifests() {
            let (target, raw) = (Arc::clone(target), manifest.raw.clone());
            blocking(move || target.put_blob(&raw).map(drop)).await?;
        }
        Ok(copied)
    }

    /// One blob to this machine; whether it had to move.
    async fn bring(
        &self,
        blob: &Descriptor,
        supply: &Supply,
        target: &Arc<dyn Blobs>,
    ) -> Result<bool, Error> {
        let Descriptor { digest, size: total, .. } = *blob;
        if size_here(target, digest).await? == Some(total) {
            self.transport.reporter.transfer(Transfer::Skipped { digest, total });
            return Ok(false);
        }
        let mut failure = None;
        for repository in supply.places(digest) {
            let result = match &repository {
                Repository::Local(blobs) if size_here(blobs, digest).await? == Some(total) => {
                    self.copy_file(blobs, blob, target).await
                }
                Repository::Local(_) => continue,
                Repository::Remote(reference) => self.fetch(reference, blob, target, |_| {}).await,
            };
            match result {
                Ok(()) => return Ok(true),
                Err(error) if error.allows_fallback() => failure = failure.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or(Error::NowhereToBeHad { what: "blob", digest }))
    }

    /// A manifest from the first place that has it.
    pub(crate) async fn manifest_from(
        &self,
        repositories: &[Repository],
        descriptor: &Descriptor,
    ) -> Result<Manifest, Error> {
        let mut failure = None;
        for repository in repositories {
            match repository {
                Repository::Local(blobs) => {
                    let (blobs, one) = (Arc::clone(blobs), descriptor.clone());
                    let found = blocking(move || match blobs.blob_size(&one.digest)? {
                        Some(_) => {
                            let raw = blobs.read_blob(&one.digest, tree::LARGEST_MANIFEST)?;
                            Manifest::parse(raw, Some(&one.media_type)).map(Some)
                        }
                        None => Ok(None),
                    });
                    if let Some(manifest) = found.await? {
                        return Ok(manifest);
                    }
                }
                Repository::Remote(reference) => {
                    match self.manifest(&reference.with_digest(descriptor.digest)).await {
                        Ok(manifest) => return Ok(manifest),
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
            }
        }
        Err(failure.unwrap_or(Error::NowhereToBeHad { what: "manifest", digest: descriptor.digest }))
    }

    /// A small blob of at most `limit` bytes, verified, from the first place that has it.
    pub async fn small_blob(&self, supply: &Supply, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let mut failure = None;
        for repository in supply.places(blob.digest) {
            match repository {
                Repository::Local(blobs) => {
                    let digest = blob.digest;
                    let found = blocking(move || match blobs.blob_size(&digest)? {
                        Some(_) => blobs.read_blob(&digest, limit).map(Some),
                        None => Ok(None),
                    });
                    if let Some(bytes) = found.await? {
                        return Ok(bytes);
                    }
                }
                Repository::Remote(reference) => match self.blob(&reference, blob, limit).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => failure = failure.or(Some(error)),
                },
            }
        }
        Err(failure.unwrap_or(Error::NowhereToBeHad { what: "blob", digest: blob.digest }))
    }
}

impl Supply {
    /// Where a blob may be, in order.
    fn places(&self, digest: Digest) -> impl Iterator<Item = Repository> + use<'_> {
        let origin = self.origins.get(&digest).cloned().map(Repository::Remote);
        self.repositories.iter().cloned().chain(origin)
    }
}

impl From<Pushed> for Copied {
    fn from(pushed: Pushed) -> Self {
        Self {
            moved: pushed.uploads,
            bytes: pushed.uploaded,
            mounted: pushed.mounted,
            skipped: pushed.skipped,
        }
    }
}

/// The size of a blob on this machine.
async fn size_here(blobs: &Arc<dyn Blobs>, digest: Digest) -> Result<Option<u64>, Error> {
    let blobs = Arc::clone(blobs);
    blocking(move || blobs.blob_size(&digest)).await
}

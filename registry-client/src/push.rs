//! Images to a registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use layer_store::{Blobs, Descriptor, Digest, Manifest, Store};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::auth::scope::Scopes;
use crate::client::{Client, place};
use crate::copy::{self, Relay, Repository, Supply, blobs_of};
use crate::error::{Error, Operation};
use crate::hosts::Endpoint;
use crate::known;
use crate::reference::Reference;
use crate::report::{Direction, Transfer};
use crate::sink::blocking;
use crate::transport::{Body, Call, Content, LocalContent};
use crate::upload::Upload;

/// What is pushed.
#[derive(Clone, Default)]
pub struct PushRequest {
    /// Manifests, children before the indexes that name them. The last one gets the tag.
    pub manifests: Vec<Manifest>,
    /// Where blobs are known to exist: mounted from there when it is the same registry, taken from there when they are
    /// nowhere on this machine.
    pub origins: BTreeMap<Digest, Reference>,
    /// Places beside the store that may have any of the blobs, nearest first.
    pub sources: Vec<Repository>,
}

/// What a push did.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The reference, with the digest of the last manifest.
    pub reference: Reference,
    /// The last manifest.
    pub descriptor: Descriptor,
    /// Bytes of blobs that were uploaded.
    pub uploaded: u64,
    /// Blobs that were uploaded.
    pub uploads: usize,
    /// Blobs that the registry took from another repository of its own.
    pub mounted: usize,
    /// Blobs that were there already.
    pub skipped: usize,
}

/// What became of one blob.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Uploaded(u64),
    Mounted,
    Skipped,
}

impl Client {
    /// Pushes blobs that the registry lacks, then the manifests in order, the last one under the reference's tag. A
    /// registry that has the last manifest is sent nothing but the tag: two requests. Otherwise each new blob costs three
    /// (is it there, a session, the bytes), or one where it can be mounted.
    ///
    /// Nothing is visible under the tag before everything is there. Safe to repeat after a failure.
    pub async fn push(
        &self,
        reference: &Reference,
        store: &Arc<Store>,
        push: PushRequest,
    ) -> Result<Pushed, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let Some((last, children)) = push.manifests.split_last() else {
            return Err(Error::NothingToPush { reference: reference.familiar(), digest: Digest::of(b"") });
        };
        let endpoint = &Endpoint { has_alternatives: false, ..plan.for_push(reference)?.clone() };
        let scopes = Scopes::push(&endpoint.repository);
        let mut pushed = Pushed {
            reference: reference.with_digest(last.digest()),
            descriptor: last.descriptor(),
            uploaded: 0,
            uploads: 0,
            mounted: 0,
            skipped: 0,
        };
        let is_there = self.has_manifest(endpoint, reference, last, &scopes).await?;
        let blobs = blobs_of(push.manifests.iter());
        let supply = Supply { repositories: push.sources, origins: push.origins };
        if is_there {
            pushed.skipped = blobs.len();
            for blob in &blobs {
                self.transport.reporter.transfer(Transfer::Skipped { digest: blob.digest, total: blob.size });
            }
            if reference.tag().is_some() {
                self.put_manifest(endpoint, reference, last, reference.tag()).await?;
            }
            known::remember(store, reference, blobs.iter().map(|blob| blob.digest).collect()).await?;
            return Ok(pushed);
        }
        let there =
            try_join_all(children.iter().map(|child| self.has_manifest(endpoint, reference, child, &scopes)))
                .await?;
        let missing: Vec<&Manifest> =
            children.iter().zip(there).filter_map(|(child, is_there)| (!is_there).then_some(child)).collect();
        let wanted = blobs_of(missing.iter().copied().chain([last]));
        let outcomes =
            try_join_all(wanted.iter().map(|blob| self.push_blob(endpoint, reference, store, blob, &supply)))
                .await?;
        for outcome in outcomes {
            match outcome {
                Outcome::Uploaded(bytes) => {
                    pushed.uploads += 1;
                    pushed.uploaded += bytes;
                }
                Outcome::Mounted => pushed.mounted += 1,
                Outcome::Skipped => pushed.skipped += 1,
            }
        }
        for child in missing {
            self.put_manifest(endpoint, reference, child, None).await?;
        }
        self.put_manifest(endpoint, reference, last, reference.tag()).await?;
        known::remember(store, reference, blobs.iter().map(|blob| blob.digest).collect()).await?;
        Ok(pushed)
    }

    pub(crate) async fn has_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        manifest: &Manifest,
        scopes: &Scopes,
    ) -> Result<bool, Error> {
        Ok(self.head_at(endpoint, &reference.with_digest(manifest.digest()), scopes).await?.is_some())
    }

    pub(crate) async fn push_blob(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        store: &Arc<Store>,
        blob: &Descriptor,
        supply: &Supply,
    ) -> Result<Outcome, Error> {
        let permit = self.uploads.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let Descriptor { digest, size: total, .. } = *blob;
        let reporter = &self.transport.reporter;
        let places = self.places(supply, digest, store).await?;
        let upload = Upload { client: self, endpoint, reference, memory: store, blob };
        let session = match copy::sibling(&places, reference) {
            // One request finds out whether the repository has it already, too.
            Some(sibling) => match upload.mount(sibling).await? {
                crate::upload::Mount::Done => {
                    let from = sibling.repository().to_owned();
                    reporter.transfer(Transfer::Mounted { digest, from });
                    return Ok(Outcome::Mounted);
                }
                crate::upload::Mount::Session(session) => session,
            },
            None => None,
        };
        if session.is_none() && upload.is_there().await? {
            reporter.transfer(Transfer::Skipped { digest, total });
            return Ok(Outcome::Skipped);
        }
        let content = self.content(reference, store, blob, supply, &places).await?;
        let host = endpoint.authority.clone();
        reporter.transfer(Transfer::Started { digest, total, direction: Direction::Upload, host });
        upload.send(session, &content).await?;
        drop(permit);
        reporter.transfer(Transfer::Finished { digest });
        Ok(Outcome::Uploaded(total))
    }

    /// Where the bytes of a blob are: in the store, in another directory of this machine, or at a registry, from which
    /// they pass through.
    async fn content(
        &self,
        target: &Reference,
        store: &Arc<Store>,
        blob: &Descriptor,
        supply: &Supply,
        places: &[Reference],
    ) -> Result<Arc<dyn Content>, Error> {
        let store: Arc<dyn Blobs> = store.clone();
        let here = supply.repositories.iter().filter_map(|one| match one {
            Repository::Local(blobs) => Some(Arc::clone(blobs)),
            Repository::Remote(_) => None,
        });
        let digest = blob.digest;
        for blobs in std::iter::once(store).chain(here) {
            let asked = Arc::clone(&blobs);
            if blocking(move || asked.blob_size(&digest)).await? == Some(blob.size) {
                return Ok(Arc::new(LocalContent { blobs, digest }));
            }
        }
        let origin = places.iter().find(|place| place.name() != target.name());
        let origin = origin.ok_or_else(|| Error::NothingToPush { reference: target.familiar(), digest })?;
        Ok(Arc::new(Relay::new(&self.transport, origin, blob)))
    }

    /// Puts a blob of the store into the reference's repository, unless it is there or can be mounted; whether bytes moved.
    pub async fn put_blob(
        &self,
        reference: &Reference,
        store: &Arc<Store>,
        blob: &Descriptor,
    ) -> Result<bool, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let endpoint = &Endpoint { has_alternatives: false, ..plan.for_push(reference)?.clone() };
        let outcome = self.push_blob(endpoint, reference, store, blob, &Supply::default()).await?;
        known::remember(store, reference, vec![blob.digest]).await?;
        Ok(matches!(outcome, Outcome::Uploaded(_)))
    }

    /// Whether the registry says that it lists the manifest among those that refer to its subject.
    pub(crate) async fn put_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        manifest: &Manifest,
        tag: Option<&str>,
    ) -> Result<bool, Error> {
        let digest = manifest.digest();
        let name = tag.map_or_else(|| digest.to_string(), str::to_owned);
        let place = place(Operation::PutManifest, endpoint, reference, None);
        let mut call = Call::new(endpoint, place.clone(), Method::PUT, format!("manifests/{name}"));
        call.scopes = Scopes::push(&endpoint.repository);
        call.body = Body::Bytes(Bytes::from(manifest.raw.clone()));
        let kind = HeaderValue::from_str(&manifest.media_type)
            .map_err(|_| unusable(&place, "its media type is no header value"))?;
        call.headers.insert(CONTENT_TYPE, kind);
        let answer = self.transport.send(&call).await?;
        if !matches!(answer.status, StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED) {
            return Err(answer.refused(&place));
        }
        let said = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        if let Some(actual) = said.filter(|said| *said != digest) {
            let source = layer_store::Error::DigestMismatch { what: "manifest", expected: digest, actual };
            return Err(Error::Content { place: Box::new(place), source });
        }
        let is_listed = answer.header("oci-subject").is_some();
        answer.drain(&place, self.settings().idle_timeout).await;
        Ok(is_listed)
    }
}

fn unusable(place: &crate::error::Place, reason: &str) -> Error {
    Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() }
}

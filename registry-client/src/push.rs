//! Images to a registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use layer_store::manifest::ManifestContent;
use layer_store::{Descriptor, Digest, Manifest, Store};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::auth::scope::Scopes;
use crate::client::{Client, place};
use crate::error::{Error, Operation};
use crate::hosts::Endpoint;
use crate::known;
use crate::reference::Reference;
use crate::report::{Direction, Transfer};
use crate::sink::blocking;
use crate::transport::{Body, Call};
use crate::upload::Upload;

/// What is pushed.
#[derive(Debug, Clone, Default)]
pub struct PushRequest {
    /// Manifests, children before the indexes that name them. The last one gets the tag.
    pub manifests: Vec<Manifest>,
    /// Where blobs are known to exist: mounted from there when it is the same registry, fetched from there when they are
    /// not in the store.
    pub origins: BTreeMap<Digest, Reference>,
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
enum Outcome {
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
        let outcomes = try_join_all(
            wanted.iter().map(|blob| self.push_blob(endpoint, reference, store, blob, &push.origins)),
        )
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

    async fn has_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        manifest: &Manifest,
        scopes: &Scopes,
    ) -> Result<bool, Error> {
        Ok(self.head_at(endpoint, &reference.with_digest(manifest.digest()), scopes).await?.is_some())
    }

    async fn push_blob(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        store: &Arc<Store>,
        blob: &Descriptor,
        origins: &BTreeMap<Digest, Reference>,
    ) -> Result<Outcome, Error> {
        let permit = self.uploads.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let Descriptor { digest, size: total, .. } = *blob;
        let reporter = &self.transport.reporter;
        let mut places: Vec<Reference> = origins.get(&digest).cloned().into_iter().collect();
        places.extend(known::places(store, digest).await?);
        let upload = Upload { client: self, endpoint, reference, store, blob };
        let sibling = places.iter().find(|place| {
            place.domain() == reference.domain() && place.repository() != reference.repository()
        });
        let session = match sibling {
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
        let here = Arc::clone(store);
        if blocking(move || here.blob_size(&digest)).await?.is_none() {
            let origin = places.iter().find(|place| place.name() != reference.name());
            let origin =
                origin.ok_or_else(|| Error::NothingToPush { reference: reference.familiar(), digest })?;
            self.fetch(origin, blob, store, |_| {}).await?;
        }
        let host = endpoint.authority.clone();
        reporter.transfer(Transfer::Started { digest, total, direction: Direction::Upload, host });
        upload.send(session).await?;
        drop(permit);
        reporter.transfer(Transfer::Finished { digest });
        Ok(Outcome::Uploaded(total))
    }

    async fn put_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        manifest: &Manifest,
        tag: Option<&str>,
    ) -> Result<(), Error> {
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
        answer.drain(&place, self.settings().idle_timeout).await;
        Ok(())
    }
}

fn unusable(place: &crate::error::Place, reason: &str) -> Error {
    Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() }
}

/// The blobs that the manifests name, each once. Layers that may not be distributed stay where they are.
fn blobs_of<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Vec<&'a Descriptor> {
    let mut blobs: Vec<&Descriptor> = Vec::new();
    for manifest in manifests {
        let ManifestContent::Image { config, layers, .. } = &manifest.content else { continue };
        for blob in layers.iter().chain([config]) {
            let foreign =
                blob.media_type.contains("nondistributable") || blob.media_type.contains("rootfs.foreign");
            if !foreign && !blobs.iter().any(|other| other.digest == blob.digest) {
                blobs.push(blob);
            }
        }
    }
    blobs
}

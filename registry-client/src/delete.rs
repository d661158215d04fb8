//! Removing tags and manifests (distribution-spec, "Deleting tags", "Deleting Manifests").

use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, Manifest};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::auth::scope::Scopes;
use crate::client::{Client, place};
use crate::error::{Error, Operation};
use crate::hosts::Endpoint;
use crate::reference::Reference;
use crate::transport::{Answer, Body, Call};

/// How something was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The tag alone.
    Tag,
    /// The tag alone, on a registry that removes manifests only: the tag was put on an empty manifest, and that was
    /// removed.
    TagByReplacement,
    /// The manifest, with every tag that it had.
    Manifest,
}

impl Client {
    /// Removes what the reference names: with a digest the manifest and all tags that it has, otherwise the tag alone, and
    /// no image that has another name is lost. Blobs stay until the registry collects them. One request; four or five for
    /// a tag where the registry removes manifests only.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with 404 when it is not there, and with 405 when the registry has deletion switched off.
    pub async fn delete(&self, reference: &Reference) -> Result<Deleted, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let endpoint = &Endpoint { has_alternatives: false, ..plan.for_push(reference)?.clone() };
        if let Some(digest) = reference.digest() {
            self.delete_at(endpoint, reference, &digest.to_string()).await?;
            return Ok(Deleted::Manifest);
        }
        let tag = reference.tag().unwrap_or("latest");
        match self.delete_at(endpoint, reference, tag).await {
            Ok(()) => Ok(Deleted::Tag),
            // Registries that do not know tags here call the name a wrong digest, or the request unknown.
            Err(error) if matches!(error.status(), Some(400 | 405)) => {
                self.delete_by_replacement(endpoint, reference, tag).await?;
                Ok(Deleted::TagByReplacement)
            }
            Err(error) => Err(error),
        }
    }

    async fn delete_at(&self, endpoint: &Endpoint, reference: &Reference, name: &str) -> Result<(), Error> {
        let place = place(Operation::Delete, endpoint, reference, None);
        let mut call = Call::new(endpoint, place.clone(), Method::DELETE, format!("manifests/{name}"));
        call.scopes = Scopes::delete(&endpoint.repository);
        let answer = self.transport.send(&call).await?;
        if !matches!(answer.status, StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT) {
            return Err(answer.refused(&place));
        }
        answer.drain(&place, self.settings().idle_timeout).await;
        Ok(())
    }

    /// Puts the tag on a manifest that nothing else can have, and removes that.
    async fn delete_by_replacement(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        tag: &str,
    ) -> Result<(), Error> {
        let scopes = Scopes::delete(&endpoint.repository);
        // The refusal that is worth reading is that of the tag which is not there.
        if self.head_at(endpoint, &reference.with_tag(tag)?, &scopes).await?.is_none() {
            return self.manifest_at(endpoint, reference).await.map(drop);
        }
        let moment = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let config = format!("{{\"created-to-delete\":\"{tag}\",\"at\":\"{moment}\"}}").into_bytes();
        let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64);
        self.upload_small(endpoint, reference, &descriptor, config).await?;
        let empty = Manifest::image(descriptor, Vec::new(), std::collections::BTreeMap::new());
        self.put_manifest(endpoint, reference, &empty, Some(tag)).await?;
        self.delete_at(endpoint, reference, &empty.digest().to_string()).await
    }

    /// A small blob in one request for a session and one with the bytes.
    pub(crate) async fn upload_small(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        blob: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let place = place(Operation::Upload, endpoint, reference, Some(blob.digest));
        let mut call = Call::new(endpoint, place.clone(), Method::POST, "blobs/uploads/");
        call.scopes = Scopes::push(&endpoint.repository);
        let answer = self.transport.send(&call).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(answer.refused(&place));
        }
        let mut location = self.upload_location(&place, &answer)?;
        answer.drain(&place, self.settings().idle_timeout).await;
        location.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let mut call = Call::new(endpoint, place.clone(), Method::PUT, "");
        call.target = crate::transport::Target::Url(location);
        call.scopes = Scopes::push(&endpoint.repository);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = Body::Bytes(bytes.into());
        let answer: Answer = self.transport.send(&call).await?;
        if !matches!(answer.status.as_u16(), 200 | 201 | 202 | 204) {
            return Err(answer.refused(&place));
        }
        answer.drain(&place, self.settings().idle_timeout).await;
        Ok(())
    }
}

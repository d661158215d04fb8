//! Artifacts that are attached to an image: signatures, SBOMs, anything (image-spec `manifest.md`, "Guidelines for
//! Artifact Usage"; distribution-spec, "Pushing Manifests with Subject").

use std::collections::BTreeMap;
use std::sync::Arc;

use layer_store::manifest::{ManifestContent, media_type};
use layer_store::{Descriptor, Digest, Manifest, Store};
use serde::Serialize;

use crate::auth::scope::Scopes;
use crate::client::Client;
use crate::copy::Supply;
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::reference::Reference;

/// The empty configuration of an artifact: `{}`.
pub const EMPTY: &[u8] = b"{}";
/// Its media type.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// An artifact that is to be attached.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// What it is: `application/spdx+json`, for instance.
    pub artifact_type: String,
    /// Its files; their blobs are in the store.
    pub files: Vec<Descriptor>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Descriptor,
    layers: &'a [Descriptor],
    subject: &'a Descriptor,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Artifact {
    /// The manifest of the artifact, about `subject`. The same parts always give the same bytes.
    pub fn manifest(&self, subject: &Descriptor) -> Result<Manifest, Error> {
        let empty = Descriptor::new(EMPTY_TYPE, Digest::of(EMPTY), EMPTY.len() as u64);
        let subject = Descriptor::new(&subject.media_type, subject.digest, subject.size);
        // An artifact without files has its own configuration for one (image-spec, the same place).
        let files = if self.files.is_empty() { std::slice::from_ref(&empty) } else { &self.files };
        let document = Document {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST,
            artifact_type: &self.artifact_type,
            config: empty.clone(),
            layers: files,
            subject: &subject,
            annotations: &self.annotations,
        };
        // Strings, numbers and ordered maps only, which serde_json cannot refuse.
        Ok(Manifest::parse(serde_json::to_vec(&document).unwrap_or_default(), None)?)
    }
}

impl Client {
    /// Attaches an artifact to the manifest `subject` of the reference's repository. Where the registry keeps no list of
    /// what refers to what, the index under the tag that stands in for it is brought up to date; two who do that at the
    /// same time may lose one of the two entries, which the specification accepts.
    pub async fn attach(
        &self,
        reference: &Reference,
        subject: &Descriptor,
        artifact: &Artifact,
        store: &Arc<Store>,
    ) -> Result<Descriptor, Error> {
        let manifest = artifact.manifest(subject)?;
        let plan = self.settings().hosts.plan(reference)?;
        let endpoint = &Endpoint { has_alternatives: false, ..plan.for_push(reference)?.clone() };
        let kept = Arc::clone(store);
        crate::sink::blocking(move || kept.put_blob(EMPTY)).await?;
        let ManifestContent::Image { config, layers, .. } = &manifest.content else {
            return Err(Error::NowhereToBeHad { what: "manifest", digest: manifest.digest() });
        };
        let target = reference.with_digest(manifest.digest());
        for blob in layers.iter().chain([config]) {
            self.push_blob(endpoint, &target, store, blob, &Supply::default()).await?;
        }
        let is_listed = self.put_manifest(endpoint, &target, &manifest, None).await?;
        let entry = Descriptor {
            artifact_type: Some(artifact.artifact_type.clone()),
            annotations: artifact.annotations.clone(),
            ..manifest.descriptor()
        };
        if !is_listed {
            self.list_by_tag(endpoint, reference, subject.digest, &entry).await?;
        }
        Ok(entry)
    }

    /// Adds an entry to the index under the tag `sha256-<hex>`.
    async fn list_by_tag(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        subject: Digest,
        entry: &Descriptor,
    ) -> Result<(), Error> {
        let tag = format!("sha256-{}", subject.hex());
        let tagged = reference.with_tag(&tag)?;
        let old = match self.head_at(endpoint, &tagged, &Scopes::push(&endpoint.repository)).await? {
            Some(_) => Some(self.manifest_at(endpoint, &tagged).await?),
            None => None,
        };
        let (mut list, annotations) = match old.map(|old| old.content) {
            Some(ManifestContent::Index { manifests, annotations }) => (manifests, annotations),
            _ => (Vec::new(), BTreeMap::new()),
        };
        if list.iter().any(|one| one.digest == entry.digest) {
            return Ok(());
        }
        list.push(entry.clone());
        let index = Manifest::index(list, annotations);
        self.put_manifest(endpoint, &tagged, &index, Some(&tag)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_what_the_specification_says() {
        let artifact = Artifact {
            artifact_type: "application/x".to_owned(),
            files: Vec::new(),
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        };
        let subject = Descriptor {
            platform: Some(layer_store::Platform::host()),
            ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"x"), 1)
        };
        let manifest = artifact.manifest(&subject).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&manifest.raw).unwrap();
        assert_eq!(value["artifactType"], "application/x");
        assert_eq!(value["subject"]["digest"], Digest::of(b"x").to_string());
        assert_eq!(value["subject"].get("platform"), None);
        assert_eq!(value["config"]["mediaType"], EMPTY_TYPE);
        assert_eq!(value["layers"][0], value["config"]);
        assert_eq!(manifest, artifact.manifest(&subject).unwrap());
    }
}

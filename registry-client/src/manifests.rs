//! Manifests: reading, choosing a platform's, asking whether one is there.

use std::sync::Arc;

use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent, media_type};
use layer_store::{Descriptor, Digest, ImageConfig, Manifest, Platform, Store};
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::auth::scope::Scopes;
use crate::client::{Client, Resolved, place};
use crate::error::{Error, Operation, Place};
use crate::hosts::{Endpoint, ResolvePolicy};
use crate::reference::Reference;
use crate::select;
use crate::trail::Trail;
use crate::transport::{Answer, Call};

/// All that the client reads. The last is for registries with types of their own; alone, it makes some registries
/// answer that they cannot convert.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";
/// Indexes inside indexes are legal; more than this is a trick.
const DEEPEST: usize = 4;

impl Client {
    /// The image of `platform` that `reference` names: its manifest and configuration, verified. An index is followed to
    /// the entry that serves the platform best. Two to three requests.
    pub async fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved, Error> {
        self.resolve_with(reference, platform, None).await
    }

    /// The manifest or index that `reference` names, verified where the reference has a digest. One request.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        let reference = &self.pinned(reference).await?;
        let plan = self.settings().hosts.plan(reference)?;
        let mut trail = Trail::new(Operation::Manifest, reference);
        for endpoint in plan.for_manifest(reference) {
            match self.manifest_at(endpoint, reference).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => trail.note(endpoint, error)?,
            }
        }
        Err(trail.end())
    }

    /// The descriptor of the manifest that `reference` names, or `None` where it does not exist. One HEAD request, which
    /// Docker Hub does not count; a second one where a registry does not say the digest.
    pub async fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let mut trail = Trail::new(Operation::Check, reference);
        let mut missing = false;
        for endpoint in plan.for_manifest(reference) {
            match self.head_at(endpoint, reference, &Scopes::pull(&endpoint.repository)).await {
                Ok(Some(descriptor)) => return Ok(Some(descriptor)),
                // A mirror may not have what upstream has.
                Ok(None) => missing = true,
                Err(error) => {
                    missing = false;
                    trail.note(endpoint, error)?;
                }
            }
        }
        if missing { Ok(None) } else { Err(trail.end()) }
    }

    /// As `resolve`, but what the store has is not asked for, and what comes is stored.
    pub(crate) async fn resolve_with(
        &self,
        reference: &Reference,
        platform: &Platform,
        store: Option<&Arc<Store>>,
    ) -> Result<Resolved, Error> {
        let mut manifest = self.manifest_with(reference, store).await?;
        let pinned = reference.with_digest(manifest.digest());
        let mut index = None;
        let mut platform_of_entry = None;
        for _ in 0..DEEPEST {
            let ManifestContent::Index { manifests, .. } = &manifest.content else { break };
            let Some(entry) = select::best(manifests, platform) else {
                return Err(Error::NoPlatform {
                    reference: reference.familiar(),
                    wanted: Box::new(platform.clone()),
                    available: select::platforms(manifests),
                });
            };
            platform_of_entry.clone_from(&entry.platform);
            let child = self.manifest_with(&reference.with_digest(entry.digest), store).await?;
            let parent = std::mem::replace(&mut manifest, child);
            index.get_or_insert(parent);
        }
        let ManifestContent::Image { config: config_descriptor, .. } = &manifest.content else {
            return Err(unusable(reference, "its indexes do not end in an image"));
        };
        let config_bytes = self.config_bytes(&pinned, config_descriptor, store).await?;
        let config = ImageConfig::from_slice(&config_bytes)
            .map_err(|error| unusable(reference, &format!("its configuration cannot be read: {error}")))?;
        let found = config.platform();
        if index.is_none() && !config.architecture.is_empty() && found.distance(platform).is_none() {
            self.transport
                .notice_once(&format!("`{reference}` is for {found}, and there is none for {platform}"));
        }
        let mut descriptor = manifest.descriptor();
        descriptor.platform = platform_of_entry.or(Some(found).filter(|_| !config.architecture.is_empty()));
        Ok(Resolved { reference: pinned, index, manifest, config, config_bytes, descriptor })
    }

    async fn config_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        store: Option<&Arc<Store>>,
    ) -> Result<Vec<u8>, Error> {
        if let Some(store) = store
            && let Some(bytes) = stored(store, descriptor.digest, DOCUMENT_LIMIT).await?
        {
            return Ok(bytes);
        }
        let bytes = self.blob(reference, descriptor, DOCUMENT_LIMIT).await?;
        if let Some(store) = store {
            put(store, bytes.clone()).await?;
        }
        Ok(bytes)
    }

    async fn manifest_with(
        &self,
        reference: &Reference,
        store: Option<&Arc<Store>>,
    ) -> Result<Manifest, Error> {
        let Some(store) = store else { return self.manifest(reference).await };
        if let Some(digest) = reference.digest()
            && let Some(bytes) = stored(store, digest, DOCUMENT_LIMIT).await?
            && let Ok(manifest) = Manifest::parse(bytes, None)
        {
            return Ok(manifest);
        }
        let manifest = self.manifest(reference).await?;
        put(store, manifest.raw.clone()).await?;
        Ok(manifest)
    }

    /// With [`ResolvePolicy::Upstream`], the digest that upstream gives for a tag, so that mirrors are asked for exactly
    /// that. Where upstream cannot be reached, mirrors are believed.
    async fn pinned(&self, reference: &Reference) -> Result<Reference, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let asks = plan.resolve == ResolvePolicy::Upstream;
        let Some(upstream) = plan.upstream().filter(|_| asks && plan.endpoints.len() > 1) else {
            return Ok(reference.clone());
        };
        if reference.digest().is_some() {
            return Ok(reference.clone());
        }
        let scopes = Scopes::pull(&upstream.repository);
        match self.head_at(upstream, reference, &scopes).await {
            Ok(Some(descriptor)) => Ok(reference.with_digest(descriptor.digest)),
            Ok(None) | Err(_) => Ok(reference.clone()),
        }
    }

    pub(crate) async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
    ) -> Result<Manifest, Error> {
        let place = place(Operation::Manifest, endpoint, reference, None);
        let mut again = 0;
        loop {
            let mut call = Call::new(
                endpoint,
                place.clone(),
                Method::GET,
                format!("manifests/{}", reference.selector()),
            );
            call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
            let answer = self.transport.send(&call).await?;
            if answer.status != StatusCode::OK {
                return Err(answer.refused(&place));
            }
            let content_type = answer.content_type();
            let raw = match answer.read(&place, DOCUMENT_LIMIT, self.settings().idle_timeout).await {
                // The answer began well and was cut: small enough to ask for once more from its start.
                Err(error) if error.is_passing() && again < self.settings().retries => {
                    again += 1;
                    tokio::time::sleep(crate::transport::backoff(again)).await;
                    continue;
                }
                result => result?,
            };
            return self.checked(&place, reference, raw, content_type.as_deref());
        }
    }

    fn checked(
        &self,
        place: &Place,
        reference: &Reference,
        raw: Vec<u8>,
        content_type: Option<&str>,
    ) -> Result<Manifest, Error> {
        let wrong = |source| Error::Content { place: Box::new(place.clone()), source };
        if let Some(expected) = reference.digest() {
            let actual = Digest::of(&raw);
            if actual != expected {
                return Err(wrong(layer_store::Error::DigestMismatch { what: "manifest", expected, actual }));
            }
        }
        Manifest::parse(raw, content_type).map_err(wrong)
    }

    /// HEAD of a manifest; the body is asked for only where the answer lacks digest or size.
    pub(crate) async fn head_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        scopes: &Scopes,
    ) -> Result<Option<Descriptor>, Error> {
        let place = place(Operation::Check, endpoint, reference, None);
        let path = format!("manifests/{}", reference.selector());
        let mut call = Call::new(endpoint, place.clone(), Method::HEAD, path);
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        call.scopes = scopes.clone();
        let answer = self.transport.send(&call).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(answer.refused(&place)),
        }
        if let Some(descriptor) = described(&answer, reference) {
            return Ok(Some(descriptor));
        }
        Ok(Some(self.manifest_at(endpoint, reference).await?.descriptor()))
    }
}

/// What the headers of a HEAD say.
fn described(answer: &Answer, reference: &Reference) -> Option<Descriptor> {
    let said = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
    let digest = reference.digest().or(said)?;
    let kind = answer.content_type().unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
    Some(Descriptor::new(&kind, digest, answer.content_length().filter(|size| *size > 0)?))
}

fn unusable(reference: &Reference, reason: &str) -> Error {
    let place = Place {
        operation: Operation::Manifest,
        host: reference.domain().to_owned(),
        reference: reference.familiar(),
        digest: None,
    };
    Error::Answer { place: Box::new(place), reason: reason.to_owned() }
}

/// A small blob of the store, if it is there.
async fn stored(store: &Arc<Store>, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let store = Arc::clone(store);
    crate::sink::blocking(move || match store.blob_size(&digest)? {
        Some(_) => store.read_blob(&digest, limit).map(Some),
        None => Ok(None),
    })
    .await
}

async fn put(store: &Arc<Store>, bytes: Vec<u8>) -> Result<(), Error> {
    let store = Arc::clone(store);
    crate::sink::blocking(move || store.put_blob(&bytes).map(drop)).await
}

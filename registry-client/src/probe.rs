//! What each endpoint of a reference is good for.

use std::time::{Duration, Instant};

use layer_store::manifest::ManifestContent;
use layer_store::{Descriptor, Digest, Manifest, Platform};
use reqwest::{Method, StatusCode};

use crate::auth::scope::Scopes;
use crate::client::{Client, place};
use crate::error::{Error, Operation};
use crate::fetch::blob_call;
use crate::hosts::{Endpoint, Role};
use crate::reference::Reference;
use crate::select;
use crate::transport::{Call, Target};

/// How much of a layer is fetched to see how fast an endpoint is, in bytes.
const SAMPLE: u64 = 4 << 20;
/// How long that may take.
const SAMPLE_TIME: Duration = Duration::from_secs(5);

/// What one endpoint of a reference turned out to be good for.
#[derive(Debug)]
pub struct EndpointReport {
    /// `host[:port]`.
    pub host: String,
    /// The repository as this endpoint calls it.
    pub repository: String,
    /// Whether it stands in for the registry that the reference names.
    pub is_mirror: bool,
    /// Whether it is asked which digest a tag names.
    pub resolves: bool,
    /// Whether it is asked for content.
    pub pulls: bool,
    /// Whether pushes go to it.
    pub pushes: bool,
    /// How long it took to answer for the first time: connection, TLS and, where it asks for one, the token.
    pub reached: Result<Duration, Error>,
    /// What it has under the reference; `None` where it was not reached.
    pub image: Option<Result<Digest, Error>>,
    /// How fast it gave the beginning of a layer, in bytes a second; `None` where it came to no layer.
    pub speed: Option<Result<u64, Error>>,
}

impl EndpointReport {
    /// Whether it gave all that it was asked for.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!((&self.image, &self.speed), (Some(Ok(_)), None | Some(Ok(_)))) && self.reached.is_ok()
    }

    /// The first thing that failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        let image = || self.image.as_ref().and_then(|image| image.as_ref().err());
        let speed = || self.speed.as_ref().and_then(|speed| speed.as_ref().err());
        self.reached.as_ref().err().or_else(image).or_else(speed)
    }
}

impl Client {
    /// Asks each endpoint that serves `reference` in turn: whether it answers, what it has under the reference, and how
    /// fast it gives the image of `platform`. Up to five requests and 4 MiB for an endpoint. Fails only where the settings
    /// do.
    pub async fn probe(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Vec<EndpointReport>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let mut reports = Vec::new();
        for endpoint in &plan.endpoints {
            // Each is asked for itself, so none is passed over because another could do.
            let alone = Endpoint { has_alternatives: false, ..endpoint.clone() };
            reports.push(self.probe_endpoint(&alone, reference, platform).await);
        }
        Ok(reports)
    }

    async fn probe_endpoint(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        platform: &Platform,
    ) -> EndpointReport {
        let mut report = EndpointReport {
            host: endpoint.authority.clone(),
            repository: endpoint.repository.clone(),
            is_mirror: endpoint.role == Role::Mirror,
            resolves: endpoint.resolves,
            pulls: endpoint.pulls,
            pushes: endpoint.pushes,
            reached: self.greet(endpoint, reference).await,
            image: None,
            speed: None,
        };
        if report.reached.is_err() {
            return report;
        }
        let manifest = match self.manifest_at(endpoint, reference).await {
            Ok(manifest) => manifest,
            Err(error) => {
                report.image = Some(Err(error));
                return report;
            }
        };
        report.image = Some(Ok(manifest.digest()));
        report.speed = match self.layer_at(endpoint, reference, platform, manifest).await {
            Ok(None) => None,
            Ok(Some(layer)) => Some(self.sample(endpoint, reference, &layer).await),
            Err(error) => Some(Err(error)),
        };
        report
    }

    /// The registry's front page, with whatever credentials it takes to see it.
    async fn greet(&self, endpoint: &Endpoint, reference: &Reference) -> Result<Duration, Error> {
        let place = place(Operation::Check, endpoint, reference, None);
        let mut call = Call::new(endpoint, place.clone(), Method::GET, "");
        call.target = Target::Root;
        call.scopes = Scopes::pull(&endpoint.repository);
        let begun = Instant::now();
        let answer = self.transport.send(&call).await?;
        // Some mirrors serve repositories and have no front page.
        if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
            return Err(answer.refused(&place));
        }
        let elapsed = begun.elapsed();
        answer.drain(&place, self.settings().idle_timeout).await;
        Ok(elapsed)
    }

    /// The largest layer of the platform's image; `None` where there is no such image.
    async fn layer_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        platform: &Platform,
        manifest: Manifest,
    ) -> Result<Option<Descriptor>, Error> {
        let manifest = match &manifest.content {
            ManifestContent::Image { .. } => manifest,
            ManifestContent::Index { manifests, .. } => {
                let Some(entry) = select::best(manifests, platform) else { return Ok(None) };
                self.manifest_at(endpoint, &reference.with_digest(entry.digest)).await?
            }
        };
        let ManifestContent::Image { layers, .. } = manifest.content else { return Ok(None) };
        Ok(layers.into_iter().max_by_key(|layer| layer.size))
    }

    async fn sample(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        layer: &Descriptor,
    ) -> Result<u64, Error> {
        let place = place(Operation::Blob, endpoint, reference, Some(layer.digest));
        let begun = Instant::now();
        let mut answer = self.transport.send(&blob_call(endpoint, &place, layer.digest)).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused(&place));
        }
        let mut bytes = 0;
        while bytes < SAMPLE.min(layer.size) && begun.elapsed() < SAMPLE_TIME {
            let Some(piece) = answer.chunk(&place, self.settings().idle_timeout).await? else { break };
            bytes += piece.len() as u64;
        }
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        Ok(bytes.saturating_mul(1000) / millis)
    }
}

//! What refers to a manifest: signatures, attestations, other artifacts (distribution-spec, "Listing Referrers").

use std::collections::{BTreeMap, BTreeSet};

use layer_store::{Descriptor, Digest};
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::client::{Client, place};
use crate::error::{Error, Operation, Place};
use crate::hosts::Endpoint;
use crate::link;
use crate::reference::Reference;
use crate::transport::{Answer, Call, Target, target};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LARGEST_PAGE: u64 = 8 << 20;
const MOST_PAGES: usize = 100;

/// One manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest that refers.
    pub descriptor: Descriptor,
    /// What it is: `application/vnd.in-toto+json`, for instance.
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Client {
    /// What refers to the manifest of `digest` in the reference's repository, of one artifact type or of all. One request
    /// per page; on registries without that list, the tag that stands in for it. Nothing there is an empty list.
    pub async fn referrers(
        &self,
        reference: &Reference,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        // Mirrors rarely have them; the truth is upstream.
        let Some(endpoint) = plan.upstream() else { return Ok(Vec::new()) };
        let place = place(Operation::Referrers, endpoint, reference, None);
        let mut found = match self.listed(endpoint, &place, digest).await? {
            Some(found) => found,
            None => self.tagged(endpoint, &place, digest).await?,
        };
        let mut seen = BTreeSet::new();
        // A registry may filter or not, and a list kept by hand under a tag may hold one twice.
        found.retain(|one| {
            artifact_type.is_none_or(|wanted| one.artifact_type.as_deref() == Some(wanted))
                && seen.insert(one.descriptor.digest)
        });
        Ok(found)
    }

    /// The registry's own list; `None` where it has none.
    async fn listed(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        digest: Digest,
    ) -> Result<Option<Vec<Referrer>>, Error> {
        let mut call = Call::new(endpoint, place.clone(), Method::GET, format!("referrers/{digest}"));
        call.headers.insert(ACCEPT, HeaderValue::from_static(INDEX));
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = self.transport.send(&call).await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if found.is_empty() => {
                    return Ok(None);
                }
                _ => return Err(answer.refused(place)),
            }
            let url = answer.url.clone();
            let links: Vec<String> = answer
                .headers
                .get_all("link")
                .iter()
                .filter_map(|line| line.to_str().ok().map(str::to_owned))
                .collect();
            found.extend(self.page(place, answer).await?);
            let Some(next) = link::next(links.iter().map(String::as_str)) else { return Ok(Some(found)) };
            let next = url.join(&next).ok().filter(|next| target::same_origin(&url, next) && *next != url);
            let next = next.ok_or_else(|| unusable(place, "the link to the next page leads nowhere"))?;
            call.target = Target::Url(next);
        }
        Err(unusable(place, "the list has no end"))
    }

    /// The index under the tag `sha256-<hex>`, which clients keep where the registry has no list.
    async fn tagged(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        digest: Digest,
    ) -> Result<Vec<Referrer>, Error> {
        let mut call =
            Call::new(endpoint, place.clone(), Method::GET, format!("manifests/sha256-{}", digest.hex()));
        call.headers.insert(ACCEPT, HeaderValue::from_static(INDEX));
        let answer = self.transport.send(&call).await?;
        match answer.status {
            StatusCode::OK => self.page(place, answer).await,
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            _ => Err(answer.refused(place)),
        }
    }

    async fn page(&self, place: &Place, answer: Answer) -> Result<Vec<Referrer>, Error> {
        let bytes = answer.read(place, LARGEST_PAGE, self.settings().idle_timeout).await?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| unusable(place, &format!("the list is malformed: {error}")))?;
        let referrer = |entry: Entry| Referrer {
            descriptor: Descriptor {
                annotations: entry.annotations.unwrap_or_default(),
                ..Descriptor::new(&entry.media_type, entry.digest, entry.size)
            },
            artifact_type: entry.artifact_type,
        };
        Ok(index.manifests.unwrap_or_default().into_iter().map(referrer).collect())
    }
}

fn unusable(place: &Place, reason: &str) -> Error {
    Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() }
}

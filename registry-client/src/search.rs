//! Searching Docker Hub, or any registry with the same old interface (`/v1/search`).

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::client::Client;
use crate::error::{Error, Operation, Place};
use crate::hosts::Endpoint;
use crate::reference::Reference;
use crate::transport::{Body, target};

/// The host of Docker Hub that searches.
const HUB: &str = "index.docker.io";
/// The most results of one search; Docker Hub's own limit.
const MOST: usize = 100;
const LARGEST: u64 = 4 << 20;

/// One repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResult {
    /// Its name, without the registry.
    pub name: String,
    /// What its owner says about it.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub description: String,
    /// How many people marked it.
    #[serde(default, rename(deserialize = "star_count"))]
    pub stars: u64,
    /// Whether Docker publishes it.
    #[serde(default, rename(deserialize = "is_official"))]
    pub official: bool,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<SearchResult>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Client {
    /// Repositories of Docker Hub that fit `term`, best first; `registry.example/term` asks that registry instead. One
    /// request, without credentials.
    pub async fn search(&self, term: &str, limit: usize) -> Result<Vec<SearchResult>, Error> {
        let (domain, term) = match term.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", term),
        };
        let settings = &self.settings().hosts;
        let reference = Reference::parse(&format!("{domain}/x"))?;
        let mut endpoint = Endpoint::upstream(settings, reference.domain(), "");
        if reference.domain() == "docker.io" {
            HUB.clone_into(&mut endpoint.authority);
        }
        let place = Place {
            operation: Operation::Search,
            host: endpoint.authority.clone(),
            reference: term.to_owned(),
            digest: None,
        };
        let mut failure = None;
        for scheme in endpoint.schemes.in_order() {
            let base = format!("{scheme}://{}/v1/search", endpoint.authority);
            let mut url = Url::parse(&base).map_err(|_| malformed(&place, "the address is malformed"))?;
            url.query_pairs_mut().append_pair("q", term).append_pair("n", &limit.clamp(1, MOST).to_string());
            let headers = HeaderMap::new();
            match self.transport.follow(&endpoint, &place, Method::GET, &url, &headers, &Body::Empty).await {
                Ok(answer) if answer.status == StatusCode::OK => {
                    let idle: Duration = self.settings().idle_timeout;
                    let bytes = answer.read(&place, LARGEST, idle).await?;
                    let Answer { mut results } = serde_json::from_slice(&bytes)
                        .map_err(|error| malformed(&place, &format!("the answer is malformed: {error}")))?;
                    results.truncate(limit);
                    return Ok(results);
                }
                Ok(answer) => return Err(answer.refused(&place)),
                Err(error) => {
                    tracing::debug!(origin = target::origin(&url), "no search there");
                    failure = failure.or(Some(error));
                }
            }
        }
        Err(failure.unwrap_or_else(|| malformed(&place, "there is no way to reach it")))
    }
}

fn malformed(place: &Place, reason: &str) -> Error {
    Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() }
}

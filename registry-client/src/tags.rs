//! Lists of tags.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::client::{Client, place};
use crate::error::{Error, Operation, Place};
use crate::hosts::Endpoint;
use crate::link;
use crate::reference::Reference;
use crate::trail::Trail;
use crate::transport::{Call, Target, target};

const LARGEST_PAGE: u64 = 16 << 20;
/// With a thousand tags on each, more than any repository that makes sense.
const MOST_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of the repository, sorted. One request per page. Some mirrors have no such list; upstream is asked then.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let mut trail = Trail::new(Operation::Tags, reference);
        // A mirror lists what it happens to have; the truth is upstream.
        for endpoint in plan.endpoints.iter().rev() {
            match self.tags_at(endpoint, reference).await {
                Ok(tags) => return Ok(tags),
                Err(error) => trail.note(endpoint, error)?,
            }
        }
        Err(trail.end())
    }

    async fn tags_at(&self, endpoint: &Endpoint, reference: &Reference) -> Result<Vec<String>, Error> {
        let place = place(Operation::Tags, endpoint, reference, None);
        let mut call = Call::new(endpoint, place.clone(), Method::GET, "tags/list");
        let mut tags = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for _ in 0..MOST_PAGES {
            let answer = self.transport.send(&call).await?;
            if answer.status != StatusCode::OK {
                return Err(answer.refused(&place));
            }
            let url = answer.url.clone();
            let links: Vec<String> = answer
                .headers
                .get_all("link")
                .iter()
                .filter_map(|line| line.to_str().ok().map(str::to_owned))
                .collect();
            let bytes = answer.read(&place, LARGEST_PAGE, self.settings().idle_timeout).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| unusable(&place, &format!("the list is malformed: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = link::next(links.iter().map(String::as_str)) else {
                return Ok(tags.into_iter().collect());
            };
            let next =
                url.join(&next).map_err(|_| unusable(&place, "the link to the next page is no address"))?;
            if !target::same_origin(&url, &next) {
                return Err(unusable(&place, "the link to the next page leads to another host"));
            }
            if !seen.insert(next.to_string()) {
                return Err(unusable(&place, "the links to the next page go in a circle"));
            }
            call.target = Target::Url(next);
        }
        Err(unusable(&place, "the list has no end"))
    }
}

fn unusable(place: &Place, reason: &str) -> Error {
    Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() }
}

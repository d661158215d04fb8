//! One blob to a registry: is it there, mount, session, bytes (distribution-spec, "Pushing Blobs").

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use layer_store::{Descriptor, Store};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::auth::scope::Scopes;
use crate::client::{Client, place};
use crate::error::{Error, Operation, Place};
use crate::hosts::Endpoint;
use crate::reference::Reference;
use crate::report::Transfer;
use crate::transport::{Answer, BlobPart, Body, Call, Target, backoff, target};

/// One blob on its way to a registry.
pub(crate) struct Upload<'a> {
    pub(crate) client: &'a Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) reference: &'a Reference,
    pub(crate) store: &'a Arc<Store>,
    pub(crate) blob: &'a Descriptor,
}

/// How a mount ended.
pub(crate) enum Mount {
    /// The repository has the blob.
    Done,
    /// It does not; the registry may have opened a session instead.
    Session(Option<Url>),
}

impl Upload<'_> {
    /// Whether the repository has the blob.
    pub(crate) async fn is_there(&self) -> Result<bool, Error> {
        let place = self.place(Operation::Check);
        let mut call =
            Call::new(self.endpoint, place.clone(), Method::HEAD, format!("blobs/{}", self.blob.digest));
        call.scopes = Scopes::push(&self.endpoint.repository);
        let answer = self.client.transport.send(&call).await?;
        match answer.status {
            // Partial: the HEAD had to be asked as a GET of one byte.
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.refused(&place)),
        }
    }

    /// Asks the registry to take the blob from another of its repositories. A refusal is no error: the bytes go the
    /// ordinary way then.
    pub(crate) async fn mount(&self, from: &Reference) -> Result<Mount, Error> {
        let place = self.place(Operation::Upload);
        let path = format!("blobs/uploads/?mount={}&from={}", self.blob.digest, from.repository());
        let mut call = self.post(&place, path);
        call.scopes.merge(&Scopes::pull(from.repository()));
        call.repeatable = false;
        match self.client.transport.send(&call).await {
            Ok(answer) if answer.status == StatusCode::CREATED => Ok(Mount::Done),
            Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                Ok(Mount::Session(self.location(&place, &answer).ok()))
            }
            Ok(_) => Ok(Mount::Session(None)),
            Err(error) if error.allows_fallback() && !error.is_unreachable() => Ok(Mount::Session(None)),
            Err(error) => Err(error),
        }
    }

    /// Sends the bytes, in a session that is open already or a new one.
    pub(crate) async fn send(&self, session: Option<Url>) -> Result<(), Error> {
        let place = self.place(Operation::Upload);
        let mut session = session;
        let mut failures = 0;
        loop {
            let location = match session.take() {
                Some(location) => location,
                None => self.begin(&place).await?,
            };
            let error = match self.put(&place, location).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures += 1;
            // A session that the registry has forgotten is replaced once.
            let forgotten = error.status() == Some(404) && failures == 1;
            if !(error.is_passing() || forgotten) || failures > self.client.settings().retries {
                return Err(error);
            }
            let wait = backoff(failures);
            self.client.transport.reporter.transfer(Transfer::Retry {
                digest: Some(self.blob.digest),
                host: self.endpoint.authority.clone(),
                reason: crate::error::line(&error),
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn begin(&self, place: &Place) -> Result<Url, Error> {
        let answer = self.client.transport.send(&self.post(place, "blobs/uploads/".to_owned())).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(answer.refused(place));
        }
        let location = self.location(place, &answer)?;
        answer.drain(place, self.client.settings().idle_timeout).await;
        Ok(location)
    }

    /// The whole blob in one request.
    async fn put(&self, place: &Place, mut location: Url) -> Result<(), Error> {
        // What the registry put into the query is its own affair and stays as it is.
        location.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let mut call = Call::new(self.endpoint, place.clone(), Method::PUT, "");
        call.target = Target::Url(location);
        call.scopes = Scopes::push(&self.endpoint.repository);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = self.part(0, self.blob.size);
        call.repeatable = false;
        let answer = self.client.transport.send(&call).await?;
        if !matches!(answer.status.as_u16(), 200 | 201 | 202 | 204) {
            return Err(answer.refused(place));
        }
        answer.drain(place, self.client.settings().idle_timeout).await;
        Ok(())
    }

    fn part(&self, offset: u64, length: u64) -> Body {
        let (reporter, digest) = (Arc::clone(&self.client.transport.reporter), self.blob.digest);
        Body::Blob(BlobPart {
            store: Arc::clone(self.store),
            digest,
            offset,
            length,
            sent: Arc::new(AtomicU64::new(0)),
            progress: Arc::new(move |sent| {
                reporter.transfer(Transfer::Progress { digest, bytes: offset + sent });
            }),
        })
    }

    fn post(&self, place: &Place, path: String) -> Call<'_> {
        let mut call = Call::new(self.endpoint, place.clone(), Method::POST, path);
        call.scopes = Scopes::push(&self.endpoint.repository);
        call
    }

    /// Where the session goes on; always the newest one counts.
    fn location(&self, place: &Place, answer: &Answer) -> Result<Url, Error> {
        let unusable =
            |reason: &str| Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() };
        let location =
            answer.location().ok_or_else(|| unusable("it opened an upload without saying where"))?;
        target::check(&self.client.settings().hosts, &answer.url, &location).map_err(|reason| {
            Error::Target { place: Box::new(place.clone()), target: target::origin(&location), reason }
        })?;
        Ok(location)
    }

    fn place(&self, operation: Operation) -> Place {
        place(operation, self.endpoint, self.reference, Some(self.blob.digest))
    }
}

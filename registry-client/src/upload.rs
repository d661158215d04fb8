//! One blob to a registry: is it there, mount, session, bytes (distribution-spec, "Pushing Blobs").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use layer_store::digest::Hasher;
use layer_store::{Descriptor, Digest, Store};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::auth::scope::Scopes;
use crate::client::{Client, place};
use crate::error::{Error, Operation, Place};
use crate::hosts::{Endpoint, authority_of};
use crate::reference::Reference;
use crate::report::Transfer;
use crate::sink::blocking;
use crate::transport::{Answer, BlobPart, Body, Call, Content, Target, backoff, target};

/// One blob on its way to a registry.
pub(crate) struct Upload<'a> {
    pub(crate) client: &'a Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) reference: &'a Reference,
    /// Where it is noted how far an upload is.
    pub(crate) memory: &'a Arc<Store>,
    pub(crate) blob: &'a Descriptor,
}

/// Where an upload's bytes come from.
struct Feed<'a> {
    content: &'a Arc<dyn Content>,
    /// The most bytes that one request of the current try has taken.
    moved: Arc<AtomicU64>,
}

/// How a mount ended.
pub(crate) enum Mount {
    /// The repository has the blob.
    Done,
    /// It does not; the registry may have opened a session instead.
    Session(Option<Session>),
}

/// An upload that is open at the registry.
pub(crate) struct Session {
    /// Where it goes on; always the newest address.
    location: Url,
    /// How many bytes the registry has.
    offset: u64,
    /// What the registry wants a chunk to have at least.
    shortest_chunk: u64,
}

/// Up to this size a blob goes in one request: two round trips, and nothing that registries disagree about.
const LARGEST_SINGLE: u64 = 96 << 20;
/// The size of a chunk: what a cut may cost, against a round trip for each.
const CHUNK: u64 = 16 << 20;
/// After so many bytes, a connection that breaks is no refusal.
const WORTHWHILE: u64 = 1 << 20;
/// How often a blob is begun again after a cut that cost all the registry had.
const MOST_CUTS: u32 = 32;
/// Records of open uploads.
const SPACE: &str = "uploads";

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
                Ok(Mount::Session(self.session(&place, &answer).ok()))
            }
            Ok(_) => Ok(Mount::Session(None)),
            Err(error) if error.allows_fallback() && !error.is_unreachable() => Ok(Mount::Session(None)),
            Err(error) => Err(error),
        }
    }

    /// Sends the bytes, in a session that is open already or a new one. Small blobs go in one request; large ones in
    /// chunks, so that a cut costs a chunk, in this process or the next.
    pub(crate) async fn send(
        &self,
        opened: Option<Session>,
        content: &Arc<dyn Content>,
    ) -> Result<(), Error> {
        let place = self.place(Operation::Upload);
        let mut session = opened;
        let mut chunk = (self.blob.size > LARGEST_SINGLE).then_some(CHUNK);
        let feed = Feed { content, moved: Arc::default() };
        let (mut failures, mut cuts) = (0, 0);
        loop {
            let mut current = match session.take() {
                Some(session) => session,
                None => match self.remembered(&place, chunk).await? {
                    Some(session) => session,
                    None => self.begin(&place).await?,
                },
            };
            let before = current.offset;
            feed.moved.store(0, Ordering::Relaxed);
            let error = match self.attempt(&place, &mut current, chunk, &feed).await {
                Ok(()) => return self.forget(chunk).await,
                Err(error) => error,
            };
            if let Some(source) = content.failure() {
                return Err(source);
            }
            failures += 1;
            // A proxy before the registry may limit what one request carries.
            if error.status() == Some(413) && chunk.is_none() && self.blob.size > CHUNK {
                chunk = Some(CHUNK);
                continue;
            }
            // A session that the registry has forgotten is replaced once.
            let forgotten = matches!(error.status(), Some(404 | 416)) && failures == 1;
            if !(error.is_passing() || forgotten) {
                return Err(error);
            }
            let wait = backoff(failures);
            self.client.transport.reporter.transfer(Transfer::Retry {
                digest: Some(self.blob.digest),
                host: self.endpoint.authority.clone(),
                reason: layer_store::error::chain(&error),
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            });
            tokio::time::sleep(wait).await;
            // The end may have come and only its answer been lost.
            if !forgotten && self.is_there().await.unwrap_or(false) {
                return self.forget(chunk).await;
            }
            // Only the registry knows how much it kept.
            session = self.ask(&place, &current.location).await;
            let kept = session.as_ref().map_or(0, |session| session.offset);
            let moved = feed.moved.load(Ordering::Relaxed);
            if kept > before {
                // A registry that takes something each time is worth going on with.
                failures = 0;
            } else if error.is_cut() && moved >= WORTHWHILE && cuts < MOST_CUTS {
                // Some registries (distribution before 3) lose the session with the connection, and all that it had.
                // On a line that breaks now and then, the next try may still get through.
                cuts += 1;
                failures = 0;
            } else if failures > self.client.settings().retries || (error.is_unreachable() && failures > 1) {
                // Silence was waited out long enough the second time.
                return Err(error);
            }
        }
    }

    async fn begin(&self, place: &Place) -> Result<Session, Error> {
        let answer = self.client.transport.send(&self.post(place, "blobs/uploads/".to_owned())).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(answer.refused(place));
        }
        let session = self.session(place, &answer)?;
        answer.drain(place, self.client.settings().idle_timeout).await;
        Ok(session)
    }

    async fn attempt(
        &self,
        place: &Place,
        session: &mut Session,
        chunk: Option<u64>,
        feed: &Feed<'_>,
    ) -> Result<(), Error> {
        let state = self.client.transport.state(self.endpoint);
        let _permit = state.transfers.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        if let Some(chunk) = chunk {
            let chunk = chunk.max(session.shortest_chunk);
            // What fits into the last request goes with it.
            while self.blob.size - session.offset > chunk {
                self.patch(place, session, chunk, feed).await?;
                self.remember(session).await?;
            }
        }
        self.put(place, session, feed).await
    }

    /// One chunk. What the registry says it has is what counts, and its newest address.
    async fn patch(
        &self,
        place: &Place,
        session: &mut Session,
        chunk: u64,
        feed: &Feed<'_>,
    ) -> Result<(), Error> {
        let length = chunk.min(self.blob.size - session.offset);
        let mut call = self.write(place, Method::PATCH, session, length, feed);
        call.target = Target::Url(session.location.clone());
        let answer = self.client.transport.send(&call).await?;
        // Some registries say 201 or 204 here.
        if !matches!(answer.status.as_u16(), 201 | 202 | 204) {
            return Err(answer.refused(place));
        }
        let offset = session.offset;
        session.location = self.location(place, &answer)?;
        session.offset = kept(&answer).unwrap_or(offset + length);
        answer.drain(place, self.client.settings().idle_timeout).await;
        if session.offset <= offset || session.offset > offset + length {
            let reason =
                format!("it has {} bytes after {} to {} were sent", session.offset, offset, offset + length);
            return Err(Error::Answer { place: Box::new(place.clone()), reason });
        }
        Ok(())
    }

    /// All that is left, and the end.
    async fn put(&self, place: &Place, session: &Session, feed: &Feed<'_>) -> Result<(), Error> {
        let mut location = session.location.clone();
        // What the registry put into the query is its own affair and stays as it is.
        location.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let mut call = self.write(place, Method::PUT, session, self.blob.size - session.offset, feed);
        call.target = Target::Url(location);
        let answer = self.client.transport.send(&call).await?;
        if !matches!(answer.status.as_u16(), 200 | 201 | 202 | 204) {
            return Err(answer.refused(place));
        }
        answer.drain(place, self.client.settings().idle_timeout).await;
        Ok(())
    }

    fn write(
        &self,
        place: &Place,
        method: Method,
        session: &Session,
        length: u64,
        feed: &Feed<'_>,
    ) -> Call<'_> {
        let is_whole = session.offset == 0 && method == Method::PUT;
        let mut call = Call::new(self.endpoint, place.clone(), method, "");
        call.scopes = Scopes::push(&self.endpoint.repository);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if !is_whole && length > 0 {
            let text = format!("{}-{}", session.offset, session.offset + length - 1);
            // Digits and a dash are always a valid header value.
            call.headers.extend(HeaderValue::from_str(&text).ok().map(|value| (CONTENT_RANGE, value)));
        }
        call.body = self.part(session.offset, length, feed);
        call.repeatable = false;
        call
    }

    /// How far a session is, from the registry itself; `None` when it is gone.
    async fn ask(&self, place: &Place, location: &Url) -> Option<Session> {
        let mut call = Call::new(self.endpoint, place.clone(), Method::GET, "");
        call.scopes = Scopes::push(&self.endpoint.repository);
        call.target = Target::Url(location.clone());
        call.repeatable = false;
        let answer = self.client.transport.send(&call).await.ok()?;
        if !matches!(answer.status.as_u16(), 200 | 202 | 204) {
            return None;
        }
        let offset = kept(&answer).filter(|offset| *offset <= self.blob.size)?;
        let location = self.location(place, &answer).unwrap_or_else(|_| location.clone());
        answer.drain(place, self.client.settings().idle_timeout).await;
        Some(Session { location, offset, shortest_chunk: 0 })
    }

    /// A session that an earlier run left open.
    async fn remembered(&self, place: &Place, chunk: Option<u64>) -> Result<Option<Session>, Error> {
        if chunk.is_none() {
            return Ok(None);
        }
        let (store, key) = (Arc::clone(self.memory), self.key());
        let record = blocking(move || store.record(SPACE, &key)).await?;
        let location =
            record.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| Url::parse(&text).ok());
        let Some(location) = location else { return Ok(None) };
        // The address was the registry's own then; it is followed only where it still would be.
        let is_own = authority_of(&location).as_deref() == Some(self.endpoint.authority.as_str());
        if !is_own {
            return Ok(None);
        }
        match self.ask(place, &location).await {
            Some(session) => Ok(Some(session)),
            None => self.forget(chunk).await.map(|()| None),
        }
    }

    async fn remember(&self, session: &Session) -> Result<(), Error> {
        let (store, key, text) = (Arc::clone(self.memory), self.key(), session.location.to_string());
        blocking(move || store.put_record(SPACE, &key, text.as_bytes())).await
    }

    async fn forget(&self, chunk: Option<u64>) -> Result<(), Error> {
        if chunk.is_none() {
            return Ok(());
        }
        let (store, key) = (Arc::clone(self.memory), self.key());
        blocking(move || store.remove_record(SPACE, &key).map(drop)).await
    }

    fn key(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher
            .field(&self.endpoint.authority)
            .field(&self.endpoint.repository)
            .field(self.blob.digest.as_bytes());
        hasher.finish()
    }

    fn part(&self, offset: u64, length: u64, feed: &Feed<'_>) -> Body {
        let (reporter, digest) = (Arc::clone(&self.client.transport.reporter), self.blob.digest);
        let moved = Arc::clone(&feed.moved);
        Body::Blob(BlobPart {
            content: Arc::clone(feed.content),
            offset,
            length,
            sent: Arc::new(AtomicU64::new(0)),
            progress: Arc::new(move |sent| {
                moved.fetch_max(sent, Ordering::Relaxed);
                reporter.transfer(Transfer::Progress { digest, bytes: offset + sent });
            }),
        })
    }

    fn post(&self, place: &Place, path: String) -> Call<'_> {
        let mut call = Call::new(self.endpoint, place.clone(), Method::POST, path);
        call.scopes = Scopes::push(&self.endpoint.repository);
        call
    }

    fn session(&self, place: &Place, answer: &Answer) -> Result<Session, Error> {
        let shortest_chunk =
            answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Session { location: self.location(place, answer)?, offset: 0, shortest_chunk })
    }

    /// The address that the registry gives.
    fn location(&self, place: &Place, answer: &Answer) -> Result<Url, Error> {
        self.client.upload_location(place, answer)
    }

    fn place(&self, operation: Operation) -> Place {
        place(operation, self.endpoint, self.reference, Some(self.blob.digest))
    }
}

impl Client {
    /// Where an upload goes on: checked, since the registry may name any place.
    pub(crate) fn upload_location(&self, place: &Place, answer: &Answer) -> Result<Url, Error> {
        let unusable =
            |reason: &str| Error::Answer { place: Box::new(place.clone()), reason: reason.to_owned() };
        let location =
            answer.location().ok_or_else(|| unusable("it opened an upload without saying where"))?;
        target::check(&self.settings().hosts, &answer.url, &location).map_err(|reason| Error::Target {
            place: Box::new(place.clone()),
            target: target::origin(&location),
            reason,
        })?;
        Ok(location)
    }
}

/// How many bytes the registry has, from `Range: 0-<last>`. `0-0` stands for none: a chunk is never one byte long.
fn kept(answer: &Answer) -> Option<u64> {
    let text = answer.header(RANGE.as_str())?;
    let (first, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first == 0).then_some(if last == 0 { 0 } else { last + 1 })
}

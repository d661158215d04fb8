//! Blobs from a registry.

use std::sync::Arc;

use bytes::Bytes;
use layer_store::store::Ingest;
use layer_store::{Blobs, Descriptor, Digest};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use crate::client::{Client, place};
use crate::error::{ConnectionFailure, ConnectionKind, Error, Operation, Place};
use crate::hosts::Endpoint;
use crate::ranges::Pace;
use crate::reference::Reference;
use crate::report::{Direction, Transfer};
use crate::sink::{Sink, blocking};
use crate::trail::Trail;
use crate::transport::{Answer, Call, Target, backoff};

/// Progress is told in steps of so many bytes.
const STEP: u64 = 256 << 10;

impl Client {
    /// A small blob of at most `limit` bytes, verified. One request.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let mut trail = Trail::new(Operation::Blob, reference);
        for endpoint in plan.for_blobs() {
            match self.blob_at(endpoint, reference, descriptor, limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => trail.note(endpoint, error)?,
            }
        }
        Err(trail.end())
    }

    /// The size of a blob in bytes, by one HEAD; `None` where no endpoint has it.
    pub async fn blob_size(&self, reference: &Reference, digest: Digest) -> Result<Option<u64>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let mut trail = Trail::new(Operation::Check, reference);
        let mut missing = false;
        for endpoint in plan.for_blobs() {
            let place = place(Operation::Check, endpoint, reference, Some(digest));
            let mut call = blob_call(endpoint, &place, digest);
            call.method = Method::HEAD;
            let result = self.transport.send(&call).await;
            match result {
                Ok(answer) if answer.status.is_success() => match answer.content_length() {
                    Some(size) => return Ok(Some(size)),
                    None => {
                        let reason = "it does not say how long the blob is".to_owned();
                        trail.note(endpoint, Error::Answer { place: Box::new(place), reason })?;
                    }
                },
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => missing = true,
                Ok(answer) => trail.note(endpoint, answer.refused(&place))?,
                Err(error) => trail.note(endpoint, error)?,
            }
        }
        if missing { Ok(None) } else { Err(trail.end()) }
    }

    /// A blob into the store, or another directory of blobs: verified while it streams, going on from what an earlier try left, tried at each endpoint.
    ///
    /// `started` gets the ingest before the first byte is asked for, so that the caller can follow it; it is not called
    /// when the blob is in the store already, or arrives there by another process's work. A follower fails when the bytes
    /// turn out wrong; when this function succeeds all the same (another endpoint had the right ones), the blob is in the
    /// store. Dropping the future keeps what came so far.
    pub async fn fetch<B: Blobs + ?Sized + 'static>(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        store: &Arc<B>,
        started: impl FnOnce(&Ingest) + Send,
    ) -> Result<(), Error> {
        let (digest, total) = (descriptor.digest, descriptor.size);
        let Some(ingest) = open(store, digest, total).await? else {
            self.transport.reporter.transfer(Transfer::Skipped { digest, total });
            return Ok(());
        };
        started(&ingest);
        let permit = self.downloads.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let plan = self.settings().hosts.plan(reference)?;
        let mut trail = Trail::new(Operation::Blob, reference);
        let mut ingest = Some(ingest);
        for endpoint in plan.for_blobs() {
            let next = match ingest.take() {
                Some(ingest) => Some(ingest),
                // The one before ended with its endpoint.
                None => open(store, digest, total).await?,
            };
            let Some(next) = next else { break };
            match self.fetch_at(endpoint, reference, descriptor, store, next).await {
                Ok(()) => {
                    drop(permit);
                    self.transport.reporter.transfer(Transfer::Finished { digest });
                    return Ok(());
                }
                Err(error) => trail.note(endpoint, error)?,
            }
        }
        // A foreign layer may be kept elsewhere, where nobody needs to know who asks.
        for url in &descriptor.urls {
            let Some(endpoint) = Endpoint::foreign(url) else { continue };
            let next = match ingest.take() {
                Some(ingest) => Some(ingest),
                None => open(store, digest, total).await?,
            };
            let Some(next) = next else { break };
            match self.fetch_at(&endpoint, reference, descriptor, store, next).await {
                Ok(()) => {
                    self.transport.reporter.transfer(Transfer::Finished { digest });
                    return Ok(());
                }
                Err(error) => trail.note(&endpoint, error)?,
            }
        }
        Err(trail.end())
    }

    async fn fetch_at<B: Blobs + ?Sized + 'static>(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        descriptor: &Descriptor,
        store: &Arc<B>,
        ingest: Ingest,
    ) -> Result<(), Error> {
        let place = place(Operation::Blob, endpoint, reference, Some(descriptor.digest));
        let Descriptor { digest, size: total, .. } = *descriptor;
        self.transport.reporter.transfer(Transfer::Started {
            digest,
            total,
            direction: Direction::Download,
            host: endpoint.authority.clone(),
        });
        let mut resumed = ingest.offset() > 0;
        let mut sink = Sink::new(ingest);
        loop {
            self.fill(endpoint, &place, descriptor, &mut sink).await?;
            match sink.commit().await {
                Ok(()) => return Ok(()),
                // The part from an earlier time may be what is wrong: once more, all from here.
                Err(Error::Store(layer_store::Error::DigestMismatch { .. })) if resumed => {
                    resumed = false;
                    match open(store, digest, total).await? {
                        Some(ingest) => sink = Sink::new(ingest),
                        None => return Ok(()),
                    }
                }
                Err(Error::Store(
                    source @ (layer_store::Error::DigestMismatch { .. }
                    | layer_store::Error::SizeMismatch { .. }),
                )) => return Err(Error::Content { place: Box::new(place), source }),
                Err(error) => return Err(error),
            }
        }
    }

    /// Streams into the sink until it has all bytes, asking for the rest after every cut.
    async fn fill(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        descriptor: &Descriptor,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        let mut failures = 0;
        while sink.offset() < descriptor.size {
            let before = sink.offset();
            let Err(error) = self.stream(endpoint, place, descriptor, sink).await else { continue };
            // A peer that gives something each time is worth going on with.
            failures = if sink.offset() > before { 1 } else { failures + 1 };
            if !error.is_passing() || failures > self.settings().retries || error.status().is_some() {
                return Err(error);
            }
            let wait = backoff(failures);
            self.transport.reporter.transfer(Transfer::Retry {
                digest: Some(descriptor.digest),
                host: endpoint.authority.clone(),
                reason: layer_store::error::chain(&error),
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            });
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// One request for what is missing.
    async fn stream(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        descriptor: &Descriptor,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        let mut call = blob_call(endpoint, place, descriptor.digest);
        let offset = sink.offset();
        if offset > 0 {
            call.headers.insert(RANGE, range(offset, None));
        }
        let state = self.transport.state(endpoint);
        let _permit = state.transfers.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let mut answer = self.transport.send(&call).await?;
        let mut skip = match answer.status {
            StatusCode::PARTIAL_CONTENT => {
                let (start, _) = content_range(&answer, place, descriptor.size)?;
                if start > offset {
                    return Err(misplaced(place, offset, start));
                }
                offset - start
            }
            // The range was passed over: what is here already comes once more.
            StatusCode::OK => {
                check_length(&answer, place, descriptor.digest, descriptor.size)?;
                offset
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                sink.restart().await?;
                return Ok(());
            }
            _ => return Err(answer.refused(place)),
        };
        let mut told = offset;
        let pace = Pace::from(offset);
        let may_spread = self.settings().ranges > 1 && state.takes_ranges();
        let idle = self.settings().idle_timeout;
        loop {
            let mut piece = match answer.chunk(place, idle).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(Error::Connection { source, .. }) if source.kind == ConnectionKind::Cut => break,
                Err(error) => return Err(error),
            };
            if skip > 0 {
                let skipped = skip.min(piece.len() as u64);
                skip -= skipped;
                piece = piece.slice(usize::try_from(skipped).unwrap_or(piece.len())..);
            }
            self.take(place, descriptor, sink, piece).await?;
            if sink.offset() - told >= STEP || sink.offset() == descriptor.size {
                told = sink.offset();
                self.transport
                    .reporter
                    .transfer(Transfer::Progress { digest: descriptor.digest, bytes: told });
                if may_spread && skip == 0 && pace.is_slow(told, descriptor.size) {
                    return self.spread(endpoint, place, descriptor, sink, answer).await;
                }
            }
        }
        if sink.offset() < descriptor.size {
            let message = format!("the body ended after {} of {} bytes", sink.offset(), descriptor.size);
            return Err(Error::Connection {
                place: Box::new(place.clone()),
                source: ConnectionFailure::cut(message),
            });
        }
        Ok(())
    }

    async fn take(
        &self,
        place: &Place,
        descriptor: &Descriptor,
        sink: &mut Sink,
        piece: Bytes,
    ) -> Result<(), Error> {
        let actual = sink.offset() + piece.len() as u64;
        if actual > descriptor.size {
            return Err(size_mismatch(place, descriptor.digest, descriptor.size, actual));
        }
        if piece.is_empty() { Ok(()) } else { sink.write(piece).await }
    }

    async fn blob_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let Descriptor { digest, size, .. } = *descriptor;
        let place = place(Operation::Blob, endpoint, reference, Some(digest));
        if size > limit {
            return Err(Error::TooLarge { place: Box::new(place), limit });
        }
        let call = blob_call(endpoint, &place, digest);
        let mut again = 0;
        let bytes = loop {
            let answer = self.transport.send(&call).await?;
            if answer.status != StatusCode::OK {
                return Err(answer.refused(&place));
            }
            check_length(&answer, &place, digest, size)?;
            match answer.read(&place, size, self.settings().idle_timeout).await {
                Ok(bytes) => break bytes,
                Err(error) if error.is_passing() && again < self.settings().retries => {
                    again += 1;
                    tokio::time::sleep(backoff(again)).await;
                }
                Err(Error::TooLarge { .. }) => return Err(size_mismatch(&place, digest, size, size + 1)),
                Err(error) => return Err(error),
            }
        };
        if bytes.len() as u64 != size {
            return Err(size_mismatch(&place, digest, size, bytes.len() as u64));
        }
        let actual = Digest::of(&bytes);
        if actual != digest {
            let source = layer_store::Error::DigestMismatch { what: "blob", expected: digest, actual };
            return Err(Error::Content { place: Box::new(place), source });
        }
        Ok(bytes)
    }
}

/// The request for a blob.
pub(crate) fn blob_call<'a>(endpoint: &'a Endpoint, place: &Place, digest: Digest) -> Call<'a> {
    let mut call = Call::new(endpoint, place.clone(), Method::GET, format!("blobs/{digest}"));
    if let Some(url) = &endpoint.foreign {
        call.target = Target::Url(url.clone());
    }
    call
}

/// Begins or resumes; `None`: the blob is there.
async fn open<B: Blobs + ?Sized + 'static>(
    store: &Arc<B>,
    digest: Digest,
    size: u64,
) -> Result<Option<Ingest>, Error> {
    let store = Arc::clone(store);
    blocking(move || match store.blob_size(&digest)? {
        Some(_) => Ok(None),
        None => store.ingest(&digest, size),
    })
    .await
}

/// `bytes=first-last`, or to the end.
pub(crate) fn range(first: u64, last: Option<u64>) -> HeaderValue {
    let text = last.map_or_else(|| format!("bytes={first}-"), |last| format!("bytes={first}-{last}"));
    // Digits and punctuation are always a valid header value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}

/// First and last byte of `Content-Range: bytes first-last/total`, where the total agrees or is left open.
pub(crate) fn content_range(answer: &Answer, place: &Place, size: u64) -> Result<(u64, u64), Error> {
    let text = answer.header(CONTENT_RANGE.as_str()).unwrap_or_default();
    let parsed = (|| {
        let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let agrees = total.trim() == "*" || total.trim().parse() == Ok(size);
        (agrees && first <= last && last < size).then_some((first, last))
    })();
    parsed.ok_or_else(|| Error::Answer {
        place: Box::new(place.clone()),
        reason: format!(
            "`Content-Range: {}` does not fit a blob of {size} bytes",
            text.chars().take(100).collect::<String>()
        ),
    })
}

fn misplaced(place: &Place, wanted: u64, got: u64) -> Error {
    let reason = format!("it was asked for bytes from {wanted} on and sent those from {got} on");
    Error::Answer { place: Box::new(place.clone()), reason }
}

/// A length that is announced wrong is known before a byte is taken.
fn check_length(answer: &Answer, place: &Place, digest: Digest, size: u64) -> Result<(), Error> {
    match answer.content_length() {
        Some(actual) if actual != size => Err(size_mismatch(place, digest, size, actual)),
        _ => Ok(()),
    }
}

fn size_mismatch(place: &Place, digest: Digest, expected: u64, actual: u64) -> Error {
    let source = layer_store::Error::SizeMismatch { digest, expected, actual };
    Error::Content { place: Box::new(place.clone()), source }
}

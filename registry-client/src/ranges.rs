//! One large blob over several connections, where a single one turns out slow.
//!
//! Object stores and far mirrors hold each connection to a fraction of what the line could carry. A download begins as
//! one request, as always; when that is slow and much is left, closed ranges of what comes later are asked for beside it.
//! Pieces are written in order, so that hashing, followers and resumption see what they would of a single stream. A range
//! that fails in any way ends the attempt for this host, and the single stream goes on: nothing is lost but speed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use layer_store::Descriptor;
use reqwest::StatusCode;
use tokio::sync::SemaphorePermit;

use crate::client::Client;
use crate::error::{Error, Place};
use crate::fetch::{blob_call, content_range, range};
use crate::hosts::Endpoint;
use crate::report::Transfer;
use crate::sink::Sink;
use crate::transport::{Answer, HostState, backoff};

/// One range. Fourteen of them in memory are 28 MiB; a round trip of 50 ms costs a third of one at 20 MB/s.
const RANGE: u64 = 2 << 20;
/// Less than this is soon there in any case.
const WORTHWHILE: u64 = 24 << 20;
/// After so long, the speed of a connection is known well enough.
const LOOK: Duration = Duration::from_millis(150);
/// A connection of this speed, in bytes per second, needs no help: hashing and inflating are about to be the limit.
const FAST: f64 = 60e6;

/// How fast a download goes.
pub(crate) struct Pace {
    start: Instant,
    from: u64,
}

impl Pace {
    pub(crate) fn from(offset: u64) -> Self {
        Self { start: Instant::now(), from: offset }
    }

    /// Whether more connections are worth it.
    pub(crate) fn is_slow(&self, offset: u64, size: u64) -> bool {
        let (left, elapsed) = (size - offset, self.start.elapsed());
        if left < WORTHWHILE || elapsed < LOOK {
            return false;
        }
        let speed = (offset - self.from) as f64 / elapsed.as_secs_f64();
        speed < FAST && left as f64 > speed
    }
}

/// A piece in memory, and the permit that accounts for it.
struct Piece<'a> {
    bytes: Vec<Bytes>,
    _permit: SemaphorePermit<'a>,
}

impl Client {
    /// Goes on with a slow download: `answer` gives the bytes up to the first range, and ranges give the rest.
    pub(crate) async fn spread(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        descriptor: &Descriptor,
        sink: &mut Sink,
        mut answer: Answer,
    ) -> Result<(), Error> {
        let state = self.transport.state(endpoint);
        let boundary = sink.offset() + RANGE;
        let mut next = boundary;
        let mut pieces = FuturesOrdered::new();
        let mut push = |pieces: &mut FuturesOrdered<_>| {
            if next < descriptor.size {
                let last = (next + RANGE).min(descriptor.size) - 1;
                pieces.push_back(self.piece(&state, endpoint, place, descriptor, next, last));
                next = last + 1;
            }
        };
        for _ in 1..self.settings().ranges {
            push(&mut pieces);
        }
        let idle = self.settings().idle_timeout;
        let mut ready = Vec::new();
        while sink.offset() < boundary {
            // The ranges move only while they are polled, so both are waited for together.
            tokio::select! {
                piece = answer.chunk(place, idle) => {
                    let Some(mut bytes) = piece? else { break };
                    let room = usize::try_from(boundary - sink.offset()).unwrap_or(usize::MAX);
                    bytes.truncate(room);
                    sink.write(bytes).await?;
                }
                Some(piece) = pieces.next(), if ready.len() < self.settings().ranges => ready.push(piece),
            }
        }
        drop(answer);
        if sink.offset() < boundary {
            // The first connection broke: the ordinary way asks for the rest.
            return Ok(());
        }
        let mut ready = ready.into_iter();
        while sink.offset() < descriptor.size {
            let piece = match ready.next() {
                Some(piece) => piece,
                None => match pieces.next().await {
                    Some(piece) => piece,
                    None => break,
                },
            };
            let piece: Piece<'_> = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::debug!(host = endpoint.authority, %error, "no more ranges side by side");
                    state.range_refusals.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            };
            push(&mut pieces);
            for bytes in piece.bytes {
                sink.write(bytes).await?;
            }
            self.transport
                .reporter
                .transfer(Transfer::Progress { digest: descriptor.digest, bytes: sink.offset() });
        }
        Ok(())
    }

    /// One closed range, whole; what a cut leaves is asked for again.
    async fn piece<'a>(
        &self,
        state: &'a HostState,
        endpoint: &Endpoint,
        place: &Place,
        descriptor: &Descriptor,
        first: u64,
        last: u64,
    ) -> Result<Piece<'a>, Error> {
        let permit = state.ranges.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let mut piece = Piece { bytes: Vec::new(), _permit: permit };
        let (mut at, mut failures) = (first, 0);
        while at <= last {
            let before = at;
            match self.part(endpoint, place, descriptor, &mut at, last, &mut piece.bytes).await {
                Ok(()) => {}
                Err(error) if error.is_passing() && error.status().is_none() => {
                    failures = if at > before { 1 } else { failures + 1 };
                    if failures > self.settings().retries {
                        return Err(error);
                    }
                    tokio::time::sleep(backoff(failures)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(piece)
    }

    async fn part(
        &self,
        endpoint: &Endpoint,
        place: &Place,
        descriptor: &Descriptor,
        at: &mut u64,
        last: u64,
        bytes: &mut Vec<Bytes>,
    ) -> Result<(), Error> {
        let mut call = blob_call(endpoint, place, descriptor.digest);
        call.headers.insert(reqwest::header::RANGE, range(*at, Some(last)));
        // A host that limits how often it is asked should not be asked again for this.
        call.repeatable = false;
        let mut answer = self.transport.send(&call).await?;
        if answer.status != StatusCode::PARTIAL_CONTENT {
            return Err(answer.refused(place));
        }
        let (start, _) = content_range(&answer, place, descriptor.size)?;
        if start != *at {
            let reason = "it sent another range than the one that was asked for".to_owned();
            return Err(Error::Answer { place: Box::new(place.clone()), reason });
        }
        while *at <= last {
            let Some(mut piece) = answer.chunk(place, self.settings().idle_timeout).await? else {
                let source = crate::error::ConnectionFailure::cut("the range ended too early");
                return Err(Error::Connection { place: Box::new(place.clone()), source });
            };
            piece.truncate(usize::try_from(last + 1 - *at).unwrap_or(usize::MAX));
            *at += piece.len() as u64;
            bytes.push(piece);
        }
        Ok(())
    }
}

//! A blob of one registry as the body of an upload to another: it passes through and stays nowhere.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use layer_store::Descriptor;
use reqwest::StatusCode;
use reqwest::header::RANGE;
use tokio::sync::mpsc;

use crate::client::place;
use crate::error::{Error, Operation};
use crate::fetch::{blob_call, content_range, range};
use crate::hosts::Endpoint;
use crate::reference::Reference;
use crate::trail::Trail;
use crate::transport::{Answer, Content, Transport, received};

/// Pieces that wait for the other connection.
const WAITING: usize = 4;

/// A blob of a registry, to be read in any part.
pub(crate) struct Relay {
    source: Arc<Source>,
    failure: Arc<Mutex<Option<Error>>>,
}

struct Source {
    transport: Arc<Transport>,
    reference: Reference,
    blob: Descriptor,
}

impl Relay {
    pub(crate) fn new(transport: &Arc<Transport>, reference: &Reference, blob: &Descriptor) -> Self {
        let source =
            Source { transport: Arc::clone(transport), reference: reference.clone(), blob: blob.clone() };
        Self { source: Arc::new(source), failure: Arc::default() }
    }
}

impl Content for Relay {
    fn open(&self, offset: u64, length: u64) -> BoxStream<'static, io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (source, failure) = (Arc::clone(&self.source), Arc::clone(&self.failure));
        // The task ends with the stream: then nobody takes its pieces.
        tokio::spawn(async move {
            let result = source.send(offset, length, &sender).await;
            if let Err(error) = result {
                let text = layer_store::error::chain(&error);
                if !error.is_passing() {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                let _ = sender.send(Err(io::Error::other(text))).await;
            }
        });
        received(receiver)
    }

    fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Source {
    /// Sends the part on, from the first endpoint that gives it.
    async fn send(
        &self,
        offset: u64,
        length: u64,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let plan = self.transport.settings.hosts.plan(&self.reference)?;
        let mut trail = Trail::new(Operation::Blob, &self.reference);
        let mut sent = 0;
        for endpoint in plan.for_blobs() {
            match self.send_from(endpoint, offset, length, &mut sent, sender).await {
                Ok(()) => return Ok(()),
                Err(error) => trail.note(endpoint, error)?,
            }
        }
        Err(trail.end())
    }

    async fn send_from(
        &self,
        endpoint: &Endpoint,
        offset: u64,
        length: u64,
        sent: &mut u64,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let place = place(Operation::Blob, endpoint, &self.reference, Some(self.blob.digest));
        let mut call = blob_call(endpoint, &place, self.blob.digest);
        let (first, end) = (offset + *sent, offset + length);
        if first > 0 || end < self.blob.size {
            call.headers.insert(RANGE, range(first, Some(end.saturating_sub(1))));
        }
        let mut answer: Answer = self.transport.send(&call).await?;
        let mut skip = match answer.status {
            StatusCode::OK => first,
            StatusCode::PARTIAL_CONTENT => {
                let (start, _) = content_range(&answer, &place, self.blob.size)?;
                first.checked_sub(start).ok_or_else(|| Error::Answer {
                    place: Box::new(place.clone()),
                    reason: "it sent another range than the one that was asked for".to_owned(),
                })?
            }
            _ => return Err(answer.refused(&place)),
        };
        while *sent < length {
            let Some(mut piece) = answer.chunk(&place, self.transport.settings.idle_timeout).await? else {
                let message = format!("the body ended {} bytes too early", length - *sent);
                let source = crate::error::ConnectionFailure::cut(message);
                return Err(Error::Connection { place: Box::new(place), source });
            };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= skipped as u64;
            piece = piece.slice(skipped..);
            piece.truncate(usize::try_from(length - *sent).unwrap_or(usize::MAX));
            if piece.is_empty() {
                continue;
            }
            *sent += piece.len() as u64;
            if sender.send(Ok(piece)).await.is_err() {
                // The upload has ended; what it made of that is its own affair.
                return Ok(());
            }
        }
        Ok(())
    }
}

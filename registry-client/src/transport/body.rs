//! Request bodies that can be sent again from the start.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use layer_store::{Blobs, Digest};
use tokio::sync::mpsc;

use crate::error::Error;

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    Blob(BlobPart),
}

/// Where the bytes of a blob are.
pub(crate) trait Content: Send + Sync {
    /// `length` bytes from `offset` on. May be asked for any part, again and again.
    fn open(&self, offset: u64, length: u64) -> BoxStream<'static, io::Result<Bytes>>;

    /// Why the last stream ended too early, where that was this side's fault and no further try helps.
    fn failure(&self) -> Option<Error> {
        None
    }
}

/// A part of a blob.
#[derive(Clone)]
pub(crate) struct BlobPart {
    pub(crate) content: Arc<dyn Content>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// How many bytes of it the connection has taken.
    pub(crate) sent: Arc<AtomicU64>,
    /// Is told `sent` as it grows.
    pub(crate) progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// A blob on this machine.
pub(crate) struct LocalContent {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) digest: Digest,
}

/// Disk reads are of this size, so that a read costs little beside its hop to a blocking thread.
const PIECE: usize = 256 << 10;
/// Pieces that wait for the connection.
const WAITING: usize = 4;

impl Body {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(part) => part.length,
        }
    }

    /// The body from its start.
    pub(crate) fn open(&self) -> reqwest::Body {
        match self {
            Self::Empty => reqwest::Body::from(""),
            Self::Bytes(bytes) => reqwest::Body::from(bytes.clone()),
            Self::Blob(part) => part.open(),
        }
    }
}

impl BlobPart {
    fn open(&self) -> reqwest::Body {
        self.sent.store(0, Ordering::Relaxed);
        let (sent, progress) = (Arc::clone(&self.sent), Arc::clone(&self.progress));
        let pieces = self.content.open(self.offset, self.length).inspect(move |piece| {
            if let Ok(bytes) = piece {
                let count = bytes.len() as u64;
                progress(sent.fetch_add(count, Ordering::Relaxed) + count);
            }
        });
        reqwest::Body::wrap_stream(pieces)
    }
}

impl Content for LocalContent {
    /// Reads on a blocking thread, ahead of the connection by a few pieces. The thread ends with the stream.
    fn open(&self, offset: u64, length: u64) -> BoxStream<'static, io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (blobs, digest) = (Arc::clone(&self.blobs), self.digest);
        tokio::task::spawn_blocking(move || {
            let mut left = length;
            let mut file = match blobs.open_blob(&digest) {
                Ok(file) => file,
                Err(error) => return drop(sender.blocking_send(Err(io::Error::other(error)))),
            };
            if let Err(error) = file.seek(SeekFrom::Start(offset)) {
                return drop(sender.blocking_send(Err(error)));
            }
            while left > 0 {
                let mut piece = BytesMut::zeroed(usize::try_from(left).map_or(PIECE, |left| left.min(PIECE)));
                let result = match file.read(&mut piece) {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => {
                        piece.truncate(read);
                        left -= read as u64;
                        Ok(piece.freeze())
                    }
                    Err(error) => Err(error),
                };
                let failed = result.is_err();
                if sender.blocking_send(result).is_err() || failed {
                    return;
                }
            }
        });
        received(receiver)
    }
}

/// What a channel gives, as a stream.
pub(crate) fn received(receiver: mpsc::Receiver<io::Result<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
}

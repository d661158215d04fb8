//! Request bodies that can be sent again from the start.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use layer_store::{Digest, Store};

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    Blob(BlobPart),
}

/// A part of a blob of the store.
#[derive(Clone)]
pub(crate) struct BlobPart {
    pub(crate) store: Arc<Store>,
    pub(crate) digest: Digest,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// How many bytes of it the connection has taken.
    pub(crate) sent: Arc<AtomicU64>,
    /// Is told `sent` as it grows.
    pub(crate) progress: Arc<dyn Fn(u64) + Send + Sync>,
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
    /// Reads on a blocking thread, ahead of the connection by a few pieces. The thread ends with the body.
    fn open(&self) -> reqwest::Body {
        self.sent.store(0, Ordering::Relaxed);
        let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(WAITING);
        let part = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut left = part.length;
            let mut file = match part.store.open_blob(&part.digest) {
                Ok(file) => file,
                Err(error) => return drop(sender.blocking_send(Err(std::io::Error::other(error)))),
            };
            if let Err(error) = file.seek(SeekFrom::Start(part.offset)) {
                return drop(sender.blocking_send(Err(error)));
            }
            while left > 0 {
                let mut piece = BytesMut::zeroed(usize::try_from(left).map_or(PIECE, |left| left.min(PIECE)));
                let result = match file.read(&mut piece) {
                    Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
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
        let (sent, progress) = (Arc::clone(&self.sent), Arc::clone(&self.progress));
        let pieces =
            stream::unfold((receiver, sent, progress), |(mut receiver, sent, progress)| async move {
                let piece = receiver.recv().await?;
                if let Ok(bytes) = &piece {
                    progress(sent.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64);
                }
                Some((piece, (receiver, sent, progress)))
            });
        reqwest::Body::wrap_stream(pieces)
    }
}

//! Between async transfers and the store, whose calls block.

use bytes::Bytes;
use layer_store::store::Ingest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Error;

/// Pieces of a body that wait for the disk. With pieces of at most a few hundred kilobytes, this bounds memory.
const WAITING: usize = 4;

/// Runs what blocks on a thread where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> layer_store::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::Setup(Box::new(error))),
    }
}

/// A thread that writes a blob as its bytes come. When the sink is dropped, the thread ends and what was written stays
/// for the next time.
pub(crate) struct Sink {
    pieces: mpsc::Sender<Piece>,
    writer: JoinHandle<layer_store::Result<()>>,
    offset: u64,
}

enum Piece {
    Bytes(Bytes),
    Restart,
    Commit,
}

impl Sink {
    pub(crate) fn new(ingest: Ingest) -> Self {
        let offset = ingest.offset();
        let (pieces, mut receiver) = mpsc::channel(WAITING);
        let writer = tokio::task::spawn_blocking(move || {
            let mut ingest = ingest;
            while let Some(piece) = receiver.blocking_recv() {
                match piece {
                    Piece::Bytes(bytes) => ingest.write(&bytes)?,
                    Piece::Restart => ingest.restart()?,
                    Piece::Commit => return ingest.commit(),
                }
            }
            Ok(())
        });
        Self { pieces, writer, offset }
    }

    /// How many bytes it has, those that wait for the disk included.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.offset += bytes.len() as u64;
        self.send(Piece::Bytes(bytes)).await
    }

    /// Throws away what is there.
    pub(crate) async fn restart(&mut self) -> Result<(), Error> {
        self.offset = 0;
        self.send(Piece::Restart).await
    }

    /// Verifies and names the blob.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.send(Piece::Commit).await?;
        self.end().await
    }

    async fn send(&mut self, piece: Piece) -> Result<(), Error> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // The writer ends early only with an error of the store.
        self.end().await
    }

    async fn end(&mut self) -> Result<(), Error> {
        match (&mut self.writer).await {
            Ok(result) => Ok(result?),
            Err(error) => Err(Error::Setup(Box::new(error))),
        }
    }
}

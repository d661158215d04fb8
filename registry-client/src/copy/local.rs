//! One blob from a directory of this machine to another.

use std::io::Read as _;
use std::sync::Arc;

use layer_store::{Blobs, Descriptor};

use crate::client::Client;
use crate::error::Error;
use crate::sink::blocking;

const PIECE: usize = 256 << 10;

impl Client {
    /// Copies and verifies. What an earlier try left is gone on from.
    pub(super) async fn copy_file(
        &self,
        from: &Arc<dyn Blobs>,
        blob: &Descriptor,
        to: &Arc<dyn Blobs>,
    ) -> Result<(), Error> {
        let _permit = self.downloads.acquire().await.map_err(|error| Error::Setup(Box::new(error)))?;
        let (from, to, blob) = (Arc::clone(from), Arc::clone(to), blob.clone());
        blocking(move || {
            let Some(mut ingest) = to.ingest(&blob.digest, blob.size)? else { return Ok(()) };
            let mut file = from.open_blob(&blob.digest)?;
            let read = |source| layer_store::Error::Read { source };
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(ingest.offset())).map_err(read)?;
            let mut buffer = vec![0; PIECE];
            loop {
                match file.read(&mut buffer).map_err(read)? {
                    0 => return ingest.commit(),
                    count => ingest.write(&buffer[..count])?,
                }
            }
        })
        .await
    }
}

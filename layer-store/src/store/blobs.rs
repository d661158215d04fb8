//! Complete blobs, and blobs that are being taken in.

use std::fs::File;
use std::io::Read;

use crate::{Digest, Result, Store};

/// Blobs.
impl Store {
    /// The size of a complete blob, if it is here. Costs one stat.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let _ = digest;
        unimplemented!()
    }

    /// Opens a complete blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let _ = digest;
        unimplemented!()
    }

    /// A complete blob of at most `limit` bytes, verified.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let _ = (digest, limit);
        unimplemented!()
    }

    /// Stores small content. Idempotent, atomic.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let _ = bytes;
        unimplemented!()
    }

    /// Begins or resumes taking in a blob. Waits for another process that takes in the same one (single flight):
    /// `None` means that the blob is complete by now.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>> {
        let _ = (digest, size);
        unimplemented!()
    }
}

/// A blob that is being taken in. What was written stays when it is dropped, so that a later try goes on from there.
pub struct Ingest {}

impl Ingest {
    /// How many bytes are here already (hashed again when the ingest was opened).
    #[must_use]
    pub fn offset(&self) -> u64 {
        unimplemented!()
    }

    /// Appends bytes. More than the announced size is an error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        unimplemented!()
    }

    /// Throws away what is here and begins again.
    pub fn restart(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// A reader that follows the ingest from its first byte: it blocks until bytes come, ends when the blob is
    /// committed, and fails when the ingest is dropped unfinished.
    pub fn follow(&self) -> Result<Box<dyn Read + Send>> {
        unimplemented!()
    }

    /// Verifies size and digest and names the blob. Bytes that are wrong are thrown away.
    pub fn commit(self) -> Result<()> {
        unimplemented!()
    }
}

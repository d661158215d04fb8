//! Directories of blobs by digest: a store, or an OCI layout that somebody else will read.

use std::fs::File;

use crate::store::Ingest;
use crate::{Digest, Result, Store};

/// A directory of blobs by digest. All calls block. A blob is whole and verified once it is seen here; what is being
/// taken in is not seen.
pub trait Blobs: Send + Sync {
    /// The size of a blob in bytes, if it is here. Costs one stat.
    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>>;

    /// Opens a blob. Its bytes are not verified again.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Missing`] when it is not here.
    fn open_blob(&self, digest: &Digest) -> Result<File>;

    /// A blob of at most `limit` bytes, verified.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Missing`], [`crate::Error::TooLarge`], [`crate::Error::DigestMismatch`].
    fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>>;

    /// Begins or resumes taking in a blob; `None`: it is here. See [`Store::ingest`].
    fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>>;

    /// Keeps small content. Idempotent, atomic.
    fn put_blob(&self, bytes: &[u8]) -> Result<Digest>;
}

impl Blobs for Store {
    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        Self::blob_size(self, digest)
    }

    fn open_blob(&self, digest: &Digest) -> Result<File> {
        Self::open_blob(self, digest)
    }

    fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        Self::read_blob(self, digest, limit)
    }

    fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>> {
        Self::ingest(self, digest, size)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        Self::put_blob(self, bytes)
    }
}

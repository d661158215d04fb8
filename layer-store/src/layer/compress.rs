//! Compressed forms of a layer, made on demand.

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, Result, Store};

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 0 to 9.
    Gzip(u32),
    /// zstd at a level from 1 to 22.
    Zstd(i32),
}

/// Compressed forms of a layer.
impl Store {
    /// The descriptor of a blob of the layer that is here, made now if there is none: a pulled blob of any
    /// compression is taken as it is unless `force`.
    pub fn layer_blob(&self, diff_id: &Digest, compression: Compression, force: bool) -> Result<Descriptor> {
        let _ = (diff_id, compression, force);
        unimplemented!()
    }

    /// The blobs that hold this layer, here or elsewhere, as far as known.
    pub fn known_blobs(&self, diff_id: &Digest) -> Result<Vec<Descriptor>> {
        let _ = diff_id;
        unimplemented!()
    }

    /// Remembers that `blob` holds the layer. Idempotent.
    pub fn remember_blob(&self, diff_id: &Digest, blob: &Descriptor) -> Result<()> {
        let _ = (diff_id, blob);
        unimplemented!()
    }
}

//! Which blobs hold a layer.

use std::io;

use serde::{Deserialize, Serialize};

use super::Compression;
use crate::error::IoContext as _;
use crate::store::records::{with_sum, without_sum};
use crate::store::writing::Sync;
use crate::{Descriptor, Digest, Error, Result, Store};

/// Names what decides the bytes of the compressors. Raised when `golden_bytes` changes, so that what an earlier
/// version made is not mistaken for what this one makes.
pub(super) const REVISION: u32 = 1;

/// A blob that holds a layer, here or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownBlob {
    /// The blob.
    pub descriptor: Descriptor,
    /// Who made it.
    pub made_by: Origin,
}

/// Who made a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Somebody else; it was read here and inflates to the diffID.
    Pulled,
    /// Somebody else, as a manifest says: nobody has read it here yet.
    Claimed,
    /// [`Store::layer_blob`].
    Here {
        /// How it is compressed.
        compression: Compression,
        /// Which version of the compressors made it.
        revision: u32,
    },
}

impl Origin {
    fn rank(self) -> u8 {
        match self {
            Self::Pulled => 0,
            Self::Here { .. } => 1,
            Self::Claimed => 2,
        }
    }
}

impl Store {
    /// The blobs that hold this layer, or are said to, here or elsewhere: pulled ones first and mere claims last, in
    /// the order in which they became known.
    pub fn known_blobs(&self, diff_id: &Digest) -> Result<Vec<Descriptor>> {
        Ok(self.blob_records(diff_id)?.into_iter().map(|known| known.descriptor).collect())
    }

    /// Remembers that `blob`, which somebody else made, holds the layer: it was read, and inflates to the diffID.
    /// Idempotent. The layer itself need not be here.
    pub fn remember_blob(&self, diff_id: &Digest, blob: &Descriptor) -> Result<()> {
        self.remember(diff_id, KnownBlob { descriptor: blob.clone(), made_by: Origin::Pulled })
    }

    /// Remembers that a manifest names `blob` as the layer, which may be a lie: nothing is made of it before it was
    /// read (see [`Store::take_blob`]). Idempotent.
    pub fn claim_blob(&self, diff_id: &Digest, blob: &Descriptor) -> Result<()> {
        self.remember(diff_id, KnownBlob { descriptor: blob.clone(), made_by: Origin::Claimed })
    }

    /// As [`Store::known_blobs`], with who made them.
    pub fn blob_records(&self, diff_id: &Digest) -> Result<Vec<KnownBlob>> {
        let path = self.layer_dir(diff_id).join("blobs");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read", path),
        };
        let malformed = |reason: &str| Error::Malformed {
            what: "list of a layer's blobs",
            reason: format!("{reason}, in `{}`", path.display()),
        };
        let bytes = without_sum(bytes).ok_or_else(|| malformed("its bytes are damaged"))?;
        serde_json::from_slice(&bytes).map_err(|error| malformed(&error.to_string()))
    }

    pub(super) fn remember(&self, diff_id: &Digest, mut blob: KnownBlob) -> Result<()> {
        // What an index said about the whole image says nothing about the layer.
        blob.descriptor.platform = None;
        if self.blob_records(diff_id)?.contains(&blob) {
            return Ok(());
        }
        let _lock = self.lock("blobs", diff_id)?;
        let before = self.blob_records(diff_id)?;
        let mut known = before.clone();
        match known.iter_mut().find(|one| one.descriptor.digest == blob.descriptor.digest) {
            // What is known about it, where else it is for instance, adds up. A blob that was pulled and that we make
            // as well stays a pulled one, as it came; a claim takes nothing away.
            Some(same) => {
                let annotations = std::mem::take(&mut blob.descriptor.annotations);
                same.descriptor.annotations.extend(annotations);
                if blob.made_by.rank() < same.made_by.rank() {
                    let annotations = std::mem::take(&mut same.descriptor.annotations);
                    *same = blob;
                    same.descriptor.annotations = annotations;
                }
            }
            None => known.push(blob),
        }
        known.sort_by_key(|one| one.made_by.rank());
        if known == before {
            return Ok(());
        }
        let directory = self.layer_dir(diff_id);
        std::fs::create_dir_all(&directory).context("create", &directory)?;
        // Strings and numbers only, which serde_json cannot refuse.
        let bytes = serde_json::to_vec(&known).unwrap_or_default();
        self.write_whole(&directory.join("blobs"), &with_sum(&bytes), Sync::Whole)
    }
}

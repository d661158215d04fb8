//! The compressed form of a layer, made when something needs it.

use std::io::{self, BufWriter, Write};

use super::known::{KnownBlob, Origin, REVISION};
use super::{Compression, Encoder};
use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::manifest::media_type;
use crate::store::writing::{Sync, Unnamed};
use crate::{Descriptor, Digest, Error, Result, Store};

impl Store {
    /// The descriptor of a blob of the layer that is here, made now if there is none: a pulled blob of any
    /// compression is taken as it is unless `force`, which asks for the same algorithm, at any level.
    ///
    /// The media type is OCI's, also of a blob that was pulled under Docker's. Single flight for each layer and
    /// compression; memory does not depend on the layer's size.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] when the bytes of the layer do not have its diffID; nothing is left then.
    pub fn layer_blob(&self, diff_id: &Digest, compression: Compression, force: bool) -> Result<Descriptor> {
        if let Some(found) = self.fitting_blob(diff_id, compression, force)? {
            return Ok(found);
        }
        let key = Digest::of(format!("{diff_id} {compression:?}").as_bytes());
        let _lock = self.lock("compress", &key)?;
        if let Some(found) = self.fitting_blob(diff_id, compression, force)? {
            return Ok(found);
        }
        let descriptor = self.compress(diff_id, compression)?;
        let made_by = Origin::Here { compression, revision: REVISION };
        self.remember(diff_id, KnownBlob { descriptor: descriptor.clone(), made_by })?;
        Ok(descriptor)
    }

    fn fitting_blob(
        &self,
        diff_id: &Digest,
        compression: Compression,
        force: bool,
    ) -> Result<Option<Descriptor>> {
        let wanted = Origin::Here { compression, revision: REVISION };
        for KnownBlob { mut descriptor, made_by } in self.blob_records(diff_id)? {
            let fits = match made_by {
                Origin::Pulled => !force || compression.matches(&descriptor.media_type),
                here @ Origin::Here { .. } => here == wanted,
            };
            if fits && self.blob_size(&descriptor.digest)? == Some(descriptor.size) {
                descriptor.media_type = media_type::oci(&descriptor.media_type).to_owned();
                return Ok(Some(descriptor));
            }
        }
        Ok(None)
    }

    fn compress(&self, diff_id: &Digest, compression: Compression) -> Result<Descriptor> {
        let output = Hashed { inner: self.unnamed()?, hasher: Hasher::default() };
        // Not for speed alone: a tar comes in small pieces, and uncompressed ones would be a system call each.
        let output = BufWriter::with_capacity(256 * 1024, output);
        let encoder = Encoder::new(output, compression, Encoder::<Unnamed>::threads());
        let encoder = encoder.context("start to compress", self.root())?;
        let mut input = Hashed { inner: encoder, hasher: Hasher::default() };
        self.write_tar(diff_id, &mut input)?;
        let actual = input.hasher.finish();
        if actual != *diff_id {
            return Err(Error::DigestMismatch { what: "layer", expected: *diff_id, actual });
        }
        let finished = input.inner.finish().and_then(|buffer| buffer.into_inner().map_err(Into::into));
        let Hashed { inner: file, hasher } = finished.context("write a blob below", self.root())?;
        let size = hasher.bytes();
        let digest = hasher.finish();
        file.name(&self.blob_path(&digest), 0o444, Sync::Named, self.durability())?;
        Ok(Descriptor::new(compression.media_type(), digest, size))
    }
}

/// Hashes what passes through.
struct Hashed<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

//! The compressed form of a layer, made when something needs it.

use std::io::{self, BufWriter, Write};

use super::known::{KnownBlob, Origin, REVISION};
use super::{Compression, Encoder};
use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::manifest::media_type;
use crate::store::writing::{Sync, Unnamed};
use crate::{Descriptor, Digest, Result, Store};

impl Store {
    /// The descriptor of a blob of the layer that is here, made now if there is none: a pulled blob of any
    /// compression is taken as it is unless `force`, which asks for the same algorithm, at any level.
    ///
    /// The media type is OCI's, also of a blob that was pulled under Docker's. Single flight for each layer and
    /// compression; memory does not depend on the layer's size.
    ///
    /// # Errors
    ///
    /// [`crate::Error::DigestMismatch`] when the bytes of the layer do not have its diffID; nothing is left then.
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
                Origin::Claimed => false,
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
        let mut encoder = encoder.context("start to compress", self.root())?;
        // Which verifies what it gives.
        self.write_tar(diff_id, &mut encoder)?;
        let finished = encoder.finish().and_then(|buffer| buffer.into_inner().map_err(Into::into));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;
    use crate::StoreOptions;
    use crate::layer::{FileSource, Form, NewEntry, NewKind, decompress};

    fn open() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        (dir, store)
    }

    fn layer(store: &Store, form: Form) -> Digest {
        let entries = (0..50_u32).map(|number| {
            let bytes = format!("file {number}\n").repeat(1000).into_bytes();
            NewEntry {
                path: format!("file-{number}").into_bytes(),
                kind: NewKind::File { size: bytes.len() as u64, source: FileSource::Bytes(bytes.into()) },
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: 1,
                xattrs: BTreeMap::new(),
            }
        });
        store.write_layer(entries.collect(), form).unwrap()
    }

    #[test]
    fn is_made_once_and_holds_the_layer() {
        let (_dir, store) = open();
        let diff_id = layer(&store, Form::Tree);
        let mut digests = Vec::new();
        for compression in
            [Compression::Gzip(6), Compression::Gzip(1), Compression::Zstd(3), Compression::None]
        {
            let made = store.layer_blob(&diff_id, compression, false).unwrap();
            assert_eq!(made.media_type, compression.media_type());
            assert_eq!(store.blob_size(&made.digest).unwrap(), Some(made.size));
            let mut hasher = Hasher::default();
            let blob = store.open_blob(&made.digest).unwrap();
            let mut bytes = Vec::new();
            decompress(blob, crate::layer::Limits::default()).unwrap().read_to_end(&mut bytes).unwrap();
            hasher.update(&bytes);
            assert_eq!(hasher.finish(), diff_id);
            assert_eq!(store.layer_blob(&diff_id, compression, true).unwrap(), made);
            digests.push(made.digest);
        }
        assert_eq!(digests[3], diff_id);
        assert_eq!(store.known_blobs(&diff_id).unwrap().len(), 4);
        // Somewhere else, from another form, the bytes are the same.
        let (_dir, other) = open();
        let again = layer(&other, Form::Tar);
        assert_eq!(other.layer_blob(&again, Compression::Gzip(6), false).unwrap().digest, digests[0]);
        assert_eq!(store.check().unwrap().problems, []);
    }

    #[test]
    fn a_pulled_blob_is_taken_as_it_came() {
        let (_dir, store) = open();
        let diff_id = layer(&store, Form::Tar);
        let bytes = b"as somebody else compressed it";
        let mut pulled =
            Descriptor::new(media_type::DOCKER_LAYER_GZIP, Digest::of(bytes), bytes.len() as u64);
        pulled.annotations.insert("source".to_owned(), "one".to_owned());
        store.remember_blob(&diff_id, &pulled).unwrap();
        // It is known, but it is not here.
        let made = store.layer_blob(&diff_id, Compression::Zstd(3), false).unwrap();
        assert_eq!(made.media_type, media_type::OCI_LAYER_ZSTD);
        store.put_blob(bytes).unwrap();
        let taken = store.layer_blob(&diff_id, Compression::Zstd(3), false).unwrap();
        assert_eq!((taken.digest, taken.media_type.as_str()), (pulled.digest, media_type::OCI_LAYER_GZIP));
        assert_eq!(store.layer_blob(&diff_id, Compression::Zstd(3), true).unwrap(), made);
        assert_eq!(store.layer_blob(&diff_id, Compression::Gzip(9), true).unwrap().digest, pulled.digest);

        let mut again = pulled.clone();
        again.annotations = [("other".to_owned(), "two".to_owned())].into();
        store.remember_blob(&diff_id, &again).unwrap();
        let known = store.known_blobs(&diff_id).unwrap();
        assert_eq!(known[0].digest, pulled.digest, "pulled ones come first");
        assert_eq!(known[0].annotations.len(), 2, "what is known of a blob adds up");
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn what_a_manifest_says_is_not_believed() {
        let (_dir, store) = open();
        let diff_id = layer(&store, Form::Tree);
        let lie = store.put_blob(b"another layer, or none").unwrap();
        let lie = Descriptor::new(media_type::OCI_LAYER, lie, 22);
        store.claim_blob(&diff_id, &lie).unwrap();
        let made = store.layer_blob(&diff_id, Compression::Gzip(6), false).unwrap();
        assert_ne!(made.digest, lie.digest);
        for form in [Form::Index, Form::Tree, Form::Tar] {
            store.take_blob(&diff_id, &lie, form).unwrap_err();
        }
        assert_eq!(store.local_blob(&diff_id).unwrap(), Some(made.digest));

        // The truth becomes more than a claim when it was read.
        let other = {
            let (_dir, other) = open();
            let layer = layer(&other, Form::Tree);
            let blob = other.layer_blob(&layer, Compression::Zstd(3), false).unwrap();
            store.put_stream(&mut other.open_blob(&blob.digest).unwrap()).unwrap();
            blob
        };
        store.claim_blob(&diff_id, &other).unwrap();
        assert_eq!(store.layer_blob(&diff_id, Compression::Gzip(6), false).unwrap(), made);
        store.take_blob(&diff_id, &other, Form::Index).unwrap();
        assert_eq!(store.layer_blob(&diff_id, Compression::Gzip(6), false).unwrap(), other);
        assert_eq!(store.known_blobs(&diff_id).unwrap().last().unwrap().digest, lie.digest);
    }

    #[test]
    fn a_damaged_layer_gives_no_blob() {
        let (dir, store) = open();
        let diff_id = layer(&store, Form::Tree);
        let file = store.tree(&diff_id).unwrap().join("file-7");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let result = store.layer_blob(&diff_id, Compression::Gzip(6), false);
        assert!(matches!(result, Err(crate::Error::DigestMismatch { .. })), "{result:?}");
        assert_eq!(store.known_blobs(&diff_id).unwrap(), []);
        for directory in ["tmp", "blobs/sha256"] {
            assert_eq!(std::fs::read_dir(dir.path().join(directory)).unwrap().count(), 0, "{directory}");
        }
        let problems = store.check().unwrap().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        store.repair(&problems).unwrap();
        assert!(!store.has_layer(&diff_id));
    }

    #[test]
    fn one_flight_for_many() {
        let (_dir, store) = open();
        let diff_id = layer(&store, Form::Tar);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| store.layer_blob(&diff_id, Compression::Gzip(6), false).unwrap()))
                .collect();
            let made: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(made.iter().all(|one| *one == made[0]));
        });
        assert_eq!(store.known_blobs(&diff_id).unwrap().len(), 1);
    }
}

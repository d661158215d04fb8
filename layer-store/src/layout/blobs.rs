//! A layout in a directory as a place that blobs come from and go to, without a store between.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use super::directory::{merge, put};
use super::read::open_regular;
use super::{ExportImage, LayoutDirectory, list};
use crate::error::IoContext as _;
use crate::manifest::ManifestContent;
use crate::store::{Durability, Ingest};
use crate::{Blobs, Digest, Error, Manifest, Result};

/// Where blobs gather until they are whole: beside the layout's own files, and gone when nothing is left in it.
const PARTIAL: &str = ".rbuild-partial";

impl Blobs for LayoutDirectory {
    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(Error::Malformed { what: "blob", reason: format!("{digest} is no regular file") }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("stat", path),
        }
    }

    fn open_blob(&self, digest: &Digest) -> Result<File> {
        open_regular(&self.blob_path(digest))?.ok_or(Error::Missing { what: "blob", digest: *digest })
    }

    fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let input = self.open_blob(digest)?;
        let path = self.blob_path(digest);
        input.take(limit.saturating_add(1)).read_to_end(&mut bytes).context("read", path)?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { what: "blob", digest: *digest, limit });
        }
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(Error::DigestMismatch { what: "blob", expected: *digest, actual });
        }
        Ok(bytes)
    }

    fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>> {
        let partial = self.path.join(PARTIAL);
        std::fs::create_dir_all(&partial).context("create", &partial)?;
        let target = self.blob_path(digest);
        // Nothing is synced: a layout is written again where a machine went down meanwhile.
        Ingest::begin(digest, size, partial.join(digest.hex()), target, Durability::None, &|| {
            self.blob_size(digest)
        })
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(&digest);
        if self.blob_size(&digest)? != Some(bytes.len() as u64) {
            put(&path, bytes)?;
        }
        Ok(digest)
    }
}

impl LayoutDirectory {
    /// Lists images, whose blobs are here, in `index.json`, which is replaced at once. Whoever had one of the names
    /// loses it.
    pub fn list(&mut self, images: &[ExportImage]) -> Result<()> {
        let index = merge(&self.path, &Manifest::index(list(images), BTreeMap::new()))?;
        put(&self.path.join("index.json"), &index.raw)?;
        if let ManifestContent::Index { manifests, .. } = index.content {
            self.descriptors = manifests;
        }
        // It holds what was cut off, if anything; then it stays.
        let _ = std::fs::remove_dir(self.path.join(PARTIAL));
        Ok(())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Descriptor;
    use crate::layout::create_directory;
    use crate::manifest::media_type;

    #[test]
    fn takes_in_and_lists() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/layout");
        create_directory(&path).unwrap();
        create_directory(&path).unwrap();
        let mut layout = LayoutDirectory::open(&path).unwrap();
        assert!(layout.descriptors().is_empty());

        let digest = Digest::of(b"hello");
        let mut ingest = layout.ingest(&digest, 5).unwrap().unwrap();
        ingest.write(b"hel").unwrap();
        drop(ingest);
        assert_eq!(layout.blob_size(&digest).unwrap(), None);
        let mut ingest = layout.ingest(&digest, 5).unwrap().unwrap();
        assert_eq!(ingest.offset(), 3);
        ingest.write(b"lo").unwrap();
        ingest.commit().unwrap();
        assert_eq!(layout.read_blob(&digest, 5).unwrap(), b"hello");
        assert!(layout.ingest(&digest, 5).unwrap().is_none());

        let config = layout.put_blob(b"{}").unwrap();
        let manifest =
            Manifest::image(Descriptor::new(media_type::OCI_CONFIG, config, 2), vec![], BTreeMap::new());
        layout.put_blob(&manifest.raw).unwrap();
        let name = "docker.io/library/a:1".to_owned();
        let image = ExportImage { manifest, platform: None, names: vec![name] };
        layout.list(&[image.clone(), image]).unwrap();
        assert_eq!(LayoutDirectory::open(&path).unwrap().descriptors(), layout.descriptors());
        assert!(!path.join(PARTIAL).exists());
    }
}

//! Complete blobs.

use std::fs::File;
use std::io::{self, Read, Write as _};

use super::writing::Sync;
use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::{Descriptor, Digest, Error, Result, Store};

/// Blobs.
impl Store {
    /// The size of a complete blob, if it is here. Costs one stat.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(Error::Malformed { what: "blob", reason: format!("{digest} is no regular file") }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("stat", path),
        }
    }

    /// Opens a complete blob. Its bytes were verified when they came; they are not verified again here.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when it is not here.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing { what: "blob", digest: *digest })
            }
            Err(error) => Err(error).context("open", path),
        }
    }

    /// A complete blob of at most `limit` bytes, verified.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::TooLarge`], and [`Error::DigestMismatch`] when the disk lost its bytes.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let path = self.blob_path(digest);
        self.open_blob(digest)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .context("read", path)?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { what: "blob", digest: *digest, limit });
        }
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(Error::DigestMismatch { what: "blob", expected: *digest, actual });
        }
        Ok(bytes)
    }

    /// Stores small content. Idempotent, atomic.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest)? == Some(bytes.len() as u64) {
            return Ok(digest);
        }
        let path = self.blob_path(&digest);
        let mut file = self.unnamed()?;
        file.write_all(bytes).context("write", &path)?;
        file.name(&path, 0o444, Sync::Named, self.durability())?;
        Ok(digest)
    }

    /// Stores what `input` gives, whose digest nobody knows yet. The media type of the result is empty.
    pub fn put_stream(&self, input: &mut dyn Read) -> Result<Descriptor> {
        let mut file = self.unnamed()?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Read { source }),
            };
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).context("write a blob below", self.root())?;
        }
        let size = hasher.bytes();
        let blob = Descriptor::new("", hasher.finish(), size);
        if self.blob_size(&blob.digest)? != Some(size) {
            file.name(&self.blob_path(&blob.digest), 0o444, Sync::Named, self.durability())?;
        }
        Ok(blob)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::{Digest, Error, Store, StoreOptions};

    #[test]
    fn small_content_comes_back_verified() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let digest = store.put_blob(b"hello").unwrap();
        assert_eq!(store.put_blob(b"hello").unwrap(), digest);
        assert_eq!(store.blob_size(&digest).unwrap(), Some(5));
        assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
        assert!(matches!(store.read_blob(&digest, 4), Err(Error::TooLarge { limit: 4, .. })));
        let path = store.blob_path(&digest);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        let other = Digest::of(b"other");
        assert!(matches!(store.open_blob(&other), Err(Error::Missing { .. })));

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "hellO").unwrap();
        assert!(matches!(store.read_blob(&digest, 5), Err(Error::DigestMismatch { .. })));
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}

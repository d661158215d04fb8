//! Small records by key.

use std::io;
use std::path::PathBuf;

use super::make_directory;
use super::writing::Sync;
use crate::error::IoContext as _;
use crate::{Digest, Result, Store};

/// Small records by key.
impl Store {
    /// The record of that key in `space` (`steps`, `contexts`, …; a plain word).
    pub fn record(&self, space: &'static str, key: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.record_path(space, key);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read", path),
        }
    }

    /// Writes a record. Atomic; the last one wins. After a power cut it may be gone, but is never torn.
    pub fn put_record(&self, space: &'static str, key: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.record_path(space, key);
        if let Some(parent) = path.parent() {
            make_directory(parent, 0o755)?;
        }
        self.write_whole(&path, bytes, Sync::Whole)
    }

    /// Forgets a record; whether there was one.
    pub fn remove_record(&self, space: &'static str, key: &Digest) -> Result<bool> {
        let path = self.record_path(space, key);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context("remove", path),
        }
    }

    /// The keys of all records in `space`, sorted. Files that are no records are passed over.
    pub fn record_keys(&self, space: &'static str) -> Result<Vec<Digest>> {
        let mut keys = Vec::new();
        let walk = walkdir::WalkDir::new(self.root.join(space)).min_depth(2).max_depth(2);
        for entry in walk {
            match entry {
                Ok(entry) => {
                    keys.extend(entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok()));
                }
                Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => return Err(error).context("list", self.root.join(space)),
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// Two levels, since a directory with a hundred thousand names is slow to list.
    fn record_path(&self, space: &'static str, key: &Digest) -> PathBuf {
        let hex = key.hex();
        self.root.join(space).join(&hex[..2]).join(hex)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Digest, Store, StoreOptions};

    #[test]
    fn the_last_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let key = Digest::of(b"key");
        assert_eq!(store.record("steps", &key).unwrap(), None);
        store.put_record("steps", &key, b"one").unwrap();
        store.put_record("steps", &key, b"two").unwrap();
        assert_eq!(store.record("steps", &key).unwrap().unwrap(), b"two");
        assert_eq!(store.record("contexts", &key).unwrap(), None);
        assert_eq!(store.record_keys("steps").unwrap(), [key]);
        assert!(store.remove_record("steps", &key).unwrap());
        assert!(!store.remove_record("steps", &key).unwrap());
        assert_eq!(store.record_keys("new-space").unwrap(), []);
    }
}

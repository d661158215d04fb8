//! Small records by key. Each file ends in the CRC-32 of what is before, so that one that the disk changed is none.

use std::io;
use std::path::PathBuf;

use super::make_directory;
use super::writing::Sync;
use crate::error::IoContext as _;
use crate::{Digest, Result, Store};

/// The length of the checksum at the end, in bytes.
const SUM: usize = 4;

/// Directories of the store that hold something else.
const NO_RECORDS: [&str; 8] = ["blobs", "layers", "images", "mounts", "ingest", "logs", "locks", "tmp"];

/// Small records by key.
impl Store {
    /// The record of that key in `space` (`steps`, `contexts`, …; a plain word). A damaged one is none.
    pub fn record(&self, space: &str, key: &Digest) -> Result<Option<Vec<u8>>> {
        Ok(self.raw_record(space, key)?.and_then(without_sum))
    }

    /// Whether a record is there and is not what was written.
    pub(super) fn record_is_damaged(&self, space: &str, key: &Digest) -> Result<bool> {
        Ok(self.raw_record(space, key)?.is_some_and(|bytes| without_sum(bytes).is_none()))
    }

    fn raw_record(&self, space: &str, key: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.record_path(space, key);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read", path),
        }
    }

    /// Writes a record. Atomic; the last one wins. After a power cut it may be gone: one that was torn is none.
    pub fn put_record(&self, space: &str, key: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.record_path(space, key);
        if let Some(parent) = path.parent() {
            make_directory(parent, 0o755)?;
        }
        self.write_whole(&path, &with_sum(bytes), Sync::Nothing)
    }

    /// Forgets a record; whether there was one.
    pub fn remove_record(&self, space: &str, key: &Digest) -> Result<bool> {
        let path = self.record_path(space, key);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context("remove", path),
        }
    }

    /// The keys of all records in `space`, sorted. Files that are no records are passed over.
    pub fn record_keys(&self, space: &str) -> Result<Vec<Digest>> {
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

    /// The spaces that there are: whatever directory is not of the store's own.
    pub(super) fn record_spaces(&self) -> Result<Vec<String>> {
        let mut spaces = super::collect::names(&self.root)?;
        spaces.retain(|name| !NO_RECORDS.contains(&name.as_str()) && self.root.join(name).is_dir());
        Ok(spaces)
    }

    /// Two levels, since a directory with a hundred thousand names is slow to list.
    pub(super) fn record_path(&self, space: &str, key: &Digest) -> PathBuf {
        let hex = key.hex();
        self.root.join(space).join(&hex[..2]).join(hex)
    }
}

/// What a record's file holds.
pub(crate) fn with_sum(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc(bytes).to_le_bytes()].concat()
}

/// The record that a file holds; `None` if the disk changed it.
pub(crate) fn without_sum(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (body, sum) = bytes.split_last_chunk::<SUM>()?;
    if crc(body).to_le_bytes() != *sum {
        return None;
    }
    bytes.truncate(bytes.len() - SUM);
    Some(bytes)
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
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
        assert_eq!(store.record_spaces().unwrap(), ["contexts", "steps"]);
    }

    #[test]
    fn a_damaged_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let key = Digest::of(b"key");
        store.put_record("steps", &key, b"some text").unwrap();
        let path = store.record_path("steps", &key);
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(store.record("steps", &key).unwrap(), None, "bit {bit}");
            assert!(store.record_is_damaged("steps", &key).unwrap());
        }
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(store.record("steps", &key).unwrap(), None);
    }
}

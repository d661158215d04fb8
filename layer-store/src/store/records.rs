//! Small records by key, locks and scratch directories.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{Digest, Result, Store};

/// Small records by key, and locks.
impl Store {
    /// The record of that key in `space` (`steps`, `contexts`, …; a plain word).
    pub fn record(&self, space: &'static str, key: &Digest) -> Result<Option<Vec<u8>>> {
        let _ = (space, key);
        unimplemented!()
    }

    /// Writes a record. Atomic; the last one wins.
    pub fn put_record(&self, space: &'static str, key: &Digest, bytes: &[u8]) -> Result<()> {
        let _ = (space, key, bytes);
        unimplemented!()
    }

    /// Takes the lock of `key`, exclusive across threads and processes, waiting for it. Held until dropped; the kernel
    /// drops it with the process.
    pub fn lock(&self, space: &'static str, key: &Digest) -> Result<Lock> {
        let _ = (space, key);
        unimplemented!()
    }

    /// A fresh directory for a step's work (overlay upper and work, staging). On the same filesystem as the layers.
    /// Removed when dropped, and by collection when its process is gone.
    pub fn scratch(&self) -> Result<Scratch> {
        unimplemented!()
    }
}

/// A held lock.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

/// A directory that goes when this value does.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

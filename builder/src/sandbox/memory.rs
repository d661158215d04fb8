//! Memory of the keeper's that steps find at the same path.

use std::path::{Path, PathBuf};

use super::mounting::memory_at;
use super::report::Failure;
use super::root::make_directory;

/// A directory of the store where only this keeper and its steps see what the keeper puts there.
#[derive(Debug)]
pub(super) struct Memory {
    place: PathBuf,
    mounted: bool,
}

impl Memory {
    /// Nothing is mounted before something is put there.
    pub(super) fn new(store_root: &Path) -> Self {
        Self { place: store_root.join("sandbox-memory"), mounted: false }
    }

    /// A new directory in it.
    pub(super) fn directory(&mut self, name: &str) -> Result<PathBuf, Failure> {
        if !self.mounted {
            make_directory(&self.place)?;
            memory_at(&self.place)?;
            self.mounted = true;
        }
        let directory = self.place.join(name);
        make_directory(&directory)?;
        Ok(directory)
    }
}

//! Directories that go when their user does.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::writing::fresh_name;
use super::{Custodian, flock, removal};
use crate::error::IoContext as _;
use crate::{Result, Store};

/// A directory that goes when this value does.
pub struct Scratch {
    path: PathBuf,
    lock: PathBuf,
    // Its lock tells collection that the directory is in use.
    _file: File,
    custodian: Option<Arc<dyn Custodian>>,
}

impl Store {
    /// A fresh directory for a step's work (overlay upper and work, staging), mode 0755. On the same filesystem as
    /// the layers. Removed when dropped, and by collection when its process is gone.
    pub fn scratch(&self) -> Result<Scratch> {
        let name = fresh_name();
        let path = self.root.join("tmp").join(&name);
        let lock = self.root.join("tmp").join(format!("{name}.lock"));
        // The lock first: a directory without one belongs to nobody.
        let file = flock::acquire(&lock)?;
        let scratch = Scratch { path, lock, _file: file, custodian: self.custodian().cloned() };
        DirBuilder::new().mode(0o755).create(&scratch.path).context("create", &scratch.path)?;
        Ok(scratch)
    }
}

/// Asks ext4 to look all over the disk for room for each directory that is made in `directory`.
///
/// Where it does not, all trees come to lie side by side, and there each new file passes over every inode that was removed
/// within the last minute: after the removal of a store or of some large trees, extracting an image takes ten times as long.
/// Other filesystems do not know the flag and have no need of it.
pub(super) fn spread(directory: &Path) {
    if let Ok(directory) = File::open(directory)
        && let Ok(flags) = ioctl_getflags(&directory)
    {
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

impl Scratch {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now stays for collection, without its lock.
        if removal::remove_all(&self.path, self.custodian.as_deref()).is_ok() {
            let _ = std::fs::remove_file(&self.lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::{Store, StoreOptions};

    #[test]
    fn goes_with_its_value_even_when_closed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let (one, two) = (store.scratch().unwrap(), store.scratch().unwrap());
        assert_ne!(one.path(), two.path());
        std::fs::create_dir_all(one.path().join("work/work/inner")).unwrap();
        std::fs::set_permissions(one.path().join("work/work"), std::fs::Permissions::from_mode(0o000))
            .unwrap();
        drop((one, two));
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}

//! Removal of directories whose files may belong to others.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Custodian;
use crate::error::IoContext as _;
use crate::{Result, Store};

impl Store {
    /// Removes the file or directory at `path`, below the root, with all that is in it. Directories that their owner
    /// closed are opened first; what belongs to another id is the custodian's. Nothing there is no error.
    pub(crate) fn remove_all(&self, path: &Path) -> Result<()> {
        remove_all(path, self.custodian().map(Arc::as_ref))
    }
}

/// As [`Store::remove_all`].
pub(super) fn remove_all(path: &Path, custodian: Option<&dyn Custodian>) -> Result<()> {
    let error = match remove(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        Err(error) => return Err(error).context("remove", path),
    };
    open_directories(path);
    if remove(path).is_ok() {
        return Ok(());
    }
    match custodian {
        Some(custodian) => custodian.remove(path).context("remove", path),
        None => Err(error).context("remove", path),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    // std's own walks by directory descriptors and follows no symlink.
    if found.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Gives the owner of every directory the bits that removal needs, as far as that may be done.
fn open_directories(path: &Path) {
    let walk = walkdir::WalkDir::new(path).follow_links(false).follow_root_links(false);
    // A directory's entry comes before its contents are read, so the bits come in time.
    for entry in walk.into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_dir()) {
        let _ = std::fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
    }
}

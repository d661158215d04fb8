//! Marks of use: the times by which a collection finds what nobody needed for long, and directories of
//! `RUN --mount=type=cache`.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::writing::Sync;
use crate::{Digest, Result, Store};

impl Store {
    /// Where the cache directory of that key is, which need not exist. It is not collected from here on while the store
    /// is in use, and counts as used now. `name` is what people know it by.
    pub fn mount(&self, key: &Digest, name: &str) -> Result<PathBuf> {
        self.note(key);
        let mark = self.mount_mark(key);
        if !touch(&mark) {
            self.write_whole(&mark, name.as_bytes(), Sync::Whole)?;
        }
        Ok(self.root.join("mounts").join(key.hex()))
    }

    /// Says that a record was used. Costs one system call.
    pub fn used_record(&self, space: &str, key: &Digest) {
        touch(&self.record_path(space, key));
    }

    /// Says that an image was used.
    pub fn used_image(&self, name: &str) {
        touch(&self.image_path(name));
    }

    /// The file whose time says when a cache directory was used, since that of the directory is the user's own.
    pub(super) fn mount_mark(&self, key: &Digest) -> PathBuf {
        self.root.join("mounts").join(format!("{}.name", key.hex()))
    }
}

/// Gives a file the present time; whether it is there. In a store that cannot be written nothing is collected either,
/// so that it cannot be done there does no harm.
fn touch(path: &Path) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW) != Err(Errno::NOENT)
}

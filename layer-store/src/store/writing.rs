//! Files that appear whole or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Durability;
use crate::error::IoContext as _;
use crate::{Digest, Result, Store};

/// What a file has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// After a power cut it is there: its bytes and its name are synced.
    Named,
    /// After a power cut it may be gone, but is never torn: its bytes are synced before it gets its name.
    Whole,
    /// After a power cut it may be gone, or be there without its bytes: for what has none, and for what says itself
    /// whether it is whole.
    Nothing,
}

/// A file without its name yet. While it is open its lock is held, which tells collection that it is alive; dropped
/// before it got its name, it is removed.
#[derive(Debug)]
pub(crate) struct Unnamed {
    file: File,
    path: PathBuf,
    done: bool,
}

impl Store {
    /// A fresh file, on the same filesystem as everything else of the store.
    pub(crate) fn unnamed(&self) -> Result<Unnamed> {
        let directory = self.root.join("tmp");
        loop {
            let path = directory.join(format!("{}.file", fresh_name()));
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).context("create", path),
            };
            // Collection may have been here between the two calls; then it has the lock or the file is gone.
            let mine = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if mine && path.exists() {
                return Ok(Unnamed { file, path, done: false });
            }
        }
    }

    /// Writes `bytes` to a file at `path` (below the root), which appears whole or not at all. The last one wins.
    pub(crate) fn write_whole(&self, path: &Path, bytes: &[u8], sync: Sync) -> Result<()> {
        let mut file = self.unnamed()?;
        file.write_all(bytes).context("write", path)?;
        file.name(path, 0o644, sync, self.durability())
    }

    /// The place of a blob, complete or not yet here. It is not collected from here on while the store is in use.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.note(digest);
        self.root.join("blobs/sha256").join(digest.hex())
    }
}

impl Unnamed {
    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name and mode, replacing what is there.
    pub(crate) fn name(mut self, path: &Path, mode: u32, sync: Sync, durability: Durability) -> Result<()> {
        seal(&self.file, &self.path, path, mode, sync, durability)?;
        self.done = true;
        Ok(())
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Renames the open `file` from `from` to `to`, so that it is whole there whatever happens.
pub(super) fn seal(
    file: &File,
    from: &Path,
    to: &Path,
    mode: u32,
    sync: Sync,
    durability: Durability,
) -> Result<()> {
    // fchmod, since the mode given at creation passes through the umask.
    file.set_permissions(Permissions::from_mode(mode)).context("set the mode of", from)?;
    if durability == Durability::Full && sync != Sync::Nothing {
        file.sync_all().context("sync", from)?;
    }
    std::fs::rename(from, to).context("rename", to)?;
    if durability == Durability::Full
        && sync == Sync::Named
        && let Some(parent) = to.parent()
    {
        sync_directory(parent)?;
    }
    Ok(())
}

/// Makes the names in a directory survive a power cut.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).context("sync", path)
}

/// A name that nothing has had before, in this process or another.
pub(super) fn fresh_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    // Process ids repeat, between containers that share a store above all, hence the time; callers still create
    // exclusively and try again.
    format!("{}-{now:x}-{count:x}", std::process::id())
}

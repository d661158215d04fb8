//! Locks that die with their process.
//!
//! A flock belongs to an open file description, so it works between the threads of a process as well as between
//! processes. A lock file may be removed by whoever holds its lock; whoever waited for it notices that the name
//! leads elsewhere by now, and begins again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::IoContext as _;
use crate::{Digest, Error, Result, Store};

/// How often, and how long after each other, a collection tries to get the store for itself.
const TRIES: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// A held lock. Dropping it releases it and removes its file.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    // Closed after `path` is unlinked: fields drop after `Drop::drop`.
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whether that works or not the lock is released; a file that stays is taken by the next collection.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Takes the lock of `key`, exclusive across threads and processes, waiting for it. Held until dropped; the kernel
    /// drops it with the process.
    pub fn lock(&self, space: &'static str, key: &Digest) -> Result<Lock> {
        let path = self.root.join("locks").join(format!("{space}-{}", key.hex()));
        let file = acquire(&path)?;
        Ok(Lock { path, _file: file })
    }

    /// The lock of `key` if nobody holds it now.
    pub fn try_lock(&self, space: &'static str, key: &Digest) -> Result<Option<Lock>> {
        let path = self.root.join("locks").join(format!("{space}-{}", key.hex()));
        Ok(try_acquire(&path, true)?.map(|file| Lock { path, _file: file }))
    }

    /// Keeps everybody from looking for anything while the file is held. `None` where somebody reads a store that
    /// cannot be written, and so holds it for long.
    pub(super) fn stop_looks(&self) -> Result<Option<File>> {
        let path = self.collection_lock();
        let file = File::open(&path).context("open", &path)?;
        // Whoever looks for something holds it for microseconds.
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("lock", &path),
            }
        }
        Ok(None)
    }

    /// Shuts everybody else out, if nobody uses the store.
    pub(super) fn alone(&self) -> Result<Option<File>> {
        let Some(file) = self.stop_looks()? else { return Ok(None) };
        Ok(self.needed()?.since.is_none().then_some(file))
    }

    /// Makes the file that [`Store::in_use`] locks. It is never removed, so that a read-only store can be used.
    pub(super) fn prepare_use(&self) -> Result<()> {
        let path = self.collection_lock();
        if path.exists() {
            return Ok(());
        }
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map(drop)
            .context("create", &path)
    }

    pub(super) fn collection_lock(&self) -> PathBuf {
        self.root.join("locks").join("collect")
    }
}

/// Opens `path`, making it if need be, with its lock held: no other process or thread has it open so. Waits.
pub(super) fn acquire(path: &Path) -> Result<File> {
    let mut denied = 0;
    loop {
        let file = match open(path, true) {
            // A finished download on its way to its name, which nobody may write; or nothing may be written here.
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied && denied < 3 =>
            {
                let Some(sealed) = open(path, false)? else {
                    denied += 1;
                    continue;
                };
                wait_for(&sealed, FlockOperation::LockExclusive).context("lock", path)?;
                if names(path, &sealed)? {
                    // Whoever sealed it died before it had its name.
                    let writable = std::fs::Permissions::from_mode(0o600);
                    sealed.set_permissions(writable).context("set the mode of", path)?;
                }
                continue;
            }
            opened => opened?.ok_or_else(|| gone(path))?,
        };
        wait_for(&file, FlockOperation::LockExclusive).context("lock", path)?;
        if names(path, &file)? {
            return Ok(file);
        }
    }
}

/// As [`acquire`], but `None` where somebody holds it; and where nothing is there, unless `create`.
pub(super) fn try_acquire(path: &Path, create: bool) -> Result<Option<File>> {
    loop {
        let Some(file) = open(path, create)? else { return Ok(None) };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if names(path, &file)? => return Ok(Some(file)),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("lock", path),
        }
    }
}

fn open(path: &Path, create: bool) -> Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        // What is there may be a finished download on its way to its name, which nobody may write.
        .write(create)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !create => Ok(None),
        Err(error) => Err(error).context("open", path),
    }
}

fn gone(path: &Path) -> Error {
    Error::Io { action: "open", path: path.to_owned(), source: io::ErrorKind::NotFound.into() }
}

pub(super) fn wait_for(file: &File, operation: FlockOperation) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| flock(file, operation))
}

/// Whether `path` still leads to `file`.
fn names(path: &Path, file: &File) -> Result<bool> {
    let held = file.metadata().context("stat", path)?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("stat", path),
    }
}

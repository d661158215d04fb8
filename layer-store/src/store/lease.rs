//! What running builds need, so that a collection beside them takes none of it.
//!
//! Whoever uses a store writes the digest of each blob and layer that it is about to look for into a file of its own,
//! its lease, under the shared lock of `locks/collect`. A collection holds that lock alone while it reads all leases
//! and moves aside what nothing needs, which takes a moment; so of a build and a collection that meet over a layer
//! either the build is first, and the layer stays, or the build finds it gone. A lease ends with its process.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use rustix::fs::FlockOperation;

use super::flock::{self, wait_for};
use super::usage::Part;
use super::writing::fresh_name;
use crate::error::IoContext as _;
use crate::{Digest, Result, Store};

/// Use of a store's content. What was found or made since it began is not collected while it is held.
#[derive(Debug)]
pub struct InUse(#[expect(dead_code, reason = "held for its drop")] Arc<Lease>);

/// The lease of a [`Store`] value, shared by all that use it at the same time.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Weak<Lease>>);

/// A lease that is held.
#[derive(Debug)]
struct Lease {
    /// The lock of collections, which is taken shared for each new digest. Held throughout where there is no file.
    collect: File,
    noted: RwLock<HashSet<Digest>>,
    file: Mutex<Option<(PathBuf, File)>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((path, _)) = self.file.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What the running builds of all processes need.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// Blobs and layers that were looked for.
    pub(super) digests: HashSet<Digest>,
    /// When the oldest of the builds began, in nanoseconds since the epoch by the clock of the store's files; none if no
    /// build runs. What is younger may be its own.
    pub(super) since: Option<i128>,
}

impl Store {
    /// Keeps what is used from collections while the guard is held: whoever takes content in, or uses what no name
    /// holds yet, has one from before the first look at the store until its result has a name. Waits for a collection
    /// that runs, which takes a moment. Guards of one [`Store`] share their lease, and all end with their process.
    pub fn in_use(&self) -> Result<InUse> {
        let mut lease = self.leases.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = lease.upgrade() {
            return Ok(InUse(held));
        }
        let path = self.collection_lock();
        let collect = File::open(&path).context("open", &path)?;
        wait_for(&collect, FlockOperation::LockShared).context("lock", &path)?;
        let file = self.lease_file()?;
        if file.is_some() {
            wait_for(&collect, FlockOperation::Unlock).context("unlock", &path)?;
        }
        let held = Arc::new(Lease { collect, noted: RwLock::default(), file: Mutex::new(file) });
        *lease = Arc::downgrade(&held);
        Ok(InUse(held))
    }

    /// A lease file of its own with its lock held; none in a store that cannot be written, whose lock is held instead.
    fn lease_file(&self) -> Result<Option<(PathBuf, File)>> {
        let path = self.root.join("locks").join(format!("{PREFIX}{}", fresh_name()));
        let begun = || -> io::Result<File> {
            let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
            wait_for(&file, FlockOperation::LockExclusive)?;
            // By the clock of the store's filesystem, to be compared with the times of other files.
            let mut head = [0; HEAD];
            head[..16].copy_from_slice(&changed_at(&file.metadata()?).to_le_bytes());
            file.write_all(&head)?;
            Ok(file)
        };
        match begun() {
            Ok(file) => Ok(Some((path, file))),
            Err(error) if may_not_write(&error) => {
                let _ = std::fs::remove_file(&path);
                Ok(None)
            }
            Err(error) => Err(error).context("create", path),
        }
    }

    /// Says that `digest`, a blob or a layer, is about to be looked for.
    pub(crate) fn note(&self, digest: &Digest) {
        let lease = self.leases.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(lease) = lease {
            lease.note(digest);
        }
    }

    /// What all leases name. Exact while looks are stopped.
    pub(super) fn needed(&self) -> Result<Needed> {
        let directory = self.root.join("locks");
        let mut needed = Needed::default();
        for name in super::names(&directory)?.into_iter().filter(|name| name.starts_with(PREFIX)) {
            let path = directory.join(&name);
            // Nobody's: its process is gone.
            if flock::try_acquire(&path, false)?.is_some() {
                continue;
            }
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context("read", path),
            };
            let Some((head, digests)) = bytes.split_first_chunk::<HEAD>() else {
                // Of a process that was stopped between two calls: nothing is older than what it may make.
                needed.since = Some(i128::MIN);
                continue;
            };
            needed.digests.extend(digests.chunks_exact(32).map(|digest| {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(digest);
                Digest::from_bytes(bytes)
            }));
            let mut begun = [0; 16];
            begun.copy_from_slice(&head[..16]);
            let begun = i128::from_le_bytes(begun);
            needed.since = Some(needed.since.map_or(begun, |since| since.min(begun)));
        }
        Ok(needed)
    }
}

/// Names of lease files begin so.
const PREFIX: &str = "use-";

/// What is in front of the digests in a lease file: when it was begun.
const HEAD: usize = 32;

impl Lease {
    fn note(&self, digest: &Digest) {
        if self.noted.read().unwrap_or_else(PoisonError::into_inner).contains(digest) {
            return;
        }
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, file)) = held.as_mut() {
            let shared = wait_for(&self.collect, FlockOperation::LockShared).is_ok();
            let written = shared && file.write_all(digest.as_bytes()).is_ok();
            if written {
                let _ = wait_for(&self.collect, FlockOperation::Unlock);
            } else {
                // The disk is full: the shared lock stays, which keeps every collection away.
                let _ = std::fs::remove_file(path);
                *held = None;
            }
        }
        drop(held);
        self.noted.write().unwrap_or_else(PoisonError::into_inner).insert(*digest);
    }
}

impl Needed {
    /// Whether a running build looked for a blob or layer.
    pub(super) fn holds(&self, part: &Part) -> bool {
        self.digests.contains(&part.digest())
    }

    /// Whether a running build may have made the file or directory that `found` is about.
    pub(super) fn may_have_made(&self, found: &Metadata) -> bool {
        self.since.is_some_and(|since| changed_at(found) >= since)
    }
}

/// When a file was last changed, in nanoseconds since the epoch.
fn changed_at(found: &Metadata) -> i128 {
    i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec())
}

fn may_not_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied | io::ErrorKind::StorageFull
    )
}

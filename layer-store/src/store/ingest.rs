//! Blobs that are being taken in.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::writing::{Sync, seal};
use super::{Durability, flock};
use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::{Descriptor, Digest, Error, Result, Store};

/// A blob that is being taken in. What was written stays when it is dropped, so that a later try goes on from there.
///
/// The bytes are in `ingest/<hex>`, whose flock is held: at most one ingest of a digest exists, in whichever process.
#[derive(Debug)]
pub struct Ingest {
    digest: Digest,
    size: u64,
    hasher: Hasher,
    file: File,
    path: PathBuf,
    target: PathBuf,
    durability: Durability,
    progress: Arc<Progress>,
}

/// What followers wait for.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    written: u64,
    /// Counts restarts, each of which makes earlier bytes void.
    generation: u64,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    Running,
    Committed,
    Dropped,
}

impl Store {
    /// Begins or resumes taking in a blob of `size` bytes. Waits for another process or thread that takes in the same
    /// one (single flight): `None` means that the blob is complete by now. What an earlier try left is read and hashed
    /// once.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`] when the blob is here with another size than the announced one.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>> {
        let path = self.root.join("ingest").join(digest.hex());
        Ingest::begin(digest, size, path, self.blob_path(digest), self.durability(), &|| {
            self.blob_size(digest)
        })
    }
}

impl Ingest {
    /// Begins or resumes an ingest whose bytes gather at `path` and end at `target`; `None` when `found` says that the
    /// blob is there.
    pub(crate) fn begin(
        digest: &Digest,
        size: u64,
        path: PathBuf,
        target: PathBuf,
        durability: Durability,
        found: &dyn Fn() -> Result<Option<u64>>,
    ) -> Result<Option<Self>> {
        let complete = || match found()? {
            Some(actual) if actual != size => {
                Err(Error::SizeMismatch { digest: *digest, expected: size, actual })
            }
            found => Ok(found.is_some()),
        };
        if complete()? {
            return Ok(None);
        }
        let file = flock::acquire(&path)?;
        if complete()? {
            // Whoever held the lock has finished, and its file has moved away: this one is new and empty.
            std::fs::remove_file(&path).context("remove", &path)?;
            return Ok(None);
        }
        let (hasher, progress) = (Hasher::default(), Arc::default());
        let mut ingest = Self { digest: *digest, size, hasher, file, path, target, durability, progress };
        ingest.resume()?;
        Ok(Some(ingest))
    }
}

/// Taking in from a reader.
impl Store {
    /// Takes in the blob that `input` gives from its first byte, unless it is here.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] when `input` fails, [`Error::SizeMismatch`], [`Error::DigestMismatch`].
    pub(crate) fn take_in(&self, blob: &Descriptor, input: &mut dyn Read) -> Result<()> {
        let Some(mut ingest) = self.ingest(&blob.digest, blob.size)? else { return Ok(()) };
        // What another try left is read again with the rest: the input cannot skip.
        ingest.restart()?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => return ingest.commit(),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Read { source }),
            };
            ingest.write(&buffer[..read])?;
        }
    }
}

impl Ingest {
    /// Which blob.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes it will have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are here already (hashed again when the ingest was opened).
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`] when that makes more than the announced size; then nothing of `bytes` is kept.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let actual = self.offset().saturating_add(bytes.len() as u64);
        if actual > self.size {
            return Err(Error::SizeMismatch { digest: self.digest, expected: self.size, actual });
        }
        self.file.write_all_at(bytes, self.offset()).context("write", &self.path)?;
        self.hasher.update(bytes);
        self.progress.update(|state| state.written = actual);
        Ok(())
    }

    /// Throws away what is here and begins again. Followers that have read some of it fail.
    pub fn restart(&mut self) -> Result<()> {
        // First, so that nobody takes bytes of the new content for the old.
        self.progress.update(|state| {
            state.written = 0;
            state.generation += 1;
        });
        self.hasher = Hasher::default();
        self.file.set_len(0).context("truncate", &self.path)
    }

    /// A reader that follows the ingest from its first byte: it blocks until bytes come, ends when the blob is
    /// committed, and fails when the ingest is dropped unfinished. It may live on another thread, before and after
    /// the end of the ingest.
    pub fn follow(&self) -> Result<Box<dyn Read + Send>> {
        // Opened anew: a duplicate of the descriptor would keep the lock of a dropped ingest.
        let file = File::open(&self.path).context("open", &self.path)?;
        let progress = Arc::clone(&self.progress);
        let generation = progress.state().generation;
        Ok(Box::new(Follower { file, progress, generation, offset: 0 }))
    }

    /// Verifies size and digest and names the blob; with full durability it survives a power cut from here on.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`] when bytes are missing; those that came stay, to go on from.
    /// [`Error::DigestMismatch`] when they are wrong; then they are thrown away.
    pub fn commit(mut self) -> Result<()> {
        if self.offset() != self.size {
            let (expected, actual) = (self.size, self.offset());
            return Err(Error::SizeMismatch { digest: self.digest, expected, actual });
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual != self.digest {
            std::fs::remove_file(&self.path).context("remove", &self.path)?;
            return Err(Error::DigestMismatch { what: "blob", expected: self.digest, actual });
        }
        seal(&self.file, &self.path, &self.target, 0o444, Sync::Named, self.durability)?;
        self.progress.update(|state| state.outcome = Outcome::Committed);
        Ok(())
    }

    /// Takes over what an earlier try left: hashes it again, since it may have come to harm meanwhile.
    fn resume(&mut self) -> Result<()> {
        let left = self.file.metadata().context("stat", &self.path)?.len();
        if left > self.size {
            return self.restart();
        }
        let mut buffer = vec![0; 256 * 1024];
        while self.offset() < left {
            let read = self.file.read_at(&mut buffer, self.offset()).context("read", &self.path)?;
            if read == 0 {
                return self.restart();
            }
            self.hasher.update(&buffer[..read]);
        }
        self.progress.update(|state| state.written = left);
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.progress.update(|state| {
            if state.outcome == Outcome::Running {
                state.outcome = Outcome::Dropped;
            }
        });
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is plain numbers, whole at any moment, so a panic elsewhere does not make it wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// Reads a growing file.
struct Follower {
    file: File,
    progress: Arc<Progress>,
    generation: u64,
    offset: u64,
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let state = {
                let waiting = |state: &mut State| {
                    state.generation == self.generation
                        && state.written <= self.offset
                        && state.outcome == Outcome::Running
                };
                let guard = self.progress.state();
                *self.progress.changed.wait_while(guard, waiting).unwrap_or_else(PoisonError::into_inner)
            };
            if self.again(state)? {
                continue;
            }
            let ready = state.written.saturating_sub(self.offset);
            if ready == 0 {
                return match state.outcome {
                    Outcome::Committed => Ok(0),
                    _ => Err(io::Error::other("the blob stopped coming before its end")),
                };
            }
            let most = usize::try_from(ready).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.file.read_at(&mut buffer[..most], self.offset)?;
            // The bytes may be of another try if a restart came between.
            let now = *self.progress.state();
            if self.again(now)? {
                continue;
            }
            if read == 0 && most > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.offset += read as u64;
            return Ok(read);
        }
    }
}

impl Follower {
    /// Whether the ingest has begun again, which does no harm as long as nothing was read.
    fn again(&mut self, state: State) -> io::Result<bool> {
        if state.generation == self.generation {
            return Ok(false);
        }
        if self.offset > 0 {
            return Err(io::Error::other("the blob began again from its start"));
        }
        self.generation = state.generation;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use crate::{Digest, Error, Store, StoreOptions};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        (dir, store)
    }

    /// Bytes that do not repeat soon.
    fn bytes(count: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn resumes_wherever_it_was_cut() {
        let (_dir, store) = store();
        let content = bytes(300_000);
        let digest = Digest::of(&content);
        let mut at = 0;
        for step in [1, 70_000, 4096, 0, 100_001, 17] {
            let mut ingest = store.ingest(&digest, content.len() as u64).unwrap().unwrap();
            assert_eq!(ingest.offset(), at as u64);
            ingest.write(&content[at..at + step]).unwrap();
            at += step;
        }
        let mut ingest = store.ingest(&digest, content.len() as u64).unwrap().unwrap();
        ingest.write(&content[at..]).unwrap();
        ingest.commit().unwrap();
        assert_eq!(store.read_blob(&digest, 1 << 20).unwrap(), content);
        assert!(store.ingest(&digest, content.len() as u64).unwrap().is_none());
        assert!(matches!(store.ingest(&digest, 1), Err(Error::SizeMismatch { .. })));
        assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
    }

    #[test]
    fn wrong_bytes_are_thrown_away_and_missing_ones_waited_for() {
        let (_dir, store) = store();
        let digest = Digest::of(b"right");
        let mut ingest = store.ingest(&digest, 5).unwrap().unwrap();
        assert!(matches!(ingest.write(b"longer"), Err(Error::SizeMismatch { actual: 6, .. })));
        ingest.write(b"wro").unwrap();
        assert!(matches!(ingest.commit(), Err(Error::SizeMismatch { actual: 3, .. })));
        let mut ingest = store.ingest(&digest, 5).unwrap().unwrap();
        assert_eq!(ingest.offset(), 3);
        ingest.write(b"ng").unwrap();
        assert!(matches!(ingest.commit(), Err(Error::DigestMismatch { .. })));
        let mut ingest = store.ingest(&digest, 5).unwrap().unwrap();
        assert_eq!(ingest.offset(), 0);
        ingest.write(b"xx").unwrap();
        ingest.restart().unwrap();
        ingest.write(b"right").unwrap();
        ingest.commit().unwrap();
        assert_eq!(store.blob_size(&digest).unwrap(), Some(5));
    }

    #[test]
    fn an_announced_size_that_shrank_begins_again() {
        let (_dir, store) = store();
        let digest = Digest::of(b"right");
        store.ingest(&digest, 100).unwrap().unwrap().write(b"much too long").unwrap();
        assert_eq!(store.ingest(&digest, 5).unwrap().unwrap().offset(), 0);
    }

    #[test]
    fn followers_see_every_byte_and_the_end() {
        let (_dir, store) = store();
        let content = bytes(2_000_000);
        let digest = Digest::of(&content);
        store.ingest(&digest, 2_000_000).unwrap().unwrap().write(&content[..500_000]).unwrap();
        let mut ingest = store.ingest(&digest, 2_000_000).unwrap().unwrap();
        let followers: Vec<_> = (0..3).map(|_| ingest.follow().unwrap()).collect();
        let late = ingest.follow().unwrap();
        let read = |mut follower: Box<dyn std::io::Read + Send>| {
            let mut all = Vec::new();
            follower.read_to_end(&mut all).map(|_| all)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                followers.into_iter().map(|follower| scope.spawn(move || read(follower))).collect();
            for chunk in content[500_000..].chunks(77_777) {
                ingest.write(chunk).unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
            ingest.commit().unwrap();
            for thread in threads {
                assert!(thread.join().unwrap().unwrap() == content);
            }
        });
        assert!(read(late).unwrap() == content, "after the file was renamed");
    }

    #[test]
    fn followers_of_a_dropped_ingest_fail_and_hold_no_lock() {
        let (_dir, store) = store();
        let digest = Digest::of(b"never");
        let mut ingest = store.ingest(&digest, 5).unwrap().unwrap();
        ingest.write(b"ne").unwrap();
        let mut follower = ingest.follow().unwrap();
        let thread = std::thread::spawn(move || {
            let mut all = Vec::new();
            let error = follower.read_to_end(&mut all).unwrap_err();
            (all, error, follower)
        });
        drop(ingest);
        let (all, error, _follower) = thread.join().unwrap();
        assert_eq!(all, b"ne");
        assert!(error.to_string().contains("stopped"), "{error}");
        assert_eq!(store.ingest(&digest, 5).unwrap().unwrap().offset(), 2);
    }

    #[test]
    fn a_restart_fails_only_those_who_had_read() {
        let (_dir, store) = store();
        let digest = Digest::of(b"right");
        let mut ingest = store.ingest(&digest, 5).unwrap().unwrap();
        ingest.write(b"wr").unwrap();
        let (mut early, mut idle) = (ingest.follow().unwrap(), ingest.follow().unwrap());
        let mut two = [0; 2];
        early.read_exact(&mut two).unwrap();
        ingest.restart().unwrap();
        ingest.write(b"right").unwrap();
        ingest.commit().unwrap();
        assert!(early.read(&mut two).is_err());
        let mut all = Vec::new();
        idle.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"right");
    }

    #[test]
    fn one_flight_for_many_threads() {
        let (_dir, store) = store();
        let content = bytes(100_000);
        let digest = Digest::of(&content);
        let flights = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Some(mut ingest) = store.ingest(&digest, 100_000).unwrap() {
                        flights.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        assert_eq!(ingest.offset(), 0);
                        ingest.write(&content).unwrap();
                        ingest.commit().unwrap();
                    }
                    assert_eq!(store.blob_size(&digest).unwrap(), Some(100_000));
                });
            }
        });
        assert_eq!(flights.into_inner(), 1);
        assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
    }
}

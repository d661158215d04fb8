//! Reading the files of a context that the stat index does not know.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use layer_store::digest::Hasher;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::local::{LocalContext, read_error, stamp_of};
use super::stat_index::Known;
use super::{Stamp, StatIndex, threads};
use crate::copy::{CopyError, Detail, Xattrs, counts};

/// A file to read.
pub(super) struct Job<'a> {
    /// Its place in the caller's list.
    pub(super) at: usize,
    pub(super) path: &'a [u8],
    /// What it was when it was selected.
    pub(super) stamp: Stamp,
    /// If it is known, only its attributes are read.
    pub(super) known: Option<Known>,
}

/// On one core too, hashing keeps a thread busy while another one reads.
const FEWEST_THREADS: usize = 2;
/// Below this many bytes a thread costs more than it brings.
const WORTH_A_THREAD: u64 = 1 << 20;
const MAX_XATTR: usize = 64 * 1024;

/// Reads all `jobs`, which teaches the index.
pub(super) fn read_all(
    context: &LocalContext,
    index: &StatIndex,
    jobs: &[Job<'_>],
) -> Result<Vec<(usize, Detail)>, CopyError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; 256 * 1024];
        let mut done = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((job.at, read(context, index, job, &mut buffer)?));
        }
        Ok(done)
    };
    let bytes: u64 = jobs.iter().map(|job| job.stamp.size).sum();
    if bytes < WORTH_A_THREAD && jobs.len() < 256 {
        return if jobs.is_empty() { Ok(Vec::new()) } else { work() };
    }
    let done = threads::share(threads::available().max(FEWEST_THREADS) - 1, work);
    let done: Vec<Vec<_>> = done.into_iter().collect::<Result<_, CopyError>>()?;
    Ok(done.into_iter().flatten().collect())
}

fn read(
    context: &LocalContext,
    index: &StatIndex,
    job: &Job<'_>,
    buffer: &mut [u8],
) -> Result<Detail, CopyError> {
    let fail = |action, error| CopyError::from(read_error(action, job.path, error));
    let changed = || CopyError::Changed { path: String::from_utf8_lossy(job.path).into_owned() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    // Without NONBLOCK a file that became a pipe meanwhile would block for ever.
    let file = context
        .open_beneath(job.path, OFlags::RDONLY | OFlags::NONBLOCK)
        .map_err(|error| fail("open", error))?;
    let unchanged = |file: BorrowedFd<'_>| match rustix::fs::fstat(file) {
        Ok(stat) if stamp_of(&stat) == job.stamp => Ok(()),
        Ok(_) => Err(changed()),
        Err(error) => Err(fail("stat", error)),
    };
    unchanged(file.as_fd())?;
    let xattrs = xattrs(file.as_fd()).map_err(|error| fail("read the attributes of", error))?;
    if let Some(known) = job.known {
        return Ok(Detail { content: Some(known.content), xattrs });
    }
    let mut file = File::from(file);
    let mut hasher = Hasher::default();
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(fail("read", Errno::from_io_error(&error).unwrap_or(Errno::IO)));
            }
        }
        if hasher.bytes() > job.stamp.size {
            return Err(changed());
        }
    }
    unchanged(file.as_fd())?;
    let content = hasher.finish();
    if !job.stamp.is_racy(now) {
        index.learn(job.stamp, Known { content, xattrs: !xattrs.is_empty() });
    }
    Ok(Detail { content: Some(content), xattrs })
}

/// The extended attributes of an open file or directory that go into an image.
pub(super) fn xattrs(file: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    let mut xattrs = Xattrs::new();
    let mut names = [0; 4096];
    let mut long = Vec::new();
    let names = match rustix::fs::flistxattr(file, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(xattrs),
        Ok(length) => &names[..length],
        Err(Errno::RANGE) => {
            long.resize(MAX_XATTR, 0);
            let length = rustix::fs::flistxattr(file, &mut long)?;
            &long[..length]
        }
        Err(error) => return Err(error),
    };
    let mut value = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| counts(name)) {
        value.resize(MAX_XATTR, 0);
        match rustix::fs::fgetxattr(file, name, &mut value) {
            Ok(length) => {
                xattrs.insert(name.to_vec(), value[..length].to_vec());
            }
            // Taken away meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(xattrs)
}

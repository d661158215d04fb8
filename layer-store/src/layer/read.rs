//! Reading a layer's files, and its tar, from whatever form is here.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::pipeline;
use super::tar;
use super::tree::beneath;
use super::{Limits, decompress};
use crate::error::IoContext as _;
use crate::index::{Entry, Extent, Index, Kind, path};
use crate::{Digest, Error, Result, Store, View};

/// Where the bytes of a layer's file can be read.
pub(super) enum Bytes {
    /// In memory.
    Memory(Vec<u8>),
    /// A file, from its beginning.
    Tree(File),
    /// A part of a tar.
    Tar(File, u64),
    /// A stream that is at the first byte and goes on after the last.
    Stream(Box<dyn Read + Send>),
}

impl Store {
    /// The bytes of the regular file at `path` in the layer. From a tree or a tar that costs an open; from a blob, all
    /// that is before the file is inflated. A reader of bytes that the disk changed ends in an error.
    ///
    /// # Errors
    ///
    /// [`Error::Path`] if no regular file of this layer is there, [`Error::Missing`] if its bytes are not here.
    pub fn open_file(&self, diff_id: &Digest, path: &[u8]) -> Result<Box<dyn Read + Send>> {
        let index = self.index(diff_id)?;
        let entry = file_entry(&index, path)?;
        let Kind::File { size, .. } = entry.kind else { return Err(no_file(path)) };
        let reader: Box<dyn Read + Send> = match self.bytes_of(diff_id, &index, entry)? {
            Bytes::Memory(bytes) => return Ok(Box::new(io::Cursor::new(bytes))),
            Bytes::Tree(file) => Box::new(file),
            Bytes::Tar(file, offset) => Box::new(FileRange::new(Arc::new(file), offset, size)),
            // The holes of a sparse file have no end, and a tar goes on after a file.
            Bytes::Stream(stream) => Box::new(stream.take(size)),
        };
        Ok(match index.checksum(&entry.path) {
            Some(sum) => Box::new(Summed::new(reader, size, sum)),
            None => reader,
        })
    }

    /// At most `limit` bytes of a small regular file of a view, symlinks followed inside the image; `None` where
    /// there is no regular file. Longer ones are an error.
    pub fn read_file(&self, view: &View, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        let resolved = match view.resolve(path, true) {
            // Below a file, or through a loop, there is none.
            Err(Error::Path { .. }) => return Ok(None),
            resolved => resolved?,
        };
        let Some(content) = resolved.found.and_then(|found| view.content(found)) else { return Ok(None) };
        let Kind::File { size, .. } = content.entry.kind else { return Ok(None) };
        if size > limit {
            let path = path::printable(path);
            return Err(Error::Path { path, reason: "the file is too large to be read whole" });
        }
        let mut bytes = Vec::new();
        let file = self.open_file(&content.diff_id, &content.entry.path)?;
        file.take(limit).read_to_end(&mut bytes).context("read", path::printable(path))?;
        if bytes.len() as u64 != size {
            let path = path::printable(path);
            return Err(Error::Path { path, reason: "the file in the store is cut short" });
        }
        Ok(Some(bytes))
    }

    /// Streams the uncompressed tar whose digest is the diffID.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if what is here is damaged: then what was written is worth nothing.
    pub fn write_tar(&self, diff_id: &Digest, output: &mut dyn Write) -> Result<()> {
        let mut source: Box<dyn Read> = if self.has_tar(diff_id) {
            let path = self.tar_path(diff_id);
            Box::new(File::open(&path).context("open", path)?)
        } else {
            let index = self.find_index(diff_id)?;
            let canonical = index.filter(|index| index.tar().canonical);
            let tree = self.any_tree(diff_id).is_some();
            match (canonical, self.local_blob(diff_id)?) {
                (Some(index), _) if tree || super::forms::is_bare(&index) => {
                    return self.write_again(diff_id, &index, output);
                }
                (_, Some(blob)) => Box::new(
                    decompress(self.open_blob(&blob)?, Limits::default())
                        .context("read", self.blob_path(&blob))?,
                ),
                _ => return Err(Self::missing(diff_id)),
            }
        };
        let (actual, ()) = pipeline::hashing(None, Some(output), |stream| {
            stream.put_all(&mut source).context("read", "layer")
        })?;
        check(diff_id, actual)
    }

    /// Gives the canonical tar again from the index and the tree.
    fn write_again(&self, diff_id: &Digest, index: &Index, output: &mut dyn Write) -> Result<()> {
        let (actual, ()) = pipeline::hashing(None, Some(output), |stream| {
            let tree = self.any_tree(diff_id).map(|_| self.open_tree(diff_id)).transpose()?;
            let mut headers = Vec::new();
            for entry in index.entries() {
                headers.clear();
                tar::encode(entry, &mut headers)?;
                stream.put(&headers);
                let Kind::File { size, .. } = entry.kind else { continue };
                let mut file: Box<dyn Read> = match &tree {
                    Some(tree) => Box::new(self.open_in_tree(diff_id, tree, &entry.path)?),
                    None => Box::new(io::empty()),
                };
                let read = stream.put_file(&mut file, size, |_| Ok(()));
                read.context("read", path::printable(&entry.path))?;
                stream.put_zeros(tar::padding(size) as u64);
            }
            stream.put(&tar::END);
            Ok(())
        })?;
        check(diff_id, actual)
    }

    /// Where the bytes of `entry`, a regular file of the layer, can be read at the least cost.
    pub(super) fn bytes_of(&self, diff_id: &Digest, index: &Index, entry: &Entry) -> Result<Bytes> {
        let Kind::File { size, offset } = entry.kind else { return Err(no_file(&entry.path)) };
        if size == 0 {
            return Ok(Bytes::Memory(Vec::new()));
        }
        if let Some(bytes) = index.inline(&entry.path) {
            return Ok(Bytes::Memory(bytes.to_vec()));
        }
        if self.any_tree(diff_id).is_some() {
            let tree = self.open_tree(diff_id)?;
            return Ok(Bytes::Tree(self.open_in_tree(diff_id, &tree, &entry.path)?));
        }
        let extents = index.extents(&entry.path);
        if self.has_tar(diff_id) {
            let path = self.tar_path(diff_id);
            let file = File::open(&path).context("open", path)?;
            return Ok(match extents {
                Some(extents) => Bytes::Stream(Box::new(Unpacked::new(
                    FileRange::new(Arc::new(file), offset, u64::MAX),
                    extents,
                ))),
                None => Bytes::Tar(file, offset),
            });
        }
        let Some(blob) = self.local_blob(diff_id)? else { return Err(Self::missing(diff_id)) };
        let blob_path = self.blob_path(&blob);
        let input = BufReader::with_capacity(1 << 18, self.open_blob(&blob)?);
        let mut stream = decompress(input, Limits::default()).context("read", &blob_path)?;
        skip(&mut stream, offset).context("read", &blob_path)?;
        Ok(Bytes::Stream(match extents {
            Some(extents) => Box::new(Unpacked::new(stream, extents)),
            None => Box::new(stream),
        }))
    }

    pub(super) fn open_tree(&self, diff_id: &Digest) -> Result<OwnedFd> {
        let path = self.tree_to_read(diff_id);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &path, flags, Mode::empty()).context("open", path)
    }

    /// Opens a regular file of a tree, asking whoever may if this process may not.
    pub(super) fn open_in_tree(&self, diff_id: &Digest, tree: &OwnedFd, path: &[u8]) -> Result<File> {
        self.open_at(&self.tree_to_read(diff_id), tree, path)
    }

    fn tree_to_read(&self, diff_id: &Digest) -> PathBuf {
        self.any_tree(diff_id).unwrap_or_else(|| self.tree_path(diff_id))
    }

    /// As [`Store::open_in_tree`], of the tree at `place`.
    pub(crate) fn open_at(&self, place: &Path, tree: &OwnedFd, path: &[u8]) -> Result<File> {
        use std::os::unix::ffi::OsStrExt as _;
        let shown: PathBuf = place.join(std::ffi::OsStr::from_bytes(path));
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match beneath::open(tree.as_fd(), path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ACCESS) => match self.custodian() {
                Some(custodian) => custodian.open(&shown).context("open", &shown)?,
                None => open_closed(tree, path).context("open", &shown)?,
            },
            Err(error) => return Err(error).context("open", shown),
        };
        if !file.metadata().context("stat", &shown)?.is_file() {
            return Err(no_file(path));
        }
        Ok(file)
    }
}

/// Opens a file whose mode keeps its owner, this process, from reading it.
fn open_closed(tree: &OwnedFd, path: &[u8]) -> rustix::io::Result<File> {
    let (parent, name) = path::split(path).unwrap_or((b"", b"."));
    let parent = beneath::open(tree, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let found = rustix::fs::statat(&parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    if rustix::fs::FileType::from_raw_mode(found.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    let mode = Mode::from_raw_mode(found.st_mode & 0o7777);
    rustix::fs::chmodat(&parent, name, mode | Mode::RUSR, rustix::fs::AtFlags::empty())?;
    let opened = beneath::open(&parent, name, OFlags::RDONLY, Mode::empty());
    rustix::fs::chmodat(&parent, name, mode, rustix::fs::AtFlags::empty())?;
    Ok(File::from(opened?))
}

/// The entry that holds the bytes of the regular file at `path` of a layer.
pub(super) fn file_entry<'a>(index: &'a Index, path: &[u8]) -> Result<&'a Entry> {
    let mut entry = index.entry(path).ok_or_else(|| no_file(path))?;
    if let Kind::Hardlink { target } = &entry.kind {
        entry = index.entry(target).ok_or_else(|| no_file(path))?;
    }
    match entry.kind {
        Kind::File { .. } => Ok(entry),
        _ => Err(no_file(path)),
    }
}

fn no_file(path: &[u8]) -> Error {
    Error::Path { path: path::printable(path), reason: "no regular file of the layer is there" }
}

/// What to say of a file whose bytes are not those that were stored.
pub(super) fn damaged(path: &[u8]) -> Error {
    Error::Damaged { what: path::printable(path) }
}

fn check(expected: &Digest, actual: Digest) -> Result<()> {
    if actual == *expected {
        Ok(())
    } else {
        Err(Error::DigestMismatch { what: "layer", expected: *expected, actual })
    }
}

fn skip(stream: &mut dyn Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut stream.take(count), &mut io::sink())?;
    if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A file of which the sum is known. The read that completes it fails if its bytes are others.
pub(super) struct Summed<R> {
    reader: R,
    left: u64,
    crc: crc32fast::Hasher,
    sum: u32,
}

impl<R: Read> Summed<R> {
    /// A file of `size` bytes whose sum is `sum`.
    pub(super) fn new(reader: R, size: u64, sum: u32) -> Self {
        Self { reader, left: size, crc: crc32fast::Hasher::new(), sum }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..most])?;
        self.crc.update(&buffer[..count]);
        self.left -= count as u64;
        let ended = self.left == 0 || count == 0 && most > 0;
        if ended && self.crc.clone().finalize() != self.sum {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its bytes in the store are damaged"));
        }
        Ok(count)
    }
}

/// A part of a file, without a position that others would share.
pub(super) struct FileRange {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl FileRange {
    pub(super) fn new(file: Arc<File>, at: u64, length: u64) -> Self {
        Self { file, at, left: length }
    }
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A sparse file with its holes, from a stream of its stored bytes. It has no end of its own: holes go on.
struct Unpacked<R> {
    stored: R,
    extents: std::vec::IntoIter<Extent>,
    /// Zeros up to the next extent, then its bytes.
    zeros: u64,
    bytes: u64,
    next: Option<Extent>,
    at: u64,
}

impl<R: Read> Unpacked<R> {
    fn new(stored: R, extents: &[Extent]) -> Self {
        let mut unpacked =
            Self { stored, extents: Vec::from(extents).into_iter(), zeros: 0, bytes: 0, next: None, at: 0 };
        unpacked.advance();
        unpacked
    }

    fn advance(&mut self) {
        self.next = self.extents.next();
        (self.zeros, self.bytes) = match self.next {
            Some(extent) => (extent.position - self.at, extent.length),
            None => (u64::MAX, 0),
        };
        self.at = self.next.map_or(self.at, |extent| extent.position + extent.length);
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.zeros == 0 && self.bytes == 0 {
            self.advance();
        }
        if self.zeros > 0 {
            let count = buffer.len().min(usize::try_from(self.zeros).unwrap_or(usize::MAX));
            buffer[..count].fill(0);
            self.zeros -= count as u64;
            return Ok(count);
        }
        let most = buffer.len().min(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        let count = self.stored.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes -= count as u64;
        Ok(count)
    }
}

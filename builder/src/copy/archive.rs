//! ADD of archives: a tar, plain or compressed by gzip, bzip2, xz or zstd, is known by its content and unpacked.
//!
//! The rules are those of `moby/go-archive` in a chroot at the destination: entries replace what is in their way,
//! whatever it is; directories merge; symlinks on the way are followed inside the destination; directories that the
//! archive implies are 0:0 with mode 0755; `--chmod` has no say.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use layer_store::index::Extent;
use layer_store::layer::{ArchiveEntry, ArchiveReader, FileSource, TarLimits};
use layer_store::{Kind, Store};

use super::draft::{Draft, Found, Inode, InodeBody};
use super::path::{self, Dots, PathBytes};
use super::place::{Target, make_directories, unresolved};
use super::select::{Match, Part};
use super::tree::{Body, Xattrs, image_xattrs};
use super::{CopyError, Owner, Request};

const DIRECTORY_MODE: u32 = 0o755;
/// Memory that an xz stream may ask for, in bytes: eight times what `xz -9` needs.
const XZ_MEMORY: u64 = 512 << 20;
/// The latest time that is taken, in seconds: what 64-bit nanoseconds hold. Others become 0, as in BuildKit.
const LATEST: i64 = i64::MAX / 1_000_000_000;

/// Unpacks the match into the destination directory, if it is an archive. Whether it was one.
pub(super) fn unpack(
    store: &Store,
    part: &Part<'_>,
    found: &Match,
    draft: &mut Draft<'_>,
    target: &Target,
    request: &Request,
) -> Result<bool, CopyError> {
    let Some(top) = found.picked.first() else { return Ok(false) };
    if !matches!(top.node.body, Body::File { size: 1.., .. }) {
        return Ok(false);
    }
    let open = || part.tree.open(&found.path, &top.node);
    // What is in no tree has a name alone.
    let name = if part.contents_only { &found.path } else { &found.name };
    let name = String::from_utf8_lossy(name);
    unpack_file(store, &name, &open, draft, &target.path, request.owner)
}

/// Unpacks what `open` gives, each time from its beginning, into the directory `target`, if it is an archive. Whether
/// it was one.
pub(super) fn unpack_file(
    store: &Store,
    name: &str,
    open: &dyn Fn() -> Result<Opened, CopyError>,
    draft: &mut Draft<'_>,
    target: &[u8],
    owner: Option<Owner>,
) -> Result<bool, CopyError> {
    if !is_archive(open()?) {
        return Ok(false);
    }
    let root = draft.resolve(b"", target, Dots::AsText).map_err(|why| unresolved(target, &why))?;
    make_directories(draft, &root, DIRECTORY_MODE, owner)?;
    let mut unpacking = Unpacking { draft, archive: name, root, owner, holes: Holes::default() };
    match open()? {
        // The bytes of a plain tar are taken from where they are.
        Opened::File(file) if !is_compressed(&file) => {
            let file = Arc::new(file);
            let input =
                BufReader::with_capacity(256 * 1024, Positioned { file: Arc::clone(&file), position: 0 });
            unpacking.all(store, input, &file)?;
        }
        opened => {
            let fail = |source| CopyError::Io { action: "unpack", path: name.to_owned(), source };
            let spool = Arc::new(spool(store)?);
            let input = decompress(opened.reader()).map_err(fail)?;
            let tee = Tee { input, spool: Arc::clone(&spool) };
            unpacking.all(store, BufReader::with_capacity(256 * 1024, tee), &spool)?;
        }
    }
    Ok(true)
}

/// A source file, open.
pub(crate) enum Opened {
    /// It can be read at any place.
    File(File),
    /// It comes as a stream.
    Stream(Box<dyn Read + Send>),
}

impl Opened {
    fn reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::File(file) => Box::new(file),
            Self::Stream(stream) => stream,
        }
    }
}

/// Whether a file, from where it stands, decompresses and begins with a tar header.
pub(crate) fn begins_an_archive(file: File) -> bool {
    is_archive(Opened::File(file))
}

/// Whether the file decompresses and begins with a tar header.
fn is_archive(opened: Opened) -> bool {
    let Ok(input) = decompress(opened.reader()) else { return false };
    let mut reader = ArchiveReader::new(BufReader::new(input), TarLimits::default());
    match reader.next_entry() {
        Ok(entry) => entry.is_some(),
        // It is a tar, though one that will be refused; as a file it would hide what is wrong with it.
        Err(layer_store::Error::Entry { .. }) => true,
        Err(_) => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A frame to be skipped may come first.
            [low, 0x2a, 0x4d, 0x18, _, _, _, _, ..] if low & 0xf0 == 0x50 => Self::Zstd,
            _ => Self::None,
        }
    }
}

fn is_compressed(file: &File) -> bool {
    let mut head = [0; 10];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    Compression::of(&head[..length]) != Compression::None
}

/// A tar as layers may travel: one that is compressed with bzip2 or xz is inflated, others stay as they are.
pub(crate) fn as_layer(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    input.by_ref().take(10).read_to_end(&mut head)?;
    let inflates = matches!(Compression::of(&head), Compression::Bzip2 | Compression::Xz);
    let input = Box::new(io::Cursor::new(head).chain(input));
    if inflates { decompress(input) } else { Ok(input) }
}

fn decompress(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    input.by_ref().take(10).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let input = BufReader::with_capacity(256 * 1024, io::Cursor::new(head).chain(input));
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
    })
}

/// A file without a name on the store's filesystem.
fn spool(store: &Store) -> Result<File, CopyError> {
    let scratch = store.scratch()?;
    let path = scratch.path().join("spool");
    // The name goes with the scratch directory; the file stays as long as somebody has it open.
    File::options().read(true).write(true).create_new(true).open(&path).map_err(|source| CopyError::Io {
        action: "create",
        path: path.display().to_string(),
        source,
    })
}

/// Reads a file by position, so that others may too.
struct Positioned {
    file: Arc<File>,
    position: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

/// Keeps what it gives.
struct Tee {
    input: Box<dyn Read + Send>,
    spool: Arc<File>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        (&*self.spool).write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// The expanded sparse files of an archive.
#[derive(Default)]
struct Holes {
    spool: Option<Arc<File>>,
    end: u64,
}

struct Unpacking<'u, 'v> {
    draft: &'u mut Draft<'v>,
    archive: &'u str,
    /// The destination, which symlinks do not leave.
    root: PathBytes,
    owner: Option<Owner>,
    holes: Holes,
}

impl Unpacking<'_, '_> {
    fn all(&mut self, store: &Store, input: impl BufRead, data: &Arc<File>) -> Result<(), CopyError> {
        let mut reader = ArchiveReader::new(input, TarLimits::default());
        let mut sparse = Vec::new();
        loop {
            match reader.next_entry() {
                Ok(None) => break,
                Ok(Some(ArchiveEntry { entry, extents })) => {
                    let inode = self.put(&entry, data)?;
                    if let (Some(inode), Some(extents), Kind::File { size, .. }) =
                        (inode, extents, &entry.kind)
                    {
                        sparse.push((inode, extents, *size, entry.path.clone()));
                    }
                }
                Err(layer_store::Error::Entry { entry, reason }) => {
                    return Err(CopyError::Archive { archive: self.archive.to_owned(), entry, reason });
                }
                Err(layer_store::Error::Malformed { reason, .. }) => {
                    return Err(CopyError::Archive {
                        archive: self.archive.to_owned(),
                        entry: String::new(),
                        reason,
                    });
                }
                Err(layer_store::Error::Io { source, .. }) => {
                    return Err(CopyError::Io { action: "unpack", path: self.archive.to_owned(), source });
                }
                Err(error) => return Err(error.into()),
            }
        }
        // Now all data are in the spool.
        for (inode, extents, size, path) in sparse {
            let source = self.holes.expand(store, data, &extents, size).map_err(|source| CopyError::Io {
                action: "expand",
                path: path::display(&path),
                source,
            })?;
            self.draft.inode_mut(inode).body = InodeBody::File { size, source };
        }
        Ok(())
    }

    /// Puts an entry into the draft; of what was put as something new the inode.
    fn put(&mut self, entry: &layer_store::Entry, data: &Arc<File>) -> Result<Option<usize>, CopyError> {
        if entry.path.is_empty() {
            // The destination itself keeps its metadata.
            return Ok(None);
        }
        let at = self.place_of(&entry.path)?;
        let body = match &entry.kind {
            Kind::Directory { .. } => InodeBody::Directory { fresh: true },
            Kind::File { size, offset } => {
                let source = FileSource::Range { file: Arc::clone(data), offset: *offset };
                InodeBody::File { size: *size, source }
            }
            Kind::Symlink { target } => InodeBody::Symlink(target.clone()),
            Kind::CharDevice { major, minor } => InodeBody::CharDevice(*major, *minor),
            Kind::BlockDevice { major, minor } => InodeBody::BlockDevice(*major, *minor),
            Kind::Fifo => InodeBody::Fifo,
            Kind::Hardlink { target } => return self.link(entry, &at, target).map(|()| None),
            Kind::Whiteout => return Err(self.refuse(&entry.path, "it is a whiteout")),
        };
        let owner = self.owner(entry);
        let mode = if matches!(body, InodeBody::Symlink(_)) { 0o777 } else { entry.mode };
        let inode = Inode {
            body,
            mode,
            uid: owner.uid,
            gid: owner.gid,
            mtime: Some(time_of(entry)),
            xattrs: image_xattrs(&entry.xattrs),
        };
        let is_dir = matches!(inode.body, InodeBody::Directory { .. });
        if is_dir
            && self.draft.is_dir(&at)
            && let Some(existing) = self.draft.open(&at)
        {
            self.draft.inode_mut(existing).take_metadata(inode);
            return Ok(None);
        }
        Ok(Some(self.draft.put(&at, inode)))
    }

    /// Where an entry goes: the directories on the way are made if they are missing, and symlinks there followed.
    fn place_of(&mut self, path: &[u8]) -> Result<PathBytes, CopyError> {
        let parent = path::parent(path);
        let name = path::name(path);
        let stuck = |why: &path::Unresolved| self.refuse(path, why.reason());
        let literal =
            self.draft.resolve_parent(&self.root, parent, Dots::AsKernel).map_err(|why| stuck(&why))?;
        let full = self.draft.resolve(&self.root, parent, Dots::AsKernel).map_err(|why| stuck(&why))?;
        match (self.draft.find(&literal), self.draft.find(&full)) {
            (None, _) => make_directories(self.draft, &full, DIRECTORY_MODE, None)?,
            (_, Some(Found::Directory)) => {}
            (_, None) => return Err(self.refuse(path, "it goes through a symbolic link that leads nowhere")),
            (_, Some(_)) => return Err(self.refuse(path, "a part of its path is not a directory")),
        }
        Ok(path::child(&full, name))
    }

    fn link(&mut self, entry: &layer_store::Entry, at: &[u8], target: &[u8]) -> Result<(), CopyError> {
        let full = self
            .draft
            .resolve_parent(&self.root, target, Dots::AsKernel)
            .map_err(|why| self.refuse(&entry.path, why.reason()))?;
        if full == at || full.starts_with(&[at, b"/"].concat()) {
            return Err(self.refuse(&entry.path, "it is a hard link to itself"));
        }
        if self.draft.is_dir(&full) {
            return Err(self.refuse(&entry.path, "it is a hard link to a directory"));
        }
        let Some(inode) = self.draft.open(&full) else {
            return Err(self.refuse(&entry.path, "it is a hard link to what is not there"));
        };
        self.draft.link(at, inode);
        // All names of a file have one metadata; the last header decides, as it does on disk.
        let owner = self.owner(entry);
        let inode = self.draft.inode_mut(inode);
        if !matches!(inode.body, InodeBody::Symlink(_)) {
            inode.mode = entry.mode;
            inode.mtime = Some(time_of(entry));
        }
        (inode.uid, inode.gid) = (owner.uid, owner.gid);
        inode.xattrs.extend(image_xattrs(&entry.xattrs));
        Ok(())
    }

    fn owner(&self, entry: &layer_store::Entry) -> Owner {
        self.owner.unwrap_or(Owner { uid: entry.uid, gid: entry.gid })
    }

    fn refuse(&self, path: &[u8], reason: &str) -> CopyError {
        CopyError::Archive {
            archive: self.archive.to_owned(),
            entry: layer_store::index::path::printable(path),
            reason: reason.to_owned(),
        }
    }
}

impl Holes {
    /// Writes a sparse file out. Its holes are holes in the spool.
    fn expand(
        &mut self,
        store: &Store,
        data: &File,
        extents: &[Extent],
        size: u64,
    ) -> io::Result<FileSource> {
        let spool = match &self.spool {
            Some(spool) => Arc::clone(spool),
            None => Arc::clone(self.spool.insert(Arc::new(spool(store).map_err(io::Error::other)?))),
        };
        let offset = self.end;
        let mut buffer = vec![0; 64 * 1024];
        for extent in extents {
            let mut done = 0;
            while done < extent.length {
                let wanted = buffer.len().min(usize::try_from(extent.length - done).unwrap_or(usize::MAX));
                let length = data.read_at(&mut buffer[..wanted], extent.offset + done)?;
                if length == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                spool.write_all_at(&buffer[..length], offset + extent.position + done)?;
                done += length as u64;
            }
        }
        self.end += size;
        spool.set_len(self.end)?;
        Ok(FileSource::Range { file: spool, offset })
    }
}

fn time_of(entry: &layer_store::Entry) -> i64 {
    if (0..=LATEST).contains(&entry.mtime) { entry.mtime } else { 0 }
}

impl Inode {
    /// Takes over all but what it is; attributes that are there stay.
    pub(super) fn take_metadata(&mut self, new: Self) {
        let Self { mode, uid, gid, mtime, xattrs, .. } = new;
        let mut kept: Xattrs = std::mem::take(&mut self.xattrs);
        kept.extend(xattrs);
        *self = Self { body: self.body.clone(), mode, uid, gid, mtime, xattrs: kept };
    }
}

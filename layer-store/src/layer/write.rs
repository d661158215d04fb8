//! New layers from entries that somebody made up: what COPY, ADD and WORKDIR write.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::pipeline::{self, Stream};
use super::read::{Bytes, FileRange, Summed, damaged, file_entry};
use super::tree::{TreeWriter, beneath};
use super::{FileSource, Form, Limits, NewEntry, NewKind, decompress, tar};
use crate::error::IoContext as _;
use crate::index::{Builder, Entry, Kind, Known, PathBytes, Seen, TarFacts, path};
use crate::store::Ownership;
use crate::store::writing::{Sync, Unnamed};
use crate::{Digest, Index, Result, Store};

impl Store {
    /// Writes a new layer, canonically, in one pass over its sources: hashes it and leaves the index and the form
    /// that is wanted (`Tree` or `Tar`; `Index` leaves no bytes). The order of `entries` does not matter, but that of
    /// two with one path the later wins. Parents that no layer below has are for the caller to list; without, trees
    /// have them with mode 0755 and owner 0:0. Returns the diffID, which depends on the entries alone.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Entry`] for entries that no layer can hold; [`crate::Error::Io`] for a source that cannot be
    /// read or whose size is not what was said.
    pub fn write_layer(&self, entries: Vec<NewEntry>, form: Form) -> Result<Digest> {
        self.write_layer_like(entries, form, None)
    }

    /// As [`Store::write_layer`], where the layer is probably much like an `earlier` one: a file of the new tree that is
    /// as it was there, byte for byte, is a link to that one. Nothing else depends on it.
    ///
    /// # Errors
    ///
    /// As [`Store::write_layer`].
    pub fn write_layer_like(
        &self,
        entries: Vec<NewEntry>,
        form: Form,
        earlier: Option<&Digest>,
    ) -> Result<Digest> {
        let (entries, sources) = self.planned(entries)?;
        let scratch = (form == Form::Tree).then(|| self.scratch()).transpose()?;
        let place = scratch.as_ref().map(|scratch| scratch.path().join("tree"));
        let tree = place.as_ref().map(|place| TreeWriter::create(place, self.giving())).transpose()?;
        let earlier = earlier.filter(|_| form == Form::Tree).and_then(|layer| Earlier::open(self, layer));
        let mut tar = (form == Form::Tar).then(|| self.unnamed()).transpose()?;
        let mut copy = tar.as_ref().map(Unnamed::file);
        let copy = copy.as_mut().map(|copy| copy as &mut (dyn io::Write + Send));
        let (diff_id, (index, owners)) =
            pipeline::hashing(copy, None, |stream| self.emit(stream, entries, &sources, tree, earlier))?;
        // The lock comes late, since the name does: two that write the same layer both do the work.
        let _lock = self.lock("layer", &diff_id)?;
        if let Some(place) = &place {
            self.keep_tree(&diff_id, place, &owners)?;
        }
        self.make_layer_dir(&diff_id)?;
        if let Some(tar) = tar.take()
            && !self.has_tar(&diff_id)
        {
            tar.name(&self.tar_path(&diff_id), 0o644, Sync::Whole, self.durability())?;
        }
        self.keep_canonical_index(&diff_id, index)?;
        Ok(diff_id)
    }

    /// Writes the canonical tar of `entries` to `output` and keeps nothing of it. Files that are in a blob alone lie in a
    /// scratch directory meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Store::write_layer`]; [`crate::Error::Damaged`] for a file of a layer that the disk changed.
    pub fn stream_layer(&self, entries: Vec<NewEntry>, output: &mut dyn io::Write) -> Result<()> {
        let (entries, sources) = self.planned(entries)?;
        pipeline::hashing(None, Some(output), |stream| self.emit(stream, entries, &sources, None, None))
            .map(|_| ())
    }

    /// Shows each entry of what would be a layer, in the order of its tar, with the bytes of a regular file.
    ///
    /// # Errors
    ///
    /// As [`Store::stream_layer`], and those of `visit`. The last read of a damaged file fails.
    pub fn each_entry<E: From<crate::Error>>(
        &self,
        entries: Vec<NewEntry>,
        mut visit: impl FnMut(&Entry, &mut dyn Read) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let (entries, sources) = self.planned(entries)?;
        for entry in &entries {
            let Kind::File { size, offset } = entry.kind else {
                visit(entry, &mut io::empty())?;
                continue;
            };
            let (source, sum) = &sources[offset as usize];
            let mut bytes = self.open_source(source, size)?;
            match sum {
                Some(sum) => visit(entry, &mut Summed::new(bytes, size, *sum))?,
                None => visit(entry, &mut (&mut bytes).take(size))?,
            }
        }
        Ok(())
    }

    /// The entries of the layer in their order. The offset of a file is the number of its source.
    fn planned(&self, entries: Vec<NewEntry>) -> Result<(Vec<Entry>, Vec<Source>)> {
        let mut builder = Builder::new();
        let mut sources = Vec::new();
        for new in links_last(entries) {
            let mut mode = new.mode & 0o7777;
            let kind = match new.kind {
                NewKind::Directory { opaque } => Kind::Directory { opaque },
                NewKind::File { size, source } => {
                    sources.push(source);
                    Kind::File { size, offset: sources.len() as u64 - 1 }
                }
                NewKind::Hardlink { target } => Kind::Hardlink { target },
                NewKind::Symlink { target } => {
                    // The kernel gives them no other.
                    mode = 0o777;
                    Kind::Symlink { target }
                }
                NewKind::CharDevice { major: 0, minor: 0 } | NewKind::Whiteout => Kind::Whiteout,
                NewKind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
                NewKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
                NewKind::Fifo => Kind::Fifo,
            };
            let NewEntry { path, uid, gid, mtime, xattrs, .. } = new;
            if !path::is_clean(&path) {
                let reason = "the path is not clean".to_owned();
                return Err(crate::Error::Entry { entry: path::printable(&path), reason });
            }
            builder.insert(Entry { path, kind, mode, uid, gid, mtime, xattrs })?;
        }
        let index = builder.finish(TarFacts::default());
        let mut entries = index.entries().to_vec();
        lead_links(&mut entries)?;
        let sums = sources.iter().map(|source| self.expected(source)).collect::<Result<Vec<_>>>()?;
        self.gather(&mut sources, &entries)?;
        Ok((entries, sources.into_iter().zip(sums).collect()))
    }

    /// The checksum of what a source gives, if that is known.
    fn expected(&self, source: &FileSource) -> Result<Option<u32>> {
        let FileSource::Layer { diff_id, path } = source else { return Ok(None) };
        let index = self.index(diff_id)?;
        Ok(index.checksum(&file_entry(&index, path)?.path))
    }

    /// Puts the tar of `entries` into `stream` and their files into `tree`.
    fn emit(
        &self,
        stream: &mut Stream<'_>,
        mut entries: Vec<Entry>,
        sources: &[Source],
        mut tree: Option<TreeWriter>,
        mut earlier: Option<Earlier>,
    ) -> Result<(Index, Vec<Ownership>)> {
        let mut headers = Vec::new();
        let mut known = Known::default();
        for (at, entry) in entries.iter_mut().enumerate() {
            headers.clear();
            tar::encode(entry, &mut headers)?;
            stream.put(&headers);
            let Kind::File { size, offset } = entry.kind else {
                if let Some(tree) = &mut tree {
                    tree.place(entry)?;
                }
                continue;
            };
            let (source, _) = &sources[offset as usize];
            entry.kind = Kind::File { size, offset: stream.position() };
            let mut seen = Seen::new(&entry.path, size);
            let into = tree.as_mut().map(|tree| (tree, earlier.as_mut()));
            self.emit_file(stream, entry, size, source, into, &mut seen)?;
            if sources[offset as usize].1.is_some_and(|sum| sum != seen.checksum()) {
                return Err(damaged(&entry.path));
            }
            known.take(at, &entry.path, seen);
            stream.put_zeros(tar::padding(size) as u64);
        }
        stream.put(&tar::END);
        let index = Index::canonical(entries, known, stream.position());
        let owners = tree.map(|tree| tree.finish(&index)).transpose()?.unwrap_or_default();
        Ok((index, owners))
    }

    fn emit_file(
        &self,
        stream: &mut Stream<'_>,
        entry: &Entry,
        size: u64,
        source: &FileSource,
        into: Option<(&mut TreeWriter, Option<&mut Earlier>)>,
        seen: &mut Seen,
    ) -> Result<()> {
        let shown = || source_name(source, entry);
        let mut opened = self.open_source(source, size)?;
        let into = match into {
            Some((tree, earlier)) => (!self.link_unchanged(tree, entry, source)?).then_some((tree, earlier)),
            None => None,
        };
        let Some((tree, earlier)) = into else {
            let read = stream.put_file(&mut opened, size, |bytes| {
                seen.update(bytes);
                Ok(())
            });
            return read.context("read", shown());
        };
        if let Some(earlier) = earlier
            && let Some(mut same) = earlier.link(tree, entry, size)?
        {
            let read = stream.put_file(&mut opened, size, |bytes| {
                seen.update(bytes);
                same.take(bytes, tree, entry)
            });
            read.context("copy", shown())?;
            return same.finish(tree, entry);
        }
        let mut file = File::from(tree.file(entry)?);
        let cloned =
            size > 0 && opened.whole().is_some_and(|whole| rustix::fs::ioctl_ficlone(&file, whole).is_ok());
        let read = stream.put_file(&mut opened, size, |bytes| {
            seen.update(bytes);
            if cloned { Ok(()) } else { file.write_all(bytes) }
        });
        read.context("copy", shown())?;
        tree.finish_file(entry, &OwnedFd::from(file))
    }

    /// Makes a file that another layer's tree has just so a link to that, since trees do not change.
    fn link_unchanged(&self, tree: &mut TreeWriter, entry: &Entry, source: &FileSource) -> Result<bool> {
        let FileSource::Layer { diff_id, path } = source else { return Ok(false) };
        if !self.has_tree(diff_id) {
            return Ok(false);
        }
        let index = self.index(diff_id)?;
        let other = file_entry(&index, path)?;
        if !same_metadata(other, entry) {
            return Ok(false);
        }
        let root = self.open_tree(diff_id)?;
        tree.link_from(entry, root.as_fd(), &other.path)
    }

    fn open_source(&self, source: &FileSource, size: u64) -> Result<Opened> {
        Ok(match source {
            FileSource::Bytes(bytes) => Opened::Reader(Box::new(io::Cursor::new(Arc::clone(bytes)))),
            FileSource::Host { root, path } => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = beneath::open(root.as_fd(), path.as_os_str().as_bytes(), flags, Mode::empty())
                    .context("open", path)?;
                Opened::Whole(file.into())
            }
            FileSource::Range { file, offset } => {
                Opened::Reader(Box::new(FileRange::new(Arc::clone(file), *offset, size)))
            }
            FileSource::Layer { diff_id, path } => {
                let index = self.index(diff_id)?;
                let entry = file_entry(&index, path)?;
                match self.bytes_of(diff_id, &index, entry)? {
                    Bytes::Tree(file) => Opened::Whole(file),
                    Bytes::Memory(bytes) => Opened::Reader(Box::new(io::Cursor::new(bytes))),
                    Bytes::Tar(file, offset) => {
                        Opened::Reader(Box::new(FileRange::new(Arc::new(file), offset, size)))
                    }
                    Bytes::Stream(stream) => Opened::Reader(Box::new(stream.take(size))),
                }
            }
        })
    }

    /// Replaces sources that are in blobs by parts of one file that holds them all: a blob can only be inflated from
    /// its beginning, so that is done once for all files.
    fn gather(&self, sources: &mut [FileSource], entries: &[Entry]) -> Result<()> {
        let mut wanted: HashMap<Digest, BTreeMap<u64, (u64, Vec<usize>)>> = HashMap::new();
        for entry in entries {
            let Kind::File { offset: number, .. } = entry.kind else { continue };
            let FileSource::Layer { diff_id, path } = &sources[number as usize] else { continue };
            if self.any_tree(diff_id).is_some() || self.has_tar(diff_id) {
                continue;
            }
            let index = self.index(diff_id)?;
            let file = file_entry(&index, path)?;
            let Kind::File { size, offset } = file.kind else { continue };
            if size > 0 && index.extents(&file.path).is_none() && index.inline(&file.path).is_none() {
                let places = wanted.entry(*diff_id).or_default();
                places.entry(offset).or_insert_with(|| (size, Vec::new())).1.push(number as usize);
            }
        }
        wanted.retain(|_, places| places.len() > 1);
        for (diff_id, places) in wanted {
            let Some(blob) = self.local_blob(&diff_id)? else { return Err(Self::missing(&diff_id)) };
            let shown = self.blob_path(&blob);
            let mut stream = decompress(self.open_blob(&blob)?, Limits::default()).context("read", &shown)?;
            let scratch = self.scratch()?;
            let spool_path = scratch.path().join("spool");
            let spool = Arc::new(
                File::create_new(&spool_path)
                    .and_then(|_| File::options().read(true).write(true).open(&spool_path))
                    .context("create", &spool_path)?,
            );
            let (mut at, mut written) = (0, 0);
            for (offset, (size, numbers)) in places {
                io::copy(&mut (&mut stream).take(offset - at), &mut io::sink()).context("read", &shown)?;
                let copied = io::copy(&mut (&mut stream).take(size), &mut &*spool).context("read", &shown)?;
                if copied != size {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).context("read", &shown);
                }
                for number in numbers {
                    sources[number] = FileSource::Range { file: Arc::clone(&spool), offset: written };
                }
                (at, written) = (offset + size, written + size);
            }
        }
        Ok(())
    }
}

/// A tree that a new one is probably much like.
struct Earlier {
    index: Arc<Index>,
    root: OwnedFd,
    buffer: Vec<u8>,
}

impl Earlier {
    /// That of a layer, if it has one.
    fn open(store: &Store, layer: &Digest) -> Option<Self> {
        let root = store.has_tree(layer).then(|| store.open_tree(layer).ok())??;
        Some(Self { index: store.index(layer).ok()?, root, buffer: Vec::new() })
    }

    /// Makes a file of a new tree a link to the earlier one of its path, if that has the same size and metadata. Whether
    /// it has the same bytes is to be seen.
    fn link(&mut self, tree: &mut TreeWriter, entry: &Entry, size: u64) -> Result<Option<Same<'_>>> {
        let Some(old) = self.index.entry(&entry.path) else { return Ok(None) };
        if !matches!(old.kind, Kind::File { size: old, .. } if old == size) || !same_metadata(old, entry) {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Ok(file) = beneath::open(&self.root, &entry.path, flags, Mode::empty()) else { return Ok(None) };
        let linked = tree.link_from(entry, self.root.as_fd(), &entry.path)?;
        Ok(linked.then(|| Same { old: file.into(), at: 0, other: None, buffer: &mut self.buffer }))
    }
}

/// A file that is the same as an earlier one, as far as it was read.
struct Same<'a> {
    old: File,
    /// How many bytes are known to be the same.
    at: u64,
    /// The file that there is instead since a byte was another one.
    other: Option<File>,
    buffer: &'a mut Vec<u8>,
}

impl Same<'_> {
    /// Takes the next bytes of the new file.
    fn take(&mut self, bytes: &[u8], tree: &mut TreeWriter, entry: &Entry) -> io::Result<()> {
        if self.other.is_none() {
            self.buffer.resize(bytes.len().max(self.buffer.len()), 0);
            let old = &mut self.buffer[..bytes.len()];
            let is_whole = self.old.read_exact_at(old, self.at).is_ok();
            if is_whole && *old == *bytes {
                self.at += bytes.len() as u64;
                return Ok(());
            }
            let mut file = File::from(tree.file(entry).map_err(io::Error::other)?);
            self.old.rewind()?;
            io::copy(&mut (&mut self.old).take(self.at), &mut file)?;
            self.other = Some(file);
        }
        self.other.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn finish(self, tree: &mut TreeWriter, entry: &Entry) -> Result<()> {
        self.other.map_or(Ok(()), |file| tree.finish_file(entry, &file.into()))
    }
}

/// Puts hard links behind what they lead to. One whose place a later entry takes is left out.
fn links_last(entries: Vec<NewEntry>) -> Vec<NewEntry> {
    let is_link = |entry: &NewEntry| matches!(entry.kind, NewKind::Hardlink { .. });
    if !entries.iter().any(is_link) {
        return entries;
    }
    let last: HashMap<PathBytes, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.path.clone(), at)).collect();
    let (links, mut others): (Vec<_>, Vec<_>) =
        entries.into_iter().enumerate().partition(|(_, entry)| is_link(entry));
    others.extend(links.into_iter().filter(|(at, entry)| last[&entry.path] == *at));
    others.into_iter().map(|(_, entry)| entry).collect()
}

/// Gives the bytes of each group of hard links to its first name.
///
/// # Errors
///
/// [`crate::Error::Entry`] for a link to what the layer does not have.
fn lead_links(entries: &mut [Entry]) -> Result<()> {
    let mut groups: BTreeMap<PathBytes, Vec<usize>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Kind::Hardlink { target } = &entry.kind {
            groups.entry(target.clone()).or_default().push(at);
        }
    }
    for (target, links) in groups {
        let Ok(file) = crate::index::find(entries, &target) else {
            let reason = format!("`{}`, which it links to, is not in the layer", path::printable(&target));
            return Err(crate::Error::Entry { entry: path::printable(&entries[links[0]].path), reason });
        };
        let first = links[0];
        if first < file {
            let leader = entries[first].path.clone();
            entries[first].kind = entries[file].kind.clone();
            for at in links.into_iter().skip(1).chain([file]) {
                entries[at].kind = Kind::Hardlink { target: leader.clone() };
            }
        }
    }
    Ok(())
}

/// Whether two files differ in their bytes at most.
fn same_metadata(one: &Entry, other: &Entry) -> bool {
    (one.mode, one.uid, one.gid, one.mtime, &one.xattrs)
        == (other.mode, other.uid, other.gid, other.mtime, &other.xattrs)
}

/// Where the bytes of a file come from, and the checksum that they must have, if one is known.
type Source = (FileSource, Option<u32>);

/// A source that can be read.
enum Opened {
    /// All of a file, from its beginning.
    Whole(File),
    Reader(Box<dyn Read + Send>),
}

impl Opened {
    fn whole(&self) -> Option<&File> {
        match self {
            Self::Whole(file) => Some(file),
            Self::Reader(_) => None,
        }
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(file) => file.read(buffer),
            Self::Reader(reader) => reader.read(buffer),
        }
    }
}

/// What to call a source in a message.
fn source_name(source: &FileSource, entry: &Entry) -> std::path::PathBuf {
    match source {
        FileSource::Host { path, .. } => path.clone(),
        FileSource::Layer { path, .. } => path::printable(path).into(),
        FileSource::Bytes(_) | FileSource::Range { .. } => path::printable(&entry.path).into(),
    }
}

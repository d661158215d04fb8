//! Directories become layers: what an overlay upper directory changed, or how a whole directory differs from a view.
//!
//! What a layer holds follows from two filesystems alone, the one below and the one that is left:
//!
//! - An entry that is as it is below, in kind, mode, owner, time, attributes, bytes and hard links, is left out: so both
//!   ways of finding out give one layer. The time of a file that was touched is another one, even in the same second.
//! - The directories above an entry come with it; others only if they changed themselves, in more than the time, as
//!   with BuildKit. The root never does.
//! - What is gone is a whiteout, one for a directory with all that was in it. No directory is opaque, as with BuildKit:
//!   not every reader of layers knows how to hide what is below.
//! - Times are whole seconds. Sockets are left out; an attribute is kept if it says the same on any machine.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::pipeline::{self, Stream};
use super::tree::{TreeWriter, beneath};
use super::{DiffOptions, Form, tar};
use crate::error::IoContext as _;
use crate::index::{Entry, Kind, Known, PathBytes, Seen, path};
use crate::store::Ownership;
use crate::store::writing::{Sync, Unnamed};
use crate::{Digest, Error, Index, Result, Store, View};

mod below;
mod walk;

#[cfg(test)]
mod tests;

/// A moment by the clock of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanoseconds: u32,
}

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The upper directory of an overlay: what is not there is as below.
    Upper,
    /// The whole filesystem: what is not there is gone.
    Whole,
}

impl Store {
    /// Makes an overlay upper directory a layer: one walk gives index and diffID, then the directory becomes the
    /// tree by a rename (or is copied if it is on another filesystem, and removed). `below` is the view that it was
    /// mounted over. Returns the diffID. Nothing may write to the directory meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Entry`] for what no layer can hold, such as a name that begins with `.wh.`; the directory stays then.
    pub fn commit_upper(&self, upper: &Path, below: &View, options: &DiffOptions) -> Result<Digest> {
        let device =
            |path: &Path| std::fs::symlink_metadata(path).map(|found| found.dev()).context("stat", path);
        if device(upper)? != device(self.root())? {
            let diff_id = self.diff(upper, below, options, Scope::Upper, None, Form::Tree)?;
            self.remove_all(upper)?;
            return Ok(diff_id);
        }
        let mut retimed = Vec::new();
        let (diff_id, (index, _)) = pipeline::hashing(None, None, |stream| {
            let mut diff = Diff::new(self, upper, below, options, stream)?;
            diff.walk(Scope::Upper)?;
            retimed = std::mem::take(&mut diff.retimed);
            diff.finish()
        })?;
        walk::set_times(upper, &retimed)?;
        let _lock = self.lock("layer", &diff_id)?;
        if self.has_tree(&diff_id) {
            self.remove_all(upper)?;
        } else {
            self.keep_tree(&diff_id, upper, &[])?;
        }
        self.keep_canonical_index(&diff_id, index)?;
        Ok(diff_id)
    }

    /// Makes the difference between `below` and the filesystem in `directory` a layer, for sandboxes without overlay:
    /// the same change gives the same layer as [`Store::commit_upper`]. Reads all files whose metadata is as below,
    /// but those that did not change `since` by their change time, which nobody can set. The directory stays as it is.
    /// Returns the diffID.
    ///
    /// # Errors
    ///
    /// As [`Store::commit_upper`].
    pub fn commit_whole(
        &self,
        directory: &Path,
        below: &View,
        options: &DiffOptions,
        since: Option<Moment>,
        form: Form,
    ) -> Result<Digest> {
        self.diff(directory, below, options, Scope::Whole, since, form)
    }

    fn diff(
        &self,
        directory: &Path,
        below: &View,
        options: &DiffOptions,
        scope: Scope,
        since: Option<Moment>,
        form: Form,
    ) -> Result<Digest> {
        let scratch = (form == Form::Tree).then(|| self.scratch()).transpose()?;
        let place = scratch.as_ref().map(|scratch| scratch.path().join("tree"));
        let giving = self.giving();
        let tree = place.as_ref().map(|place| TreeWriter::create(place, giving)).transpose()?;
        let tar = (form == Form::Tar).then(|| self.unnamed()).transpose()?;
        let mut copy = tar.as_ref().map(Unnamed::file);
        let copy = copy.as_mut().map(|copy| copy as &mut (dyn io::Write + Send));
        let (diff_id, (index, owners)) = pipeline::hashing(copy, None, |stream| {
            let mut diff = Diff::new(self, directory, below, options, stream)?;
            (diff.tree, diff.since) = (tree, since);
            diff.lacks_devices =
                scope == Scope::Whole && (options.owners.is_some() || !self.makes_devices()?);
            diff.walk(scope)?;
            diff.finish()
        })?;
        let _lock = self.lock("layer", &diff_id)?;
        if let Some(place) = &place {
            self.keep_tree(&diff_id, place, &owners)?;
        }
        self.make_layer_dir(&diff_id)?;
        if let Some(tar) = tar
            && !self.has_tar(&diff_id)
        {
            tar.name(&self.tar_path(&diff_id), 0o644, Sync::Whole, self.durability())?;
        }
        self.keep_canonical_index(&diff_id, index)?;
        Ok(diff_id)
    }
}

impl Store {
    /// Whether this process may make devices.
    fn makes_devices(&self) -> Result<bool> {
        let scratch = self.scratch()?;
        let (kind, null) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        Ok(rustix::fs::mknodat(CWD, scratch.path().join("null"), kind, Mode::empty(), null).is_ok())
    }
}

/// A difference while it is found, which is also while it is written.
struct Diff<'a, 's, 'o> {
    store: &'a Store,
    below: &'a View,
    shown: &'a Path,
    root: OwnedFd,
    clamp_mtime: Option<i64>,
    /// Owners by path, where those on disk mean nothing.
    owners: Option<HashMap<&'a [u8], (u32, u32)>>,
    since: Option<Moment>,
    stream: &'s mut Stream<'o>,
    tree: Option<TreeWriter>,
    headers: Vec<u8>,
    entries: Vec<Entry>,
    known: Known,
    /// Directories on the way to the present one that have no entry yet, outermost first.
    waiting: Vec<Entry>,
    /// The first entry of each file with several names, by device and inode.
    links: HashMap<(u64, u64), usize>,
    /// How many hard links lead to a file below, if that was asked.
    links_below: Option<HashMap<(Digest, &'a [u8]), u64>>,
    /// Whether devices of the view may be missing because nobody was allowed to make them.
    lacks_devices: bool,
    /// Entries whose time on disk is not quite that of their entry.
    retimed: Vec<(PathBytes, i64)>,
}

impl<'a, 's, 'o> Diff<'a, 's, 'o> {
    fn new(
        store: &'a Store,
        directory: &'a Path,
        below: &'a View,
        options: &'a DiffOptions,
        stream: &'s mut Stream<'o>,
    ) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, directory, flags, Mode::empty()).context("open", directory)?;
        let owners = options.owners.as_ref();
        let by_path = |owners: &'a Vec<(Vec<u8>, u32, u32)>| {
            owners.iter().map(|(path, uid, gid)| (path.as_slice(), (*uid, *gid))).collect()
        };
        Ok(Self {
            store,
            below,
            shown: directory,
            root,
            clamp_mtime: options.clamp_mtime,
            owners: owners.map(by_path),
            since: None,
            stream,
            tree: None,
            headers: Vec::new(),
            entries: Vec::new(),
            known: Known::default(),
            waiting: Vec::new(),
            links: HashMap::new(),
            links_below: None,
            lacks_devices: false,
            retimed: Vec::new(),
        })
    }

    /// Writes an entry, after the directories that it is in. The bytes of a file come from `file`.
    fn emit(&mut self, mut entry: Entry, file: Option<&mut File>) -> Result<()> {
        for directory in std::mem::take(&mut self.waiting) {
            self.emit_one(directory)?;
        }
        let Kind::File { size, .. } = entry.kind else { return self.emit_one(entry) };
        self.put_header(&entry)?;
        entry.kind = Kind::File { size, offset: self.stream.position() };
        let mut seen = Seen::new(&entry.path, size);
        let mut copy = match &mut self.tree {
            Some(tree) => Some(File::from(tree.file(&entry)?)),
            None => None,
        };
        let mut nothing = io::empty();
        let cloned = match (&copy, &file) {
            (Some(copy), Some(file)) if size > 0 => rustix::fs::ioctl_ficlone(copy, file).is_ok(),
            _ => false,
        };
        let source: &mut dyn io::Read = match file {
            Some(file) => file,
            None => &mut nothing,
        };
        let read = self.stream.put_file(source, size, |bytes| {
            seen.update(bytes);
            match &mut copy {
                Some(copy) if !cloned => io::Write::write_all(copy, bytes),
                _ => Ok(()),
            }
        });
        read.context("read", self.shown(&entry.path))?;
        self.stream.put_zeros(tar::padding(size) as u64);
        if let (Some(tree), Some(copy)) = (&mut self.tree, copy) {
            tree.finish_file(&entry, &OwnedFd::from(copy))?;
        }
        self.known.take(self.entries.len(), &entry.path, seen);
        self.entries.push(entry);
        Ok(())
    }

    fn emit_one(&mut self, entry: Entry) -> Result<()> {
        self.put_header(&entry)?;
        if let Some(tree) = &mut self.tree {
            tree.place(&entry)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn put_header(&mut self, entry: &Entry) -> Result<()> {
        self.headers.clear();
        tar::encode(entry, &mut self.headers)?;
        self.stream.put(&self.headers);
        Ok(())
    }

    fn finish(mut self) -> Result<(Index, Vec<Ownership>)> {
        self.stream.put(&tar::END);
        let index = Index::canonical(self.entries, self.known, self.stream.position());
        let owners = self.tree.take().map(|tree| tree.finish(&index)).transpose()?;
        Ok((index, owners.unwrap_or_default()))
    }

    fn shown(&self, path: &[u8]) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.shown.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Opens what the walk found at `path`.
    fn open(&self, path: &[u8], flags: OFlags) -> Result<File> {
        let opened = beneath::open(self.root.as_fd(), path, flags, Mode::empty());
        Ok(File::from(opened.context("open", self.shown(path))?))
    }
}

fn refuse(path: &[u8], reason: &str) -> Error {
    Error::Entry { entry: path::printable(path), reason: reason.to_owned() }
}

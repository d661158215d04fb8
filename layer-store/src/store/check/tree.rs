//! Compares the files of a tree with the index that they were made from.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::IoContext as _;
use crate::index::{Entry, Kind, path};
use crate::layer::tree::{beneath, xattrs};
use crate::store::TreeKind;
use crate::{Digest, Error, Index, Result, Store};

impl Store {
    /// What is wrong with the tree of a layer, or a patch of it, at `place`: the first thing that differs from `index`.
    ///
    /// Not compared: owners and times, of which a tree has what its process could give, devices that it could not
    /// make, and files beside those of the index, since a sandbox leaves unchanged ones and sockets.
    pub(super) fn tree_damage(
        &self,
        diff_id: &Digest,
        kind: TreeKind,
        place: &Path,
        index: &Index,
    ) -> Result<Option<String>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = match rustix::fs::openat(CWD, place, flags, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Some("its directory is missing".to_owned())),
            Err(error) => return Err(error).context("open", place),
        };
        let mut tree = Tree { store: self, place, marks: kind.marks, root, parent: None };
        let mut unknown = false;
        for entry in index.entries() {
            let summed = index.checksum(&entry.path);
            let reason = match &entry.kind {
                Kind::File { size, .. } => {
                    unknown |= summed.is_none() && *size > 0;
                    tree.file_damage(entry, *size, summed)?
                }
                _ => tree.entry_damage(index, entry)?,
            };
            if let Some(reason) = reason {
                return Ok(Some(format!("`{}` {reason}", path::printable(&entry.path))));
            }
        }
        // Sparse files, and a checksum that happens to be the one that stands for none.
        if unknown && index.tar().canonical && !self.has_tar(diff_id) && !self.gives_its_tar(diff_id)? {
            return Ok(Some("together they do not have its diffID".to_owned()));
        }
        Ok(None)
    }
}

struct Tree<'a> {
    store: &'a Store,
    place: &'a Path,
    /// Whether it says what is removed.
    marks: bool,
    root: OwnedFd,
    /// The directory that the last entry was in; no descriptor if it may not be entered.
    parent: Option<(Vec<u8>, Option<OwnedFd>)>,
}

type Damage = Option<&'static str>;

impl Tree<'_> {
    fn file_damage(&mut self, entry: &Entry, size: u64, sum: Option<u32>) -> Result<Damage> {
        let mut file = match self.store.open_at(self.place, &self.root, &entry.path) {
            Ok(file) => file,
            Err(Error::Path { .. }) => return Ok(Some("is no regular file")),
            Err(Error::Io { source, .. }) if is_gone(&source) => return Ok(Some("is missing")),
            Err(error) => return Err(error),
        };
        let found = rustix::fs::fstat(&file).context("stat", self.place)?;
        if found.st_size.unsigned_abs() != size {
            return Ok(Some("does not have its size"));
        }
        if mode_differs(entry, &found) {
            return Ok(Some("does not have its mode"));
        }
        match sum {
            Some(sum) if crc(&mut file).context("read", self.place)? != sum => {
                Ok(Some("does not have its bytes"))
            }
            _ => Ok(None),
        }
    }

    fn entry_damage(&mut self, index: &Index, entry: &Entry) -> Result<Damage> {
        let Some(found) = self.stat(&entry.path)? else {
            // Devices and pipes need a privilege that the process did not have; a link may lead to a lower layer.
            let may_lack = match &entry.kind {
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => true,
                Kind::Hardlink { target } => index.entry(target).is_none(),
                Kind::Whiteout => !self.marks,
                _ => false,
            };
            let seen = matches!(&self.parent, Some((_, Some(_))));
            return Ok((seen && !may_lack).then_some("is missing"));
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        Ok(match &entry.kind {
            Kind::Directory { opaque } => {
                if kind != FileType::Directory {
                    Some("is no directory")
                } else if mode_differs(entry, &found) {
                    Some("does not have its mode")
                } else if *opaque && self.marks && !self.is_opaque(&entry.path) {
                    Some("does not hide what is below")
                } else {
                    None
                }
            }
            Kind::Symlink { target } => {
                let actual = self.link_target(&entry.path)?;
                (actual.as_deref() != Some(target)).then_some("does not lead where it should")
            }
            Kind::Hardlink { target } => {
                let other = self.stat(target)?;
                let same =
                    other.is_none_or(|other| (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino));
                (!same).then_some("is not the file that it should be")
            }
            Kind::Whiteout => {
                let is_one = kind == FileType::CharacterDevice && found.st_rdev == 0;
                (!is_one).then_some("is no whiteout")
            }
            // An empty file may stand for one that could not be made.
            Kind::CharDevice { .. } | Kind::BlockDevice { .. }
                if kind == FileType::RegularFile && found.st_size == 0 =>
            {
                None
            }
            Kind::CharDevice { .. } => (kind != FileType::CharacterDevice).then_some("is no device"),
            Kind::BlockDevice { .. } => (kind != FileType::BlockDevice).then_some("is no device"),
            Kind::Fifo => (kind != FileType::Fifo).then_some("is no pipe"),
            Kind::File { .. } => None,
        })
    }

    /// What is at a path; nothing where it is missing or may not be looked at.
    fn stat(&mut self, entry: &[u8]) -> Result<Option<Stat>> {
        let name = self.enter(entry)?;
        let Some((_, Some(parent))) = &self.parent else { return Ok(None) };
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error).context("stat", self.place.join(path::printable(entry))),
        }
    }

    fn link_target(&mut self, entry: &[u8]) -> Result<Option<Vec<u8>>> {
        let name = self.enter(entry)?;
        let Some((_, Some(parent))) = &self.parent else { return Ok(None) };
        Ok(rustix::fs::readlinkat(parent, name, Vec::new()).ok().map(std::ffi::CString::into_bytes))
    }

    /// Whether a directory hides what is below; where that may not be seen it is believed.
    fn is_opaque(&self, directory: &[u8]) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match beneath::open(&self.root, directory, flags, Mode::empty()) {
            Ok(directory) => {
                xattrs::value(&directory, xattrs::OPAQUE).is_ok_and(|value| value.as_deref() == Some(b"y"))
            }
            Err(_) => true,
        }
    }

    /// Opens the directory that a path is in, unless it is open. Returns the name in it.
    fn enter<'p>(&mut self, entry: &'p [u8]) -> Result<&'p [u8]> {
        let (directory, name) = path::split(entry).unwrap_or((b"", b"."));
        if self.parent.as_ref().is_none_or(|(known, _)| known != directory) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let opened = match beneath::open(self.root.as_fd(), directory, flags, Mode::empty()) {
                Ok(opened) => Some(opened),
                Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
                Err(error) => {
                    return Err(error).context("open", self.place.join(path::printable(directory)));
                }
            };
            self.parent = Some((directory.to_vec(), opened));
        }
        Ok(name)
    }
}

/// Whether permission bits differ. Of a tree that a plain user keeps they are the custodian's to give.
fn mode_differs(entry: &Entry, found: &Stat) -> bool {
    found.st_mode & 0o7777 != entry.mode
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::XDEV];
    error.raw_os_error().is_some_and(|number| gone.iter().any(|one| one.raw_os_error() == number))
}

fn crc(file: &mut File) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crc.finalize()),
            count => crc.update(&buffer[..count]),
        }
    }
}

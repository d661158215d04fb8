//! A view as a directory: for sandboxes without overlay, and for images that are taken out as files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::diff::Moment;
use super::tree::{Giving, TreeWriter};
use crate::error::IoContext as _;
use crate::index::{Entry, Index, Kind, PathBytes, path};
use crate::{Digest, Result, Store, View};

impl Store {
    /// Writes the filesystem of `view` into the new directory at `place`: what is not there is made, nothing is linked
    /// to the store, and files share their blocks with it where the filesystem can do that. Trees are made of layers
    /// that have only a blob. Returns the moment after the last change, for [`Store::commit_whole`].
    ///
    /// # Errors
    ///
    /// [`crate::Error::Missing`] if a layer's bytes are not here; `place` exists already.
    pub fn checkout(&self, view: &View, place: &Path) -> Result<Moment> {
        // What is taken out is not the store's to keep.
        let mut writer = TreeWriter::create(place, Giving { synced: false, ..self.giving() })?;
        let mut entries: Vec<Entry> = Vec::new();
        // The first name of each file, so that the others become links to it.
        let mut first: HashMap<(Digest, &[u8]), PathBytes> = HashMap::new();
        for located in view.walk(b"") {
            let mut entry = located.entry.clone();
            if let Kind::Directory { opaque } = &mut entry.kind {
                *opaque = false;
            }
            let Some(inode) = view.inode(located) else { continue };
            if !matches!(inode.entry.kind, Kind::File { .. }) {
                if !entry.kind.is_directory() {
                    entry = Entry { path: entry.path, ..inode.entry.clone() };
                }
                writer.place(&entry)?;
                entries.push(entry);
                continue;
            }
            let key = (inode.diff_id, inode.entry.path.as_slice());
            if let Some(target) = first.get(&key) {
                entry.kind = Kind::Hardlink { target: target.clone() };
                writer.place(&entry)?;
            } else {
                first.insert(key, entry.path.clone());
                entry = Entry { path: entry.path, ..inode.entry.clone() };
                self.copy_out(&mut writer, &entry, &inode.diff_id, &inode.entry.path)?;
            }
            entries.push(entry);
        }
        let owners = writer.finish(&Index::new(entries))?;
        if !owners.is_empty()
            && let Some(custodian) = self.custodian()
        {
            custodian.own(place, &owners).context("give owners to", place)?;
        }
        self.moment()
    }

    fn copy_out(&self, writer: &mut TreeWriter, entry: &Entry, diff_id: &Digest, from: &[u8]) -> Result<()> {
        let Kind::File { size, .. } = entry.kind else { return Ok(()) };
        let mut file = File::from(writer.file(entry)?);
        if size > 0 {
            if !self.has_tar(diff_id) {
                self.tree(diff_id)?;
            }
            let copied = if self.has_tree(diff_id) {
                let tree = self.open_tree(diff_id)?;
                let source = self.open_in_tree(diff_id, &tree, from)?;
                if rustix::fs::ioctl_ficlone(&file, &source).is_ok() {
                    Ok(size)
                } else {
                    io::copy(&mut &source, &mut file)
                }
            } else {
                let source = self.open_file(diff_id, from)?;
                io::copy(&mut source.take(size), &mut file)
            };
            if copied.context("copy", path::printable(from))? != size {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof))
                    .context("copy", path::printable(from));
            }
            file.flush().context("write", path::printable(from))?;
        }
        writer.finish_file(entry, &OwnedFd::from(file))
    }

    /// Now, by the clock of the store's filesystem: what is changed from here on has this change time or a later one.
    pub fn moment(&self) -> Result<Moment> {
        let file = self.unnamed()?;
        let found = file.file().metadata().context("stat", self.root())?;
        Ok(Moment { seconds: found.ctime(), nanoseconds: found.ctime_nsec() as u32 })
    }
}

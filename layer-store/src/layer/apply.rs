//! A tar from outside becomes an index and, if that is wanted, a tree or a tar, in one pass.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::compress::{KnownBlob, Origin};
use super::pipeline::{self, Chunks};
use super::tar::{Member, Reader};
use super::tree::{FileWriter, Giving, TreeWriter};
use super::{Form, Limits, TarLimits, decompress};
use crate::error::IoContext as _;
use crate::index::{Builder, Change, Entry, Kind, Seen, TarFacts, path};
use crate::store::Ownership;
use crate::store::writing::Sync;
use crate::{Descriptor, Digest, Error, Index, Result, Store};

impl Store {
    /// Reads a layer's blob once, as it comes, whatever its compression: checks that it inflates to `diff_id`, and
    /// leaves the index and the form that is wanted. Single flight across processes; if the layer is here in that form,
    /// nothing is read. Memory: some 8 MiB and the index, however large the layer is. Whether the blob was read, and so
    /// is known to hold the layer.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] for another layer's bytes, [`Error::Entry`] and [`Error::Malformed`] for a tar that
    /// is hostile or damaged. Nothing stays of it then.
    pub fn apply(&self, blob: &mut dyn Read, diff_id: &Digest, form: Form) -> Result<bool> {
        self.apply_within(blob, diff_id, form, Limits::default(), TarLimits::default())
    }

    /// [`Store::apply`] with other limits.
    pub fn apply_within(
        &self,
        blob: &mut dyn Read,
        diff_id: &Digest,
        form: Form,
        inflated: Limits,
        entries: TarLimits,
    ) -> Result<bool> {
        if self.has_form(diff_id, form)? {
            return Ok(false);
        }
        let _lock = self.lock("layer", diff_id)?;
        if self.has_form(diff_id, form)? {
            return Ok(false);
        }
        self.apply_locked(blob, diff_id, form, inflated, entries)?;
        Ok(true)
    }

    /// Takes a blob of this store as the layer's: what [`Store::apply`] does, and the blob is remembered. Where the layer
    /// is here already the blob is read all the same, unless that was done before.
    ///
    /// # Errors
    ///
    /// As [`Store::apply`]. The blob is not remembered then.
    pub fn take_blob(&self, diff_id: &Digest, blob: &Descriptor, form: Form) -> Result<()> {
        let read = self.apply(&mut self.open_blob(&blob.digest)?, diff_id, form)?;
        let checked =
            |known: &KnownBlob| known.descriptor.digest == blob.digest && known.made_by != Origin::Claimed;
        if !read && !self.blob_records(diff_id)?.iter().any(checked) {
            let path = self.blob_path(&blob.digest);
            let mut bytes =
                decompress(self.open_blob(&blob.digest)?, Limits::default()).context("read", path)?;
            let (actual, ()) =
                pipeline::hashing(None, None, |stream| stream.put_all(&mut bytes).context("read", "layer"))?;
            if actual != *diff_id {
                return Err(Error::DigestMismatch { what: "layer", expected: *diff_id, actual });
            }
        }
        self.remember_blob(diff_id, blob)
    }

    /// Whether nothing is to be done for the layer to be here in `form`.
    fn has_form(&self, diff_id: &Digest, form: Form) -> Result<bool> {
        let has = match form {
            Form::Tree => self.has_tree(diff_id),
            Form::Tar => self.has_tar(diff_id),
            Form::Index => true,
        };
        Ok(has && self.find_index(diff_id)?.is_some())
    }

    pub(crate) fn apply_locked(
        &self,
        blob: &mut dyn Read,
        diff_id: &Digest,
        form: Form,
        inflated: Limits,
        entries: TarLimits,
    ) -> Result<()> {
        let scratch = (form == Form::Tree).then(|| self.scratch()).transpose()?;
        let tree = scratch.as_ref().map(|scratch| scratch.path().join("tree"));
        let giving = self.giving();
        let mut tar = (form == Form::Tar).then(|| self.unnamed()).transpose()?;
        let mut source = decompress(blob, inflated).context("read", "layer")?;
        let applied = {
            let mut copied;
            let source: &mut dyn Read = match &tar {
                Some(tar) => {
                    copied = Copied { source: &mut source, copy: tar.file() };
                    &mut copied
                }
                None => &mut source,
            };
            pipeline::through(source, |chunks| consume(chunks, entries, tree.as_deref(), giving))
        };
        let (actual, Applied { index, owners }) = applied?;
        if actual != *diff_id {
            return Err(Error::DigestMismatch { what: "layer", expected: *diff_id, actual });
        }
        if let Some(tree) = &tree {
            self.keep_tree(diff_id, tree, &owners)?;
        }
        self.make_layer_dir(diff_id)?;
        if let Some(tar) = tar.take() {
            tar.name(&self.tar_path(diff_id), 0o644, Sync::Whole, self.durability())?;
        }
        if self.find_index(diff_id).ok().flatten().is_none() {
            self.keep_index(diff_id, index)?;
        }
        Ok(())
    }
}

/// Writes down what is read.
struct Copied<'a> {
    source: &'a mut dyn Read,
    copy: &'a File,
}

impl Read for Copied<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.copy.write_all(&buffer[..count])?;
        Ok(count)
    }
}

struct Applied {
    index: Index,
    owners: Vec<Ownership>,
}

fn consume(chunks: Chunks, limits: TarLimits, tree: Option<&Path>, giving: Giving) -> Result<Applied> {
    let mut reader = Reader::new(chunks, limits);
    let mut builder = Builder::new();
    let mut tree = tree.map(|place| TreeWriter::create(place, giving)).transpose()?;
    while let Some(member) = reader.next()? {
        match member {
            Member::Nothing => {}
            Member::Opaque(path) => builder.set_opaque(&path)?,
            Member::Entry { entry, extents, .. } => {
                // The builder refuses what the tree must not see.
                if builder.insert(entry.clone())? == Change::Marked {
                    continue;
                }
                if let Kind::File { size, .. } = entry.kind {
                    // The bytes of a sparse file are not those that pass here.
                    let mut seen = extents.is_none().then(|| Seen::new(&entry.path, size));
                    let file = tree.as_mut().map(|tree| tree.file(&entry)).transpose()?;
                    let file = file.map(|file| FileWriter::new(file, extents.as_deref()));
                    let file = copy(&mut reader, &entry, file, seen.as_mut())?;
                    if let (Some(tree), Some(file)) = (&mut tree, file) {
                        let file = file.finish(size).context("write", shown(&entry))?;
                        tree.finish_file(&entry, &file)?;
                    }
                    if let Some(seen) = seen {
                        builder.set_bytes(&entry.path, seen);
                    }
                } else if let Some(tree) = &mut tree {
                    tree.place(&entry)?;
                }
                if let Some(extents) = extents {
                    builder.set_extents(&entry.path, extents);
                }
            }
        }
    }
    let size = reader.finish()?;
    let index = builder.finish(TarFacts { size, canonical: false });
    let owners = tree.map(|tree| tree.finish(&index)).transpose()?.unwrap_or_default();
    Ok(Applied { index, owners })
}

/// Takes the data of `entry` from the tar.
fn copy<'a>(
    reader: &mut Reader<Chunks>,
    entry: &Entry,
    mut file: Option<FileWriter<'a>>,
    mut seen: Option<&mut Seen>,
) -> Result<Option<FileWriter<'a>>> {
    loop {
        let bytes = reader.fill()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(file);
        }
        if let Some(file) = &mut file {
            file.write(bytes).context("write", shown(entry))?;
        }
        if let Some(seen) = &mut seen {
            seen.update(bytes);
        }
        reader.consume(count);
    }
}

fn shown(entry: &Entry) -> PathBuf {
    PathBuf::from(path::printable(&entry.path))
}

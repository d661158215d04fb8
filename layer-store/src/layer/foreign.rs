//! Archives that are no layers: what ADD unpacks.

use std::io::BufRead;

use super::TarLimits;
use super::tar::{Member, Reader};
use crate::index::Extent;
use crate::{Entry, Result};

/// Reads a tar that is no layer: a name that begins with `.wh.` means nothing in it. As strict as the reader of layers
/// otherwise, since what two tools read differently is how one is deceived.
pub struct ArchiveReader<R> {
    reader: Reader<R>,
}

/// An entry of an archive. Of a file the offset is where its data begins in the tar, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// What it is; the path is clean, and the root is the empty path.
    pub entry: Entry,
    /// Of a sparse file: where its parts are. What none covers is zero.
    pub extents: Option<Vec<Extent>>,
}

impl<R: BufRead> ArchiveReader<R> {
    /// Reads the uncompressed tar that `input` gives.
    pub fn new(input: R, limits: TarLimits) -> Self {
        Self { reader: Reader::new(input, limits).literal() }
    }

    /// The next entry, `None` at the end of the tar (which need not be the end of the input). All data of the entries
    /// before have been taken from the input then.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Entry`] for an entry that is hostile or damaged, [`crate::Error::Malformed`] for what is no tar.
    pub fn next_entry(&mut self) -> Result<Option<ArchiveEntry>> {
        loop {
            match self.reader.next()? {
                None => return Ok(None),
                Some(Member::Entry { entry, extents, .. }) => {
                    return Ok(Some(ArchiveEntry { entry, extents }));
                }
                Some(Member::Opaque(_) | Member::Nothing) => {}
            }
        }
    }
}

//! Comparing what a directory holds with what the view below has.

use std::collections::HashMap;
use std::io::{self, Read};

use rustix::fs::{OFlags, Stat};

use super::{Diff, walk};
use crate::Result;
use crate::error::IoContext as _;
use crate::index::{Entry, Kind, path};
use crate::view::Located;

impl Diff<'_, '_, '_> {
    /// Whether `below` is of the same kind, with the same target, device or length.
    pub(super) fn is_same_kind(&self, kind: &Kind, below: Located<'_>) -> bool {
        let Some(other) = self.below.inode(below).map(|inode| &inode.entry.kind) else { return false };
        match (kind, other) {
            (Kind::Directory { .. }, Kind::Directory { .. }) => true,
            (Kind::File { size, .. }, Kind::File { size: other, .. }) => size == other,
            (kind, other) => kind == other,
        }
    }

    /// Whether an entry whose metadata is as below has the bytes and the names of what is below, too.
    pub(super) fn has_same_bytes(&mut self, entry: &Entry, stat: &Stat) -> Result<bool> {
        let Kind::File { size, .. } = entry.kind else { return Ok(true) };
        let Some(content) = self.below.lookup(&entry.path).and_then(|located| self.below.content(located))
        else {
            return Ok(false);
        };
        let links = self.links_below.get_or_insert_with(|| {
            let mut links = HashMap::new();
            for located in self.below.walk(b"") {
                if matches!(located.entry.kind, Kind::Hardlink { .. })
                    && let Some(content) = self.below.content(located)
                {
                    *links.entry((content.diff_id, content.entry.path.as_slice())).or_default() += 1;
                }
            }
            links
        });
        let links = links.get(&(content.diff_id, content.entry.path.as_slice())).copied().unwrap_or(0);
        let itself =
            self.below.lookup(&content.entry.path).is_some_and(|found| found.diff_id == content.diff_id);
        // A file with more names than below is linked anew, which its entry says. One with fewer lost a name, which a
        // whiteout says, or is the only one of several that came into an upper directory.
        #[allow(clippy::unnecessary_cast, reason = "narrower on other architectures")]
        let names = stat.st_nlink as u64;
        if names > links + u64::from(itself) {
            return Ok(false);
        }
        if self.since.is_some_and(|since| walk::changed_at(stat) < since) || size == 0 {
            return Ok(true);
        }
        let other = match self.store.open_file(&content.diff_id, &content.entry.path) {
            Ok(other) => other,
            // Without the bytes below it counts as changed, as it does where somebody wrote it.
            Err(crate::Error::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let own = self.open(&entry.path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        are_equal(own, other).context("compare", path::printable(&entry.path))
    }
}

/// Whether two readers give the same bytes.
fn are_equal(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = read_full(&mut one, &mut left)?;
        if count != read_full(&mut other, &mut right)? || left[..count] != right[..count] {
            return Ok(false);
        }
        if count < left.len() {
            return Ok(true);
        }
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

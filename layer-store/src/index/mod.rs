//! The index of a layer: every entry, sorted by path, with where its bytes are.

use std::collections::BTreeMap;

mod build;
mod codec;
pub mod path;

pub use build::{Builder, Change};
pub use path::PathBytes;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBytes,
    /// What it is.
    pub kind: Kind,
    /// Permission, setuid, setgid and sticky bits (`0o7777`).
    pub mode: u32,
    /// Numeric owner, as a process in the image sees it.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`, `user.x`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory. An opaque one hides all that lower layers have at its path.
    Directory {
        /// Whether it hides what is below.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// Where its first byte is in the uncompressed tar of the layer. Of a sparse file: where its stored bytes
        /// begin, see [`Index::extents`].
        offset: u64,
    },
    /// Another name of the regular file at `target`, which is in the same layer (canonical layers) or below.
    Hardlink {
        /// The other name.
        target: PathBytes,
    },
    /// A symbolic link.
    Symlink {
        /// Its text, as it is.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// Nothing is here any more, whatever lower layers have.
    Whiteout,
}

impl Kind {
    /// Whether this is a directory, opaque or not.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// Whether an entry of this kind shows nothing of what lower layers have at its path and below it.
    #[must_use]
    pub const fn hides_below(&self) -> bool {
        !matches!(self, Self::Directory { opaque: false })
    }
}

impl Entry {
    /// A directory that entries below it imply: mode 0755, owner 0:0, time 0.
    pub(crate) const fn implied_directory(path: PathBytes) -> Self {
        Self {
            path,
            kind: Kind::Directory { opaque: false },
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        }
    }
}

/// A stored part of a sparse file. What no extent covers is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it is in the file.
    pub position: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Where its first byte is in the uncompressed tar of the layer.
    pub offset: u64,
}

/// All entries of one layer in path order (see [`path::order`]), no path twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
    /// Directories that have something below them but no entry of their own, in path order. Hand-made layers leave
    /// parents out; the root is hardly ever listed.
    implied: Vec<Entry>,
    /// For each entry the CRC-32 of its bytes; 0 where it has none or nobody knows.
    sums: Vec<u32>,
    sparse: BTreeMap<PathBytes, Vec<Extent>>,
    inline: BTreeMap<PathBytes, Vec<u8>>,
    tar: TarFacts,
}

/// What is known of the bytes of a layer that is written.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// For each entry so far, see [`Index::checksum`]; may be shorter.
    sums: Vec<u32>,
    inline: Vec<(PathBytes, Vec<u8>)>,
}

impl Known {
    /// Takes what is known of the entry with the number `at`; numbers rise.
    pub(crate) fn take(&mut self, at: usize, path: &[u8], bytes: Seen) {
        self.sums.resize(at, 0);
        self.sums.push(bytes.crc.finalize());
        self.inline.extend(bytes.inline.map(|inline| (path.to_vec(), inline)));
    }
}

/// What an index keeps of a file's bytes, while they pass.
pub(crate) struct Seen {
    crc: crc32fast::Hasher,
    inline: Option<Vec<u8>>,
}

impl Seen {
    /// Of the file at `path`, of `size` bytes.
    pub(crate) fn new(path: &[u8], size: u64) -> Self {
        Self { crc: crc32fast::Hasher::new(), inline: Builder::wants_inline(path, size).then(Vec::new) }
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        if let Some(inline) = &mut self.inline {
            inline.extend_from_slice(bytes);
        }
    }

    /// The sum of all bytes.
    pub(crate) fn checksum(&self) -> u32 {
        self.crc.clone().finalize()
    }
}

/// What is known of the tar that an index describes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TarFacts {
    /// Its length in bytes.
    pub size: u64,
    /// Whether it is byte for byte what the canonical writer makes of the entries, so that a tree can give it again.
    pub canonical: bool,
}

impl Index {
    /// An index of `entries`, which are sorted here; of two with one path the later wins.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>) -> Self {
        // Stable, so that the later of two stays the later.
        entries.sort_by(|a, b| path::order(&a.path, &b.path));
        entries.reverse();
        entries.dedup_by(|later, kept| later.path == kept.path);
        entries.reverse();
        let implied = implied_by(&entries);
        let sums = vec![0; entries.len()];
        Self { entries, implied, sums, ..Self::default() }
    }

    /// The index of a canonical tar, from its entries in their order and what is known of their bytes.
    pub(crate) fn canonical(entries: Vec<Entry>, known: Known, size: u64) -> Self {
        let implied = implied_by(&entries);
        let Known { mut sums, inline } = known;
        sums.resize(entries.len(), 0);
        let tar = TarFacts { size, canonical: true };
        Self { entries, implied, sums, sparse: BTreeMap::new(), inline: inline.into_iter().collect(), tar }
    }

    /// The same, with what is known of the bytes of regular files.
    pub(crate) fn with_checksums(mut self, checksum: impl Fn(&Entry) -> Option<u32>) -> Self {
        for (entry, sum) in self.entries.iter().zip(&mut self.sums) {
            if matches!(entry.kind, Kind::File { .. }) {
                *sum = checksum(entry).unwrap_or(0);
            }
        }
        self
    }

    /// All entries in path order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `path`. Costs a binary search.
    #[must_use]
    pub fn entry(&self, path: &[u8]) -> Option<&Entry> {
        find(&self.entries, path).ok().map(|at| &self.entries[at])
    }

    /// The entry at `path`, or the directory that entries below it imply there.
    pub(crate) fn entry_or_implied(&self, path: &[u8]) -> Option<(&Entry, Presence)> {
        if let Some(entry) = self.entry(path) {
            return Some((entry, Presence::Listed));
        }
        find(&self.implied, path).ok().map(|at| (&self.implied[at], Presence::Implied))
    }

    /// The directories that have something below them but no entry of their own, in path order.
    pub(crate) fn implied(&self) -> &[Entry] {
        &self.implied
    }

    /// The stored parts of a sparse file, in order of position; `None` for all that is not sparse.
    #[must_use]
    pub fn extents(&self, path: &[u8]) -> Option<&[Extent]> {
        self.sparse.get(path).map(Vec::as_slice)
    }

    /// The CRC-32 of the bytes of the regular file at `path`, so that a file that the disk changed is noticed when it is
    /// read. `None` for what has no bytes, sparse files, and one file in four thousand million.
    #[must_use]
    pub fn checksum(&self, path: &[u8]) -> Option<u32> {
        let at = find(&self.entries, path).ok()?;
        Some(self.sums[at]).filter(|sum| *sum != 0)
    }

    /// The bytes of a small regular file that the index keeps itself, so that looking up a user inflates no blob.
    #[must_use]
    pub fn inline(&self, path: &[u8]) -> Option<&[u8]> {
        self.inline.get(path).map(Vec::as_slice)
    }

    /// What is known of the tar.
    #[must_use]
    pub const fn tar(&self) -> TarFacts {
        self.tar
    }

    /// The sum of the sizes of all regular files, in bytes: what the layer adds to an image.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| match entry.kind {
            Kind::File { size, .. } => u64::saturating_add(sum, size),
            _ => sum,
        })
    }
}

/// Whether a path of an index has an entry of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Listed,
    Implied,
}

/// Where `path` is in sorted `entries`, or where it would be.
pub(crate) fn find(entries: &[Entry], path: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|entry| path::order(&entry.path, path))
}

/// The part of sorted `entries` that is at or below `path`.
pub(crate) fn subtree<'a>(entries: &'a [Entry], path: &[u8]) -> &'a [Entry] {
    let start = find(entries, path).unwrap_or_else(|at| at);
    let rest = &entries[start..];
    &rest[..rest.partition_point(|entry| path::is_within(&entry.path, path))]
}

/// The missing parents of sorted `entries`, in path order; the root always, unless it is listed.
fn implied_by(entries: &[Entry]) -> Vec<Entry> {
    let mut implied = Vec::new();
    if entries.first().is_none_or(|entry| !entry.path.is_empty()) {
        implied.push(Entry::implied_directory(PathBytes::new()));
    }
    let mut previous: &[u8] = b"";
    for entry in entries {
        for ancestor in path::ancestors(&entry.path) {
            // In path order all that shares an ancestor is one run, so an ancestor is new only where the run begins.
            let known = ancestor.is_empty() || path::is_within(previous, ancestor);
            if !known {
                implied.push(Entry::implied_directory(ancestor.to_vec()));
            }
        }
        previous = &entry.path;
    }
    implied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, offset: u64) -> Entry {
        Entry {
            kind: Kind::File { size: 1, offset },
            mode: 0o644,
            ..Entry::implied_directory(path.as_bytes().to_vec())
        }
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| std::str::from_utf8(&entry.path).unwrap()).collect()
    }

    #[test]
    fn sorts_by_component_and_the_later_wins() {
        let index =
            Index::new(vec![file("a/b", 1), file("a-b", 2), file("a", 3), file("a/b", 4), file("a/b/c", 5)]);
        assert_eq!(names(index.entries()), ["a", "a/b", "a/b/c", "a-b"]);
        assert_eq!(index.entry(b"a/b").unwrap().kind, Kind::File { size: 1, offset: 4 });
        assert_eq!(index.entry(b"a/c"), None);
        assert_eq!(names(subtree(index.entries(), b"a")), ["a", "a/b", "a/b/c"]);
        assert_eq!(names(subtree(index.entries(), b"")), ["a", "a/b", "a/b/c", "a-b"]);
    }

    #[test]
    fn knows_the_parents_that_are_missing() {
        let index = Index::new(vec![file("a/b/c", 1), file("a/b/d", 1), file("a/e/f", 1), file("g", 1)]);
        assert_eq!(names(index.implied()), ["", "a", "a/b", "a/e"]);
        assert_eq!(index.entry_or_implied(b"a/b").unwrap().1, Presence::Implied);
        assert_eq!(index.entry_or_implied(b"g").unwrap().1, Presence::Listed);
        assert!(index.entry_or_implied(b"a/x").is_none());
        let index = Index::new(vec![Entry::implied_directory(Vec::new())]);
        assert!(index.implied().is_empty());
    }
}

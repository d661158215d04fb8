//! The index of a layer: every entry, sorted by path, with where its bytes are.

use std::collections::BTreeMap;

/// A path inside an image: relative to its root, `/`-separated, without `.` and `..`, without a leading or trailing
/// slash. The root itself is the empty path.
pub type PathBytes = Vec<u8>;

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
        /// Where its first byte is in the uncompressed tar of the layer.
        offset: u64,
    },
    /// Another name of the file at `target`, which is in the same layer (canonical layers) or below.
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

/// All entries of one layer, sorted bytewise by path, no path twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// An index of `entries`, which are sorted here; of two with one path the later wins.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut map = BTreeMap::new();
        for entry in entries {
            map.insert(entry.path.clone(), entry);
        }
        Self { entries: map.into_values().collect() }
    }

    /// All entries in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `path`. Costs a binary search.
    #[must_use]
    pub fn entry(&self, path: &[u8]) -> Option<&Entry> {
        self.entries
            .binary_search_by(|entry| entry.path.as_slice().cmp(path))
            .ok()
            .map(|at| &self.entries[at])
    }
}

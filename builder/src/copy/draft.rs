//! A destination while an instruction changes it: the view below, with what is new and what is gone.
//!
//! BuildKit copies into a mounted snapshot and takes the difference afterwards. The operations here are those that it
//! uses there (`lstat`, `mkdir`, `link`, …), and [`Draft::entries`] is the difference.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use layer_store::layer::{FileSource, NewEntry, NewKind};
use layer_store::{Entry, Kind, View};

use super::CopyError;
use super::path::{self, Dots, PathBytes, Peek, Unresolved};
use super::tree::Xattrs;

/// The mode bit of a directory whose entries take over its group.
pub(crate) const SET_GROUP_ID: u32 = 0o2000;

/// What a name of the draft leads to. Hard links share one.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) body: InodeBody,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// `None`: it has none of its own; see [`super::Request::mtime`].
    pub(crate) mtime: Option<i64>,
    pub(crate) xattrs: Xattrs,
}

#[derive(Debug, Clone)]
pub(crate) enum InodeBody {
    /// A directory. A fresh one shows nothing of what is at its path below.
    Directory {
        fresh: bool,
    },
    File {
        size: u64,
        source: FileSource,
    },
    Symlink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What is at a path, as far as a decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Directory,
    Symlink,
    Other,
}

/// A view with changes. All paths are clean and, unless said otherwise, lead over no symlink.
pub(crate) struct Draft<'v> {
    view: &'v View,
    /// Inodes by name. Nothing is ever taken away without something put in its place.
    slots: BTreeMap<PathBytes, usize>,
    inodes: Vec<Inode>,
}

impl<'v> Draft<'v> {
    pub(crate) fn new(view: &'v View) -> Self {
        Self { view, slots: BTreeMap::new(), inodes: Vec::new() }
    }

    /// What is at the path itself.
    pub(crate) fn find(&self, path: &[u8]) -> Option<Found> {
        if path.is_empty() {
            return Some(Found::Directory);
        }
        match self.slots.get(path) {
            Some(inode) => Some(match self.inodes[*inode].body {
                InodeBody::Directory { .. } => Found::Directory,
                InodeBody::Symlink(_) => Found::Symlink,
                _ => Found::Other,
            }),
            None => Some(match self.below(path)?.kind {
                Kind::Directory { .. } => Found::Directory,
                Kind::Symlink { .. } => Found::Symlink,
                _ => Found::Other,
            }),
        }
    }

    pub(crate) fn is_dir(&self, path: &[u8]) -> bool {
        self.find(path) == Some(Found::Directory)
    }

    /// The group of a directory whose entries take it over; `None` for a directory without the bit.
    pub(crate) fn set_group_id(&self, path: &[u8]) -> Option<u32> {
        let (mode, gid) = match self.slots.get(path) {
            Some(inode) => (self.inodes[*inode].mode, self.inodes[*inode].gid),
            None if path.is_empty() => {
                let root = root_inode(self.view);
                (root.mode, root.gid)
            }
            None => self.below(path).map(|entry| (entry.mode, entry.gid))?,
        };
        (mode & SET_GROUP_ID != 0).then_some(gid)
    }

    /// Follows `path` inside `root`, the last part too.
    pub(crate) fn resolve(&self, root: &[u8], path: &[u8], dots: Dots) -> Result<PathBytes, Unresolved> {
        path::resolve(root, path, true, dots, |path| Ok(self.peek(path)))
    }

    /// Follows all but the last part of `path`.
    pub(crate) fn resolve_parent(
        &self,
        root: &[u8],
        path: &[u8],
        dots: Dots,
    ) -> Result<PathBytes, Unresolved> {
        path::resolve(root, path, false, dots, |path| Ok(self.peek(path)))
    }

    fn peek(&self, path: &[u8]) -> Peek<'_> {
        if path.is_empty() {
            return Peek::Directory;
        }
        match self.slots.get(path) {
            Some(inode) => match &self.inodes[*inode].body {
                InodeBody::Directory { .. } => Peek::Directory,
                InodeBody::Symlink(target) => Peek::Symlink(Cow::Borrowed(target)),
                _ => Peek::Other,
            },
            None => match self.below(path).map(|entry| &entry.kind) {
                None => Peek::Missing,
                Some(Kind::Directory { .. }) => Peek::Directory,
                Some(Kind::Symlink { target }) => Peek::Symlink(Cow::Borrowed(target)),
                Some(_) => Peek::Other,
            },
        }
    }

    /// The entry of the view that shows at `path`, if nothing of the draft is above it.
    fn below(&self, path: &[u8]) -> Option<&'v Entry> {
        if self.is_covered(path) {
            return None;
        }
        self.view.lookup(path).map(|located| located.entry)
    }

    /// Whether something of the draft above `path` hides what the view has there.
    fn is_covered(&self, path: &[u8]) -> bool {
        for ancestor in path::ancestors(path) {
            match self.slots.get(ancestor) {
                None => {}
                // A directory of the view that only got new metadata is itself not covered.
                Some(inode) => {
                    return !matches!(self.inodes[*inode].body, InodeBody::Directory { fresh: false });
                }
            }
        }
        false
    }

    /// Makes `path` what `inode` says. Whatever was there is gone, with all that was in it.
    pub(crate) fn put(&mut self, path: &[u8], inode: Inode) -> usize {
        self.forget_below(path);
        self.inodes.push(inode);
        let at = self.inodes.len() - 1;
        self.slots.insert(path.to_vec(), at);
        at
    }

    /// Gives an inode one more name.
    pub(crate) fn link(&mut self, path: &[u8], inode: usize) {
        self.forget_below(path);
        self.slots.insert(path.to_vec(), inode);
    }

    fn forget_below(&mut self, path: &[u8]) {
        let mut from = path.to_vec();
        from.push(b'/');
        let inside: Vec<PathBytes> = self
            .slots
            .range::<[u8], _>((Bound::Included(from.as_slice()), Bound::Unbounded))
            .map(|(slot, _)| slot)
            .take_while(|slot| slot.starts_with(&from))
            .cloned()
            .collect();
        for slot in inside {
            self.slots.remove(&slot);
        }
    }

    /// The inode at `path`, taken over from the view if it is not new. `None` if nothing is there, or something
    /// whose bytes cannot be found.
    pub(crate) fn open(&mut self, path: &[u8]) -> Option<usize> {
        if let Some(inode) = self.slots.get(path) {
            return Some(*inode);
        }
        let inode = if path.is_empty() { root_inode(self.view) } else { self.taken_over(path)? };
        self.inodes.push(inode);
        let at = self.inodes.len() - 1;
        self.slots.insert(path.to_vec(), at);
        Some(at)
    }

    fn taken_over(&self, path: &[u8]) -> Option<Inode> {
        if self.is_covered(path) {
            return None;
        }
        let located = self.view.lookup(path)?;
        let entry = located.entry;
        let body = match &entry.kind {
            Kind::Directory { .. } => InodeBody::Directory { fresh: false },
            Kind::Symlink { target } => InodeBody::Symlink(target.clone()),
            Kind::CharDevice { major, minor } => InodeBody::CharDevice(*major, *minor),
            Kind::BlockDevice { major, minor } => InodeBody::BlockDevice(*major, *minor),
            Kind::Fifo => InodeBody::Fifo,
            Kind::Whiteout => return None,
            Kind::File { .. } | Kind::Hardlink { .. } => {
                let content = self.view.content(located)?;
                let Kind::File { size, .. } = content.entry.kind else { return None };
                let source = FileSource::Layer { diff_id: content.diff_id, path: content.entry.path.clone() };
                InodeBody::File { size, source }
            }
        };
        Some(Inode {
            body,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: Some(entry.mtime),
            xattrs: entry.xattrs.clone(),
        })
    }

    pub(crate) fn inode_mut(&mut self, inode: usize) -> &mut Inode {
        &mut self.inodes[inode]
    }

    /// The difference to the view: what is new or gone, and the directories on the way as they are, so that the
    /// layer stands alone. What has no time gets `made`, or the newest time of the layer's files, or 0.
    pub(crate) fn entries(self, made: Option<i64>) -> Result<Vec<NewEntry>, CopyError> {
        let newest = || self.slots.values().filter_map(|inode| self.inodes[*inode].mtime).max().unwrap_or(0);
        let made = made.unwrap_or_else(newest);
        let mut entries: BTreeMap<&[u8], NewEntry> = BTreeMap::new();
        let mut names: Vec<Option<&[u8]>> = vec![None; self.inodes.len()];
        for (path, at) in &self.slots {
            if path.is_empty() {
                continue;
            }
            if path::name(path).starts_with(b".wh.") {
                return Err(CopyError::Destination {
                    path: path::display(path),
                    reason: "a layer cannot hold a name that begins with `.wh.`: it would delete another file",
                });
            }
            let inode = &self.inodes[*at];
            let kind = match names[*at] {
                Some(target) if matches!(inode.body, InodeBody::File { .. }) => {
                    NewKind::Hardlink { target: target.to_vec() }
                }
                _ => self.kind(path, &inode.body),
            };
            names[*at].get_or_insert(path);
            let entry = NewEntry {
                path: path.clone(),
                kind,
                mode: inode.mode,
                uid: inode.uid,
                gid: inode.gid,
                mtime: inode.mtime.unwrap_or(made),
                xattrs: inode.xattrs.clone(),
            };
            entries.insert(path, entry);
            for ancestor in path::ancestors(path) {
                if self.slots.contains_key(ancestor) || entries.contains_key(ancestor) {
                    break;
                }
                if let Some(located) = self.view.lookup(ancestor) {
                    entries.insert(ancestor, as_it_is(located.entry));
                }
            }
        }
        Ok(entries.into_values().collect())
    }

    fn kind(&self, path: &[u8], body: &InodeBody) -> NewKind {
        match body {
            InodeBody::Directory { fresh } => {
                let hides =
                    || self.below(path).is_some_and(|entry| matches!(entry.kind, Kind::Directory { .. }));
                NewKind::Directory { opaque: *fresh && hides() }
            }
            InodeBody::File { size, source } => NewKind::File { size: *size, source: source.clone() },
            InodeBody::Symlink(target) => NewKind::Symlink { target: target.clone() },
            InodeBody::CharDevice(major, minor) => NewKind::CharDevice { major: *major, minor: *minor },
            InodeBody::BlockDevice(major, minor) => NewKind::BlockDevice { major: *major, minor: *minor },
            InodeBody::Fifo => NewKind::Fifo,
        }
    }
}

fn root_inode(view: &View) -> Inode {
    let entry = view.lookup(b"").map(|located| located.entry);
    Inode {
        body: InodeBody::Directory { fresh: false },
        mode: entry.map_or(0o755, |entry| entry.mode),
        uid: entry.map_or(0, |entry| entry.uid),
        gid: entry.map_or(0, |entry| entry.gid),
        mtime: entry.map(|entry| entry.mtime),
        xattrs: Xattrs::new(),
    }
}

/// A directory of the view, to be repeated in the layer.
fn as_it_is(entry: &Entry) -> NewEntry {
    NewEntry {
        path: entry.path.clone(),
        kind: NewKind::Directory { opaque: false },
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs: entry.xattrs.clone(),
    }
}

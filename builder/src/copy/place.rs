//! Copying what is selected into a destination.

use std::collections::HashMap;

use layer_store::layer::NewEntry;
use layer_store::{Store, View};

use super::draft::{Draft, Found, Inode, InodeBody, SET_GROUP_ID};
use super::path::{self, Dots, PathBytes, Unresolved};
use super::select::{Match, Part, Picked, Selection};
use super::tree::{Body, Detail, Identity, Node, Xattrs};
use super::{CopyError, ModeChange, Owner, Request, archive};

/// Mode of directories that are made on the way.
const DIRECTORY_MODE: u32 = 0o755;

/// The entries of the layer that copying `selection` to `destination` makes: with the directories on the way, so that
/// the layer stands alone. `store` is where archives are spooled.
///
/// # Errors
///
/// A destination that is in the way (a file where a directory must be, or the reverse); a damaged or hostile archive;
/// a name that a layer cannot hold.
pub fn entries(
    store: &Store,
    selection: &Selection<'_>,
    destination: &View,
    request: &Request,
) -> Result<Vec<NewEntry>, CopyError> {
    let mut draft = Draft::new(destination);
    let target = Target::of(request);
    for part in &selection.parts {
        let mut details = part.details()?;
        for found in &part.matches {
            let (own, rest) = details.split_at(found.picked.len());
            details = rest;
            if part.unpack && archive::unpack(store, part, found, &mut draft, &target, request)? {
                continue;
            }
            Placing { draft: &mut draft, part, found, details: own, request }.place(&target)?;
        }
    }
    draft.entries(request.mtime)
}

/// WORKDIR: the entries that make `path` a directory, with all parents, mode 0755, owned by `owner`. What exists is
/// left as it is; nothing to make is no entry. `mtime` is for what is made, in seconds since the epoch.
///
/// # Errors
///
/// The path, or a part of it, is something else than a directory.
pub fn workdir(
    destination: &View,
    path: &str,
    owner: Option<Owner>,
    mtime: i64,
) -> Result<Vec<NewEntry>, CopyError> {
    let mut draft = Draft::new(destination);
    let path = path::clean(path.as_bytes());
    let resolved = draft.resolve(b"", &path, Dots::AsText).map_err(|why| unresolved(&path, &why))?;
    make_directories(&mut draft, &resolved, DIRECTORY_MODE, owner)?;
    draft.entries(Some(mtime))
}

/// Where a request copies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The destination joined to the working directory and cleaned, symlinks not followed.
    pub(super) path: PathBytes,
    /// Whether it is written as a directory: with a slash or `/.` at the end, empty, or the root.
    pub(super) is_dir: bool,
}

impl Target {
    pub(super) fn of(request: &Request) -> Self {
        let written = request.destination.as_str();
        let path = if written.starts_with('/') {
            path::clean(written.as_bytes())
        } else {
            path::join(request.cwd.as_bytes(), written.as_bytes())
        };
        let is_dir = matches!(written, "" | ".") || written.ends_with('/') || written.ends_with("/.");
        Self { is_dir: is_dir || path.is_empty(), path }
    }
}

/// The mode that `node` gets.
pub(super) fn mode_of(node: &Node, request: &Request) -> u32 {
    match (&node.body, &request.mode) {
        (Body::Symlink(_), _) => 0o777,
        (_, None) => node.mode,
        (body, Some(change)) => change.apply(node.mode, matches!(body, Body::Directory)),
    }
}

pub(super) fn unresolved(path: &[u8], why: &Unresolved) -> CopyError {
    let path = match why {
        Unresolved::NotADirectory(at) => at,
        Unresolved::Loop => path,
    };
    CopyError::Destination { path: path::display(path), reason: why.reason() }
}

/// mkdir -p. `path` leads over no symlink. As from the kernel, what is made in a directory with the set-group-ID bit has
/// that bit too, and its group unless `owner` says another.
pub(super) fn make_directories(
    draft: &mut Draft<'_>,
    path: &[u8],
    mode: u32,
    owner: Option<Owner>,
) -> Result<(), CopyError> {
    let mut missing = Vec::new();
    for path in std::iter::once(path).chain(path::ancestors(path)) {
        match draft.find(path) {
            None => missing.push(path.to_vec()),
            Some(Found::Directory) => break,
            Some(_) => {
                return Err(CopyError::Destination {
                    path: path::display(path),
                    reason: "it exists and is not a directory",
                });
            }
        }
    }
    let shared = missing.last().and_then(|path| draft.set_group_id(path::parent(path)));
    let owner = owner.unwrap_or(Owner { uid: 0, gid: shared.unwrap_or(0) });
    let mode = if shared.is_some() { mode | SET_GROUP_ID } else { mode };
    for path in missing.iter().rev() {
        let inode = Inode {
            body: InodeBody::Directory { fresh: true },
            mode,
            uid: owner.uid,
            gid: owner.gid,
            mtime: None,
            xattrs: Xattrs::new(),
        };
        draft.put(path, inode);
    }
    Ok(())
}

/// One match on its way into the draft.
struct Placing<'p, 'v> {
    draft: &'p mut Draft<'v>,
    part: &'p Part<'p>,
    found: &'p Match,
    details: &'p [Detail],
    request: &'p Request,
}

impl Placing<'_, '_> {
    fn place(mut self, target: &Target) -> Result<(), CopyError> {
        let Some(top) = self.found.picked.first() else { return Ok(()) };
        let top_is_dir = matches!(top.node.body, Body::Directory);
        let destination = self.destination(target, top_is_dir)?;
        if !top_is_dir {
            return self.put_file(&destination, 0, &mut HashMap::new());
        }
        let existed = match self.draft.find(&destination) {
            Some(Found::Directory) => true,
            Some(_) => return Err(in_the_way(&destination)),
            None => {
                self.put_directory(&destination, 0);
                false
            }
        };
        // Identities seen so far, for hard links. They are kept inside one match, as in BuildKit.
        let mut names = HashMap::new();
        for at in 1..self.found.picked.len() {
            let picked = &self.found.picked[at];
            let path = path::join(&destination, &picked.path);
            if matches!(picked.node.body, Body::Directory) {
                self.merge_directory(&path, at, picked)?;
            } else {
                self.put_file(&path, at, &mut names)?;
            }
        }
        // A directory that only took in contents keeps its metadata but for the time, which is the source's.
        let took_in = self.found.picked.len() > 1;
        if existed
            && took_in
            && let Some(mtime) = self.found.picked[0].node.mtime
            && let Some(inode) = self.draft.open(&destination)
        {
            self.draft.inode_mut(inode).mtime = Some(mtime);
        }
        Ok(())
    }

    /// Where the match itself goes, with the directories on the way made.
    fn destination(&mut self, target: &Target, top_is_dir: bool) -> Result<PathBytes, CopyError> {
        let mode = match self.request.mode {
            Some(ModeChange::Octal(mode)) => mode & 0o777,
            _ => DIRECTORY_MODE,
        };
        let owner = self.request.owner;
        let resolve = |draft: &Draft<'_>, path: &[u8]| {
            draft.resolve(b"", path, Dots::AsText).map_err(|why| unresolved(path, &why))
        };
        let ensured = if target.is_dir { target.path.as_slice() } else { path::parent(&target.path) };
        let ensured = resolve(self.draft, ensured)?;
        make_directories(self.draft, &ensured, mode, owner)?;
        let mut destination = resolve(self.draft, &target.path)?;
        let there = self.draft.find(&destination);
        let inside = if top_is_dir {
            there.is_some() && !self.part.contents_only
        } else {
            there == Some(Found::Directory)
        };
        if inside {
            path::push(&mut destination, &self.found.name);
        }
        let ensured = if top_is_dir && self.part.contents_only && there.is_none() {
            destination.as_slice()
        } else {
            path::parent(&destination)
        };
        make_directories(self.draft, ensured, mode, owner)?;
        Ok(destination)
    }

    fn inode(&self, at: usize) -> Inode {
        let picked = &self.found.picked[at];
        let node = &picked.node;
        let body = match &node.body {
            Body::Directory => InodeBody::Directory { fresh: true },
            Body::File { size, .. } => {
                let path = path::join(&self.found.path, &picked.path);
                InodeBody::File { size: *size, source: self.part.tree.file(&path, node) }
            }
            Body::Symlink(target) => InodeBody::Symlink(target.clone()),
            Body::CharDevice(major, minor) => InodeBody::CharDevice(*major, *minor),
            Body::BlockDevice(major, minor) => InodeBody::BlockDevice(*major, *minor),
            Body::Fifo => InodeBody::Fifo,
        };
        let owner = self.owner(node);
        Inode {
            body,
            mode: mode_of(node, self.request),
            uid: owner.uid,
            gid: owner.gid,
            mtime: node.mtime,
            xattrs: self.details[at].xattrs.clone(),
        }
    }

    fn owner(&self, node: &Node) -> Owner {
        self.request.owner.unwrap_or(Owner { uid: node.uid, gid: node.gid })
    }

    fn put_directory(&mut self, path: &[u8], at: usize) {
        let inode = self.inode(at);
        self.draft.put(path, inode);
    }

    fn merge_directory(&mut self, path: &[u8], at: usize, picked: &Picked) -> Result<(), CopyError> {
        match self.draft.find(path) {
            None => self.put_directory(path, at),
            Some(Found::Directory) => {
                let Some(existing) = self.draft.open(path) else { return Ok(()) };
                if picked.implied {
                    // BuildKit changes the mode alone, and not by `--chmod`.
                    self.draft.inode_mut(existing).mode = picked.node.mode;
                    return Ok(());
                }
                let new = self.inode(at);
                let existing = self.draft.inode_mut(existing);
                existing.mode = new.mode;
                existing.uid = new.uid;
                existing.gid = new.gid;
                existing.mtime = new.mtime;
                existing.xattrs.extend(new.xattrs);
            }
            Some(_) => return Err(in_the_way(path)),
        }
        Ok(())
    }

    fn put_file(
        &mut self,
        path: &[u8],
        at: usize,
        names: &mut HashMap<Identity, usize>,
    ) -> Result<(), CopyError> {
        if self.draft.is_dir(path) {
            return Err(CopyError::Destination {
                path: path::display(path),
                reason: "it is a directory, which a file cannot replace",
            });
        }
        match &self.found.picked[at].node.body {
            Body::File { identity, linked: true, .. } => {
                if let Some(inode) = names.get(identity) {
                    self.draft.link(path, *inode);
                } else {
                    let identity = identity.clone();
                    let inode = self.inode(at);
                    let inode = self.draft.put(path, inode);
                    names.insert(identity, inode);
                }
            }
            _ => {
                let inode = self.inode(at);
                self.draft.put(path, inode);
            }
        }
        Ok(())
    }
}

fn in_the_way(path: &[u8]) -> CopyError {
    CopyError::Destination {
        path: path::display(path),
        reason: "a directory cannot be copied over what is not a directory",
    }
}

//! What the keeper does to files for a builder that may not: those of subordinate ids.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::store::{Durability, Ownership, TreeKind};
use layer_store::{Digest, Index, Store, StoreOptions, View};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::emulation::{Below, Foreign, Given};
use super::failure::because;
use super::features::Features;
use super::keeper::Orders;
use super::report::Failure;
use super::resolve::by_descriptor;
use super::wire::{Left, RawPath, Reply, Request};
use super::{copies, diff_id_of};

/// The keeper's hands in the store.
pub(super) struct Files {
    root: PathBuf,
    durability: Durability,
    /// How trees are made: with one id mapped there is no owner to give, and the index keeps them.
    trees: TreeKind,
    store: Option<Store>,
    /// What is not root's in each layer, where a step's first process has to know.
    foreign: Foreign,
}

/// Which request this is, if it is about files.
pub(super) fn id(request: &Request) -> Option<u64> {
    match request {
        Request::Commit { id, .. }
        | Request::Own { id, .. }
        | Request::Remove { id, .. }
        | Request::Open { id, .. }
        | Request::WriteTar { id, .. } => Some(*id),
        Request::Run { .. } | Request::Cancel { .. } | Request::Mapped { .. } => None,
    }
}

impl Files {
    /// Those in `place`, put there when they are first needed.
    pub(super) fn of<'a>(place: &'a mut Option<Self>, orders: &Orders, features: &Features) -> &'a mut Self {
        place.get_or_insert_with(|| Self {
            root: orders.store_root.clone(),
            durability: orders.durability,
            trees: TreeKind { one_id: features.emulates_ids, marks: features.marks },
            store: None,
            foreign: Foreign::new(),
        })
    }

    /// The index of a layer.
    pub(super) fn index(&mut self, layer: &Digest) -> Result<Arc<Index>, Failure> {
        let store = self.opened().ok_or_else(|| because("open(store)", "the store cannot be opened"))?;
        store.index(layer).map_err(|error| because("open(index)", layer_store::error::chain(&error)))
    }

    /// What a step gave, complete: half of an owner, or one of a file that only moved, is that of the layers below.
    pub(super) fn owners(&mut self, lowers: &[PathBuf], given: Vec<Given>) -> Vec<(Vec<u8>, u32, u32)> {
        let complete = given.iter().all(|one| one.uid.is_some() && one.gid.is_some());
        let below = if complete { None } else { self.view(lowers) };
        given
            .into_iter()
            .map(|one| {
                let found = below.as_ref().and_then(|below| below.lookup(&one.origin));
                let (uid, gid) = found.map_or((0, 0), |found| (found.entry.uid, found.entry.gid));
                (one.path, one.uid.unwrap_or(uid), one.gid.unwrap_or(gid))
            })
            .collect()
    }

    /// The owners in the layers below a step, by their indexes.
    pub(super) fn below(&mut self, lowers: &[PathBuf]) -> Below {
        let view = self.view(lowers);
        view.map(|view| Below::new(view, &mut self.foreign)).unwrap_or_default()
    }

    /// The view of layers by their trees' paths.
    fn view(&mut self, trees: &[PathBuf]) -> Option<View> {
        let diff_ids: Vec<_> = trees.iter().filter_map(|tree| diff_id_of(tree)).collect();
        self.opened()?.view(&diff_ids).ok()
    }

    fn options(&self) -> StoreOptions {
        StoreOptions { durability: self.durability, custodian: None, trees: self.trees }
    }

    fn opened(&mut self) -> Option<&Store> {
        if self.store.is_none() {
            let options = self.options();
            self.store = Store::open(&self.root, options).ok();
        }
        self.store.as_ref()
    }

    /// Reads what the work of `request` will need again and again into this process, so that the children that are
    /// forked for it inherit it: the indexes of the layers below.
    pub(super) fn warm(&mut self, request: &Request) {
        let Request::Commit { below, .. } = request else { return };
        if let Some(store) = self.opened() {
            for diff_id in below {
                let _ = store.index(diff_id);
            }
        }
    }

    /// Opens a regular file for the builder.
    pub(super) fn open(&self, id: u64, path: RawPath) -> (Reply, Option<OwnedFd>) {
        let opened = self.below_root(&PathBuf::from(path)).and_then(|(root, path)| {
            // Never a device or a pipe, whatever the step left there.
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = File::from(rustix::fs::openat2(&root, path, flags, Mode::empty(), INSIDE)?);
            if !file.metadata()?.is_file() {
                return Err(std::io::ErrorKind::InvalidInput.into());
            }
            Ok(file)
        });
        match opened {
            Ok(file) => (Reply::Done { id }, Some(file.into())),
            Err(error) => (failed(id, &error), None),
        }
    }

    /// Does what was asked, in a process of its own.
    pub(super) fn work(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) -> Reply {
        let done = match request {
            Request::Own { tree, owners, .. } => self.own(&PathBuf::from(tree), &owners),
            Request::Remove { path, .. } => self.remove(&PathBuf::from(path)),
            Request::Commit { directory, left, below, options, .. } => {
                let Some(store) = &self.store else {
                    return Reply::Failed {
                        id,
                        errno: None,
                        message: "the store cannot be opened".to_owned(),
                    };
                };
                let directory = PathBuf::from(directory);
                let made = match left {
                    Left::Copy { since } => copies::commit(store, &directory, &below, &options, since),
                    Left::Upper => {
                        store.view(&below).and_then(|below| store.commit_upper(&directory, &below, &options))
                    }
                };
                return match made {
                    Ok(diff_id) => Reply::Committed { id, diff_id },
                    Err(error) => {
                        Reply::Failed { id, errno: None, message: layer_store::error::chain(&error) }
                    }
                };
            }
            Request::WriteTar { diff_id, .. } => {
                let options = self.options();
                let written = Store::open(&self.root, options).and_then(|store| {
                    let mut output = fds.into_iter().map(File::from).next();
                    match &mut output {
                        Some(output) => store.write_tar(&diff_id, output),
                        None => Ok(()),
                    }
                });
                return match written {
                    Ok(()) => Reply::Done { id },
                    Err(error) => {
                        Reply::Failed { id, errno: None, message: layer_store::error::chain(&error) }
                    }
                };
            }
            Request::Open { .. } | Request::Run { .. } | Request::Cancel { .. } | Request::Mapped { .. } => {
                Ok(())
            }
        };
        match done {
            Ok(()) => Reply::Done { id },
            Err(error) => failed(id, &error),
        }
    }

    /// Owner first, since changing it clears set-user-id bits; then mode, then attributes.
    fn own(&self, tree: &Path, owners: &[Ownership]) -> std::io::Result<()> {
        let (root, tree) = self.below_root(tree)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = rustix::fs::openat2(&root, tree, flags, Mode::empty(), INSIDE)?;
        for owner in owners {
            self.own_one(&tree, owner).map_err(|error| {
                let path = String::from_utf8_lossy(&owner.path);
                std::io::Error::new(error.kind(), format!("cannot give `{path}` its owner: {error}"))
            })?;
        }
        Ok(())
    }

    fn own_one(&self, tree: &OwnedFd, owner: &Ownership) -> std::io::Result<()> {
        let path = if owner.path.is_empty() { b".".as_slice() } else { &owner.path };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat2(tree, path, flags, Mode::empty(), INSIDE)?;
        if !self.trees.one_id {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            rustix::fs::chownat(&place, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        let name = by_descriptor(&place);
        if let Some(mode) = owner.mode {
            rustix::fs::chmod(&name, Mode::from_raw_mode(mode))?;
        }
        for (key, value) in &owner.xattrs {
            rustix::fs::setxattr(&name, key.as_slice(), value, XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Removes a tree without following anything.
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        let (root, path) = self.below_root(path)?;
        let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat2(&root, parent, flags, Mode::empty(), INSIDE)?;
        remove_entry(parent.as_fd(), Path::new(name))
    }

    /// The store's directory, and `path` below it. Nothing outside the store is touched.
    fn below_root(&self, path: &Path) -> std::io::Result<(OwnedFd, PathBuf)> {
        let outside =
            || std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is outside the store");
        let below = path.strip_prefix(&self.root).map_err(|_| outside())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok((rustix::fs::open(&self.root, flags, Mode::empty())?, below.to_owned()))
    }
}

/// Nothing in a tree of the store may lead out of it.
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Deeper trees than a path can name are removed as well: by descriptors, one level a call.
pub(super) fn remove_entry(parent: BorrowedFd<'_>, name: &Path) -> std::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    for name in names {
        use std::os::unix::ffi::OsStrExt as _;
        remove_entry(directory.as_fd(), Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())))?;
    }
    drop(directory);
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Copies what is at `from` to `name` below `to`: kinds, modes, owners, times, links; nothing is followed.
pub(super) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &Path) -> std::io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let source = by_descriptor(from);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, Mode::empty())?;
            for entry in std::fs::read_dir(&source)? {
                let entry = entry?.file_name();
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(from, &entry, flags, Mode::empty())?;
                copy_tree(inner.as_fd(), made.as_fd(), Path::new(&entry))?;
            }
            rustix::fs::fchmod(&made, mode)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            std::io::copy(&mut File::open(&source)?, &mut File::from(made.try_clone()?))?;
            rustix::fs::fchmod(&made, mode)?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, "", Vec::new())?;
            rustix::fs::symlinkat(target, to, name)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // An id that is not mapped here is nobody's; the copy is its maker's.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let time = rustix::fs::Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn failed(id: u64, error: &std::io::Error) -> Reply {
    Reply::Failed { id, errno: error.raw_os_error(), message: error.to_string() }
}

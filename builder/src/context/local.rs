//! A directory of the host as a build context.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use layer_store::Digest;
use layer_store::layer::FileSource;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{ContextError, Stamp, StatIndex, ahead, hash};
use crate::copy::{Body, CopyError, Detail, Identity, Node, Opened, Tree, Xattrs, path};
use crate::ignore::{Matcher, Parent};

/// A directory of the host as a build context. Never leaves it: symlinks are resolved as if it were the root. What
/// was listed once stays as it was for the life of the value, so that all steps of a build see one state.
#[derive(Debug)]
pub struct LocalContext {
    path: PathBuf,
    root: Arc<OwnedFd>,
    ignore: Option<Matcher>,
    index: Arc<StatIndex>,
    listings: Mutex<HashMap<Vec<u8>, Arc<Listing>>>,
}

#[derive(Debug)]
struct Listing {
    children: Arc<Vec<(Vec<u8>, Node)>>,
    xattrs: Xattrs,
}

impl LocalContext {
    /// Opens the directory at `path`. Reads nothing of it yet.
    pub fn open(path: &Path, ignore: Option<Matcher>) -> Result<Self, ContextError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| ContextError::Open { path: path.to_owned(), source: error.into() })?;
        Ok(Self {
            path: path.to_owned(),
            root: Arc::new(root),
            ignore,
            index: Arc::default(),
            listings: Mutex::default(),
        })
    }

    /// Opens the directory at `below` inside `path`, following symlinks only inside it: both may come from outside.
    pub fn open_below(path: &Path, below: &str) -> Result<Self, ContextError> {
        let whole = Self::open(path, None)?;
        if below.is_empty() {
            return Ok(whole);
        }
        let path = path.join(below);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let root = rustix::fs::openat2(&whole.root, below, flags, Mode::empty(), resolve)
            .map_err(|error| ContextError::Open { path: path.clone(), source: error.into() })?;
        Ok(Self { path, root: Arc::new(root), ..whole })
    }

    /// Takes digests of unchanged files from `index`, and remembers new ones there.
    #[must_use]
    pub fn with_index(mut self, index: Arc<StatIndex>) -> Self {
        self.index = index;
        self
    }

    /// The directory, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what is at `path`, leading over no symlink.
    pub(super) fn open_beneath(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        open_beneath(self.root.as_fd(), path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW)
    }

    fn stat(&self, path: &[u8]) -> Result<rustix::fs::Stat, Errno> {
        if path.is_empty() {
            return rustix::fs::fstat(&self.root);
        }
        let directory = self.open_beneath(path::parent(path), OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::fs::statat(&directory, OsStr::from_bytes(path::name(path)), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn listing(&self, directory: &[u8]) -> Result<Arc<Listing>, CopyError> {
        let listings = || self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listings().get(directory) {
            return Ok(Arc::clone(listing));
        }
        let listing = Arc::new(self.read_directory(directory)?);
        Ok(Arc::clone(listings().entry(directory.to_vec()).or_insert(listing)))
    }

    fn read_directory(&self, directory: &[u8]) -> Result<Listing, CopyError> {
        let fail = |action, error: Errno| read_error(action, directory, error);
        let fd = self
            .open_beneath(directory, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| fail("open", error))?;
        let xattrs = hash::xattrs(fd.as_fd()).map_err(|error| fail("read the attributes of", error))?;
        let rules = self.ignore.as_ref().map(|ignore| (ignore, below(ignore, directory)));
        let mut children = Vec::new();
        for entry in Dir::read_from(&fd).map_err(|error| fail("list", error))? {
            let entry = entry.map_err(|error| fail("list", error))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let child = path::child(directory, name);
            let stat = match rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Gone since it was listed.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(read_error("stat", &child, error).into()),
            };
            let node = node_of(&stat, || rustix::fs::readlinkat(&fd, entry.file_name(), Vec::new()))
                .map_err(|error| read_error("read the link", &child, error))?;
            let shows = match &rules {
                Some((ignore, parent)) => {
                    let ignored = ignore.decide_below(parent, &String::from_utf8_lossy(&child)).0.ignored;
                    self.shows(&child, &node, ignored)?
                }
                None => true,
            };
            if shows {
                children.push((name.to_vec(), node));
            }
        }
        children.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Listing { children: Arc::new(children), xattrs })
    }

    /// Whether the ignore file lets the path be seen. A hidden directory is seen if something in it is.
    fn shows(&self, path: &[u8], node: &Node, ignored: bool) -> Result<bool, CopyError> {
        let Some(ignore) = self.ignore.as_ref().filter(|_| ignored) else { return Ok(true) };
        if !matches!(node.body, Body::Directory) || !ignore.may_match_below(&String::from_utf8_lossy(path)) {
            return Ok(false);
        }
        // The listing has only what shows, so it is empty unless a rule shows something again, at any depth.
        Ok(!self.listing(path)?.children.is_empty())
    }

    fn find(&self, path: &[u8]) -> Result<Option<Node>, CopyError> {
        let stat = match self.stat(path) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(read_error("stat", path, error).into()),
        };
        let read_link = || {
            let directory = self.open_beneath(path::parent(path), OFlags::PATH | OFlags::DIRECTORY)?;
            rustix::fs::readlinkat(&directory, OsStr::from_bytes(path::name(path)), Vec::new())
        };
        let mut node = node_of(&stat, read_link).map_err(|error| read_error("read the link", path, error))?;
        if path.is_empty() {
            // When the checkout was made is nobody's business.
            node.mtime = None;
        }
        Ok(Some(node))
    }
}

impl Tree for LocalContext {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, CopyError> {
        let Some(node) = self.find(path)? else { return Ok(None) };
        let ignored =
            self.ignore.as_ref().is_some_and(|ignore| ignore.matches(&String::from_utf8_lossy(path)));
        Ok(self.shows(path, &node, ignored)?.then_some(node))
    }

    fn list(&self, path: &[u8]) -> Result<Arc<Vec<(Vec<u8>, Node)>>, CopyError> {
        Ok(Arc::clone(&self.listing(path)?.children))
    }

    fn list_ahead(&self, top: &[u8], enters: &(dyn Fn(&[u8]) -> bool + Sync)) {
        ahead::list_below(self, top, enters);
    }

    fn details(&self, nodes: &[(&[u8], &Node)]) -> Result<Vec<Detail>, CopyError> {
        let mut details = vec![Detail::default(); nodes.len()];
        let mut unread = Vec::new();
        for (at, (path, node)) in nodes.iter().enumerate() {
            match &node.body {
                Body::Directory => details[at].xattrs = self.listing(path)?.xattrs.clone(),
                Body::File { identity: Identity::Content(digest), .. } => details[at].content = Some(*digest),
                Body::File { identity: Identity::Host(stamp), .. } => match self.index.known(stamp) {
                    Some(known) if !known.xattrs => details[at].content = Some(known.content),
                    known => unread.push(hash::Job { at, path, stamp: *stamp, known }),
                },
                _ => {}
            }
        }
        for (at, detail) in hash::read_all(self, &self.index, &unread)? {
            details[at] = detail;
        }
        Ok(details)
    }

    fn file(&self, path: &[u8], node: &Node) -> FileSource {
        match node.body {
            Body::File { identity: Identity::Host(_), .. } => FileSource::Host {
                root: Arc::clone(&self.root),
                path: PathBuf::from(OsStr::from_bytes(path)),
            },
            _ => FileSource::Bytes(Arc::new([])),
        }
    }

    fn open(&self, path: &[u8], _node: &Node) -> Result<Opened, CopyError> {
        let file = self.open_beneath(path, OFlags::RDONLY | OFlags::NONBLOCK);
        file.map(|file| Opened::File(file.into())).map_err(|error| read_error("open", path, error).into())
    }

    fn place(&self) -> String {
        format!("the build context `{}`", self.path.display())
    }

    fn hidden_by(&self, path: &[u8]) -> Option<String> {
        self.find(path).ok()??;
        let decision = self.ignore.as_ref()?.decide(&String::from_utf8_lossy(path));
        decision.rule.filter(|_| decision.ignored).map(|rule| rule.text.clone())
    }

    fn is_unchanged(&self, path: &[u8], node: &Node) -> Result<bool, CopyError> {
        let Body::File { identity: Identity::Host(was), .. } = &node.body else { return Ok(true) };
        match self.stat(path) {
            Ok(stat) => Ok(stamp_of(&stat) == *was),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(read_error("stat", path, error).into()),
        }
    }
}

/// What the rules say of `directory`, for what is in it.
fn below(ignore: &Matcher, directory: &[u8]) -> Parent {
    let directory = String::from_utf8_lossy(directory);
    let ends = directory.match_indices('/').map(|(at, _)| at).chain([directory.len()]);
    ends.filter(|end| *end > 0)
        .fold(Parent::default(), |parent, end| ignore.decide_below(&parent, &directory[..end]).1)
}

fn node_of(
    stat: &rustix::fs::Stat,
    read_link: impl FnOnce() -> Result<std::ffi::CString, Errno>,
) -> Result<Node, Errno> {
    let device = || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let body = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Body::Directory,
        FileType::Symlink => Body::Symlink(read_link()?.into_bytes()),
        FileType::CharacterDevice => Body::CharDevice(device().0, device().1),
        FileType::BlockDevice => Body::BlockDevice(device().0, device().1),
        FileType::Fifo => Body::Fifo,
        FileType::RegularFile => {
            let stamp = stamp_of(stat);
            Body::File { size: stamp.size, identity: Identity::Host(stamp), linked: stat.st_nlink > 1 }
        }
        FileType::Socket | FileType::Unknown => {
            Body::File { size: 0, identity: Identity::Content(Digest::of(b"")), linked: false }
        }
    };
    let mode = match body {
        Body::Symlink(_) => 0o777,
        _ => stat.st_mode & 0o7777,
    };
    Ok(Node { body, mode, uid: 0, gid: 0, mtime: Some(stat.st_mtime) })
}

pub(super) fn stamp_of(stat: &rustix::fs::Stat) -> Stamp {
    let nanoseconds = |seconds: i64, nanoseconds: u64| {
        seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(nanoseconds).unwrap_or_default())
    };
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
    }
}

pub(super) fn read_error(action: &'static str, path: &[u8], error: Errno) -> ContextError {
    let path = if path.is_empty() { ".".into() } else { String::from_utf8_lossy(path).into_owned() };
    ContextError::Read { action, path, source: io::Error::from(error) }
}

fn open_beneath(root: std::os::fd::BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let whole = if path.is_empty() { b".".as_slice() } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, OsStr::from_bytes(whole), flags, Mode::empty(), resolve) {
        // Old kernels and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_by_parts(root, whole, flags),
        result => result,
    }
}

fn open_by_parts(root: std::os::fd::BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut directory: Option<OwnedFd> = None;
    let mut parts = path.split(|&byte| byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let at = directory.as_ref().map_or(root, AsFd::as_fd);
        let last = parts.peek().is_none();
        let flags =
            if last { flags } else { OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC };
        let next = rustix::fs::openat(at, OsStr::from_bytes(part), flags, Mode::empty())?;
        if last {
            return Ok(next);
        }
        directory = Some(next);
    }
    Err(Errno::NOENT)
}

//! What COPY reads from, whatever it is: a context on disk, the view of an image, files in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use layer_store::layer::FileSource;
use layer_store::{Digest, Kind, Store, View, view::Located};

use super::CopyError;
use super::archive::Opened;
use super::path::{self, Dots, PathBytes, Peek, Unresolved};

/// Extended attributes by full name.
pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A file or directory of a source.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) body: Body,
    /// Permission, setuid, setgid and sticky bits.
    pub(crate) mode: u32,
    /// Owner in the image; 0 for local contexts, so that it does not depend on who builds.
    pub(crate) uid: u32,
    /// Group in the image.
    pub(crate) gid: u32,
    /// Modification time in seconds; `None` where the source has none (its root).
    pub(crate) mtime: Option<i64>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// A directory.
    Directory,
    /// A regular file; sockets count as empty ones, as in BuildKit.
    File {
        /// Length in bytes.
        size: u64,
        /// What its bytes are known by.
        identity: Identity,
        /// Whether another name may have the same identity: a hard link.
        linked: bool,
    },
    /// A symlink with its text.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What tells a file's bytes from others' without reading them. Two names with one identity are hard links.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A file of the host.
    Host(crate::context::Stamp),
    /// A file of a layer.
    Layer(Digest, PathBytes),
    /// Bytes with this digest.
    Content(Digest),
}

/// What is read of a file or directory only when it is needed: by the content key and by the layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    /// Of a regular file: the digest of its bytes.
    pub(crate) content: Option<Digest>,
    /// The extended attributes that go into an image.
    pub(crate) xattrs: Xattrs,
}

/// Names and nodes of a directory, sorted by name. Shared, since a listing is asked for more than once.
pub(crate) type Children = Arc<Vec<(Vec<u8>, Node)>>;

/// A tree to copy from. Paths are clean and lead over no symlink.
pub(crate) trait Tree {
    /// What is at `path`.
    fn node(&self, path: &[u8]) -> Result<Option<Node>, CopyError>;
    /// The children of a directory, sorted by name.
    fn list(&self, path: &[u8]) -> Result<Children, CopyError>;
    /// Prepares for listing `top` and all below it, but for directories that `enters` does not take by their path below
    /// `top`.
    fn list_ahead(&self, _top: &[u8], _enters: &(dyn Fn(&[u8]) -> bool + Sync)) {}
    /// Digests and extended attributes of many nodes at once, in their order. The costly part.
    fn details(&self, nodes: &[(&[u8], &Node)]) -> Result<Vec<Detail>, CopyError>;
    /// Where a layer takes the bytes of the regular file at `path` from.
    fn file(&self, path: &[u8], node: &Node) -> FileSource;
    /// Opens the regular file at `path`.
    fn open(&self, path: &[u8], node: &Node) -> Result<Opened, CopyError>;
    /// The tree's name in messages.
    fn place(&self) -> String;
    /// The ignore rule that hides `path`, if one does.
    fn hidden_by(&self, _path: &[u8]) -> Option<String> {
        None
    }
    /// The extended attributes of `path`, where that needs no system call.
    fn cheap_xattrs(&self, _path: &[u8]) -> Option<Xattrs> {
        None
    }
    /// Whether `path` is still what it was.
    fn is_unchanged(&self, _path: &[u8], _node: &Node) -> Result<bool, CopyError> {
        Ok(true)
    }
}

impl<T: Tree + ?Sized> Tree for &T {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, CopyError> {
        (**self).node(path)
    }
    fn list(&self, path: &[u8]) -> Result<Arc<Vec<(Vec<u8>, Node)>>, CopyError> {
        (**self).list(path)
    }
    fn list_ahead(&self, top: &[u8], enters: &(dyn Fn(&[u8]) -> bool + Sync)) {
        (**self).list_ahead(top, enters);
    }
    fn details(&self, nodes: &[(&[u8], &Node)]) -> Result<Vec<Detail>, CopyError> {
        (**self).details(nodes)
    }
    fn file(&self, path: &[u8], node: &Node) -> FileSource {
        (**self).file(path, node)
    }
    fn open(&self, path: &[u8], node: &Node) -> Result<Opened, CopyError> {
        (**self).open(path, node)
    }
    fn place(&self) -> String {
        (**self).place()
    }
    fn hidden_by(&self, path: &[u8]) -> Option<String> {
        (**self).hidden_by(path)
    }
    fn cheap_xattrs(&self, path: &[u8]) -> Option<Xattrs> {
        (**self).cheap_xattrs(path)
    }
    fn is_unchanged(&self, path: &[u8], node: &Node) -> Result<bool, CopyError> {
        (**self).is_unchanged(path, node)
    }
}

/// Follows `path` inside the tree.
pub(crate) fn resolve(tree: &dyn Tree, path: &[u8]) -> Result<PathBytes, CopyError> {
    resolve_along(tree, path).map(|(resolved, _)| resolved)
}

/// Follows `path` inside the tree, and tells the links that it led over, in order.
pub(crate) fn resolve_along(tree: &dyn Tree, path: &[u8]) -> Result<(PathBytes, Vec<PathBytes>), CopyError> {
    let (mut failure, mut links) = (None, Vec::new());
    let resolved = path::resolve(b"", path, true, Dots::AsText, |path| match tree.node(path) {
        Ok(node) => Ok(match node.map(|node| node.body) {
            None => Peek::Missing,
            Some(Body::Directory) => Peek::Directory,
            Some(Body::Symlink(target)) => {
                links.push(path.to_vec());
                Peek::Symlink(Cow::Owned(target))
            }
            Some(_) => Peek::Other,
        }),
        Err(error) => {
            failure = Some(error);
            Err(Unresolved::Loop)
        }
    });
    let resolved = resolved.map_err(|unresolved| {
        failure.unwrap_or_else(|| CopyError::Source {
            path: path::display(path),
            reason: unresolved.reason().to_owned(),
        })
    })?;
    Ok((resolved, links))
}

/// Whether an attribute goes into an image. `user.overlay.*` would give a layer power over those below it.
pub(crate) fn counts(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// The filesystem of a stage or an image as a source.
pub(crate) struct ViewTree<'a> {
    pub(crate) store: &'a Store,
    pub(crate) view: &'a View,
}

impl ViewTree<'_> {
    fn of(&self, located: Located<'_>) -> Option<Node> {
        let entry = located.entry;
        let body = match &entry.kind {
            Kind::Directory { .. } => Body::Directory,
            Kind::Symlink { target } => Body::Symlink(target.clone()),
            Kind::CharDevice { major, minor } => Body::CharDevice(*major, *minor),
            Kind::BlockDevice { major, minor } => Body::BlockDevice(*major, *minor),
            Kind::Fifo => Body::Fifo,
            Kind::Whiteout => return None,
            Kind::File { .. } | Kind::Hardlink { .. } => match (self.view.content(located), &entry.kind) {
                (Some(content), _) => {
                    let Kind::File { size, .. } = content.entry.kind else { return None };
                    let identity = Identity::Layer(content.diff_id, content.entry.path.clone());
                    Body::File { size, identity, linked: true }
                }
                // Layers of other builders may link to a symlink or a device.
                (None, Kind::Hardlink { target }) => {
                    let target = self.view.lookup(target)?;
                    return if matches!(target.entry.kind, Kind::Hardlink { .. }) {
                        None
                    } else {
                        self.of(target)
                    };
                }
                (None, _) => return None,
            },
        };
        let mode = if matches!(body, Body::Symlink(_)) { 0o777 } else { entry.mode };
        Some(Node { body, mode, uid: entry.uid, gid: entry.gid, mtime: Some(entry.mtime) })
    }

    /// The root where no layer has an entry for it.
    fn root() -> Node {
        Node { body: Body::Directory, mode: 0o755, uid: 0, gid: 0, mtime: None }
    }
}

impl Tree for ViewTree<'_> {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, CopyError> {
        let found = self.view.lookup(path).and_then(|located| self.of(located));
        Ok(found.or_else(|| path.is_empty().then(Self::root)))
    }

    fn list(&self, path: &[u8]) -> Result<Arc<Vec<(Vec<u8>, Node)>>, CopyError> {
        let mut children: Vec<_> = self
            .view
            .list(path)
            .into_iter()
            .filter_map(|located| Some((path::name(&located.entry.path).to_vec(), self.of(located)?)))
            .collect();
        children.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Arc::new(children))
    }

    fn details(&self, nodes: &[(&[u8], &Node)]) -> Result<Vec<Detail>, CopyError> {
        super::contents::of_view(self.store, self.view, nodes)
    }

    fn file(&self, _path: &[u8], node: &Node) -> FileSource {
        match &node.body {
            Body::File { identity: Identity::Layer(diff_id, path), .. } => {
                FileSource::Layer { diff_id: *diff_id, path: path.clone() }
            }
            _ => FileSource::Bytes(Arc::new([])),
        }
    }

    fn open(&self, path: &[u8], node: &Node) -> Result<Opened, CopyError> {
        match self.file(path, node) {
            FileSource::Layer { diff_id, path } => Ok(Opened::Stream(self.store.open_file(&diff_id, &path)?)),
            _ => Ok(Opened::Stream(Box::new(std::io::empty()))),
        }
    }

    fn place(&self) -> String {
        "the image it is copied from".to_owned()
    }

    fn cheap_xattrs(&self, path: &[u8]) -> Option<Xattrs> {
        Some(self.view.lookup(path).map_or_else(Xattrs::new, |located| image_xattrs(&located.entry.xattrs)))
    }
}

/// Those attributes that go into an image.
pub(crate) fn image_xattrs(xattrs: &Xattrs) -> Xattrs {
    let kept = xattrs.iter().filter(|(name, _)| counts(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

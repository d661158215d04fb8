//! The merge of the indexes below a step: the image's filesystem, without extraction.

use std::sync::{Arc, LazyLock};

use crate::index::{Entry, Index, Kind, PathBytes, Presence, path};
use crate::{Digest, Error, Result};

mod merge;
#[cfg(test)]
mod tests;

/// As many symlinks as a path may lead through, as in the tools that unpack images.
const MAX_SYMLINKS: usize = 255;

/// The filesystem that a stack of layers makes.
#[derive(Debug, Clone, Default)]
pub struct View {
    layers: Vec<(Digest, Arc<Index>)>,
}

/// An entry of a view, with the layer that it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    /// The layer that has it.
    pub diff_id: Digest,
    /// The entry there. Of a hard link the name's own entry; see [`View::content`].
    pub entry: &'a Entry,
    /// Which layer of the view, from the bottom.
    layer: usize,
}

/// Where a path leads inside the image.
#[derive(Debug, Clone)]
pub struct Resolved<'a> {
    /// The path with all symlinks followed (but the last, where that was asked).
    pub path: PathBytes,
    /// What is there; `None` if only the parents, or not even these, exist.
    pub found: Option<Located<'a>>,
}

/// The root of an image without layers.
static BARE_ROOT: LazyLock<Entry> = LazyLock::new(|| Entry::implied_directory(PathBytes::new()));

impl View {
    /// The view of `layers`, bottom first.
    #[must_use]
    pub fn new(layers: Vec<(Digest, Arc<Index>)>) -> Self {
        Self { layers }
    }

    /// The layers, bottom first.
    #[must_use]
    pub fn layers(&self) -> &[(Digest, Arc<Index>)] {
        &self.layers
    }

    /// The root directory: the topmost layer's that lists it, else mode 0755, owner 0:0, time 0.
    #[must_use]
    pub fn root(&self) -> &Entry {
        self.lookup(b"").map_or(&BARE_ROOT, |root| root.entry)
    }

    /// What is at exactly `path`, following no symlink. The root exists unless there is no layer (see
    /// [`View::root`]). Costs a few binary searches a layer.
    #[must_use]
    pub fn lookup(&self, path: &[u8]) -> Option<Located<'_>> {
        self.lookup_in(path, self.layers.len())
    }

    /// Follows `path` as a process whose root is the image would: symlinks, absolute and relative, are confined to
    /// the image, `..` stops at the root. Parts that do not exist are kept as they are, so the result can name
    /// something to be created.
    ///
    /// # Errors
    ///
    /// More than 255 symlinks (a loop); a part before the last that is not a directory; NUL in the path.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved<'_>> {
        let refuse = |reason| Error::Path { path: path::printable(path), reason };
        let mut current = PathBytes::new();
        let mut found = self.lookup(b"");
        // Parts still to go, the next one last.
        let mut parts: Vec<Vec<u8>> = Vec::new();
        push_parts(&mut parts, path);
        let mut symlinks = 0;
        while let Some(part) = parts.pop() {
            if part.contains(&0) {
                return Err(refuse("a name contains NUL"));
            }
            if part == b".." {
                current = path::split(&current).map_or_else(PathBytes::new, |(parent, _)| parent.to_vec());
                found = self.lookup(&current);
                continue;
            }
            // What is missing has nothing below it, so only what is there can be no directory.
            if found.is_some_and(|located| !located.entry.kind.is_directory()) {
                return Err(refuse("a part of it is not a directory"));
            }
            let next = path::join(&current, &part);
            let there = self.lookup(&next);
            if let Some(located) = there
                && (follow_last || !parts.is_empty())
                && let Some(Entry { kind: Kind::Symlink { target }, .. }) =
                    self.inode(located).map(|inode| inode.entry)
            {
                symlinks += 1;
                if symlinks > MAX_SYMLINKS {
                    return Err(refuse("too many symbolic links lead through each other"));
                }
                if target.starts_with(b"/") {
                    current.clear();
                    found = self.lookup(b"");
                }
                push_parts(&mut parts, target);
                continue;
            }
            current = next;
            found = there;
        }
        Ok(Resolved { path: current, found })
    }

    /// The children of the directory at `path` (already resolved), sorted by name. None of what is no directory.
    #[must_use]
    pub fn list(&self, path: &[u8]) -> Vec<Located<'_>> {
        merge::list(self, path)
    }

    /// The entry at `path` (already resolved) and all below it, in path order ([`path::order`]): parents right
    /// before what is in them.
    #[must_use]
    pub fn walk(&self, path: &[u8]) -> Vec<Located<'_>> {
        merge::walk(self, path)
    }

    /// The regular file that holds the bytes of `located`: itself, or the target of a hard link (which may be in a
    /// lower layer).
    #[must_use]
    pub fn content<'a>(&'a self, located: Located<'a>) -> Option<Located<'a>> {
        self.inode(located).filter(|inode| matches!(inode.entry.kind, Kind::File { .. }))
    }

    /// What `located` is another name of: itself, if it is no hard link.
    pub(crate) fn inode<'a>(&'a self, located: Located<'a>) -> Option<Located<'a>> {
        let mut inode = located;
        // In its own layer a link leads to a file; one that leads below leads further down each time.
        for _ in 0..=2 * self.layers.len() {
            let Kind::Hardlink { target } = &inode.entry.kind else { return Some(inode) };
            let own = self.layers[inode.layer].1.entry(target);
            inode = match own {
                Some(entry) => Located { entry, ..inode },
                None => self.lookup_in(target, inode.layer)?,
            };
        }
        None
    }

    /// What is at `path` in the lowest `count` layers.
    fn lookup_in(&self, path: &[u8], count: usize) -> Option<Located<'_>> {
        let mut implied = None;
        for (layer, (diff_id, index)) in self.layers.iter().enumerate().take(count).rev() {
            let located = |entry| Located { diff_id: *diff_id, entry, layer };
            match index.entry_or_implied(path) {
                Some((entry, Presence::Implied)) => {
                    implied.get_or_insert(located(entry));
                }
                Some((entry, Presence::Listed)) if entry.kind.is_directory() => return Some(located(entry)),
                // A directory that an upper layer implies takes the place of anything else.
                Some((Entry { kind: Kind::Whiteout, .. }, _)) => return implied,
                Some((entry, Presence::Listed)) => return implied.or(Some(located(entry))),
                None => {}
            }
            if hides(index, path) {
                break;
            }
        }
        implied
    }
}

/// Whether `index` keeps lower layers from showing through at `path`, by an entry above it or there.
fn hides(index: &Index, path: &[u8]) -> bool {
    path::ancestors(path)
        .chain([path])
        .any(|ancestor| index.entry(ancestor).is_some_and(|entry| entry.kind.hides_below()))
}

/// Puts the parts of `path` on the stack, so that its first comes next.
fn push_parts(parts: &mut Vec<Vec<u8>>, path: &[u8]) {
    let kept = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.extend(kept.map(<[u8]>::to_vec).rev());
}

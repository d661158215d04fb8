//! What the trees of a stack need beyond those of its layers.
//!
//! A tree is made from its layer alone, but some layers, none that are made here, leave things to those below: the
//! directories that their entries are in, and files that they have hard links to. In a mount the directory of the
//! topmost tree would hide the mode, owner and time of the one below, and the links would not be there. So such a
//! layer's tree gets another on top of it, with nothing but these directories and files.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::place::tree_name;
use super::tree::TreeWriter;
use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::index::{Entry, Index, Kind, PathBytes, path};
use crate::view::Located;
use crate::{Digest, Result, Store, View};

impl Store {
    /// The trees whose overlay is the filesystem of `view`, bottom first. Makes those that are not here, as
    /// [`Store::tree`] does. They are as many as the layers, but for layers that leave something to those below.
    pub fn trees(&self, view: &View) -> Result<Vec<PathBuf>> {
        let mut trees = Vec::with_capacity(view.layers().len());
        for (at, (diff_id, index)) in view.layers().iter().enumerate() {
            trees.push(self.tree(diff_id)?);
            if may_need_patch(index) {
                let below = View::new(view.layers()[..=at].to_vec());
                trees.extend(self.patch(diff_id, index, &below)?);
            }
        }
        Ok(trees)
    }

    fn patch(&self, diff_id: &Digest, index: &Index, view: &View) -> Result<Option<PathBuf>> {
        let mut files: HashMap<PathBytes, Located<'_>> = HashMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        for directory in index.implied() {
            if let Some(located) = view.lookup(&directory.path)
                && *located.entry != *directory
            {
                entries.push(plain(located.entry));
            }
        }
        for link in links_below(index) {
            if let Some(located) = view.lookup(&link.path)
                && let Some(content) = view.content(located)
            {
                entries.push(Entry { path: link.path.clone(), ..content.entry.clone() });
                files.insert(link.path.clone(), content);
            }
        }
        let above: Vec<Entry> = entries
            .iter()
            .flat_map(|entry| path::ancestors(&entry.path).skip(1))
            .filter_map(|ancestor| view.lookup(ancestor).map(|located| plain(located.entry)))
            .collect();
        entries.extend(above);
        let patch = Index::new(entries);
        if patch.entries().is_empty() {
            return Ok(None);
        }
        let mut key = Hasher::default();
        key.field(patch.encode());
        for entry in patch.entries() {
            if let Some(content) = files.get(&entry.path) {
                key.field(content.diff_id.as_bytes()).field(&content.entry.path);
            }
        }
        key.field(tree_name(self.tree_kind()));
        let name = format!("patch-{}", key.finish().hex());
        let place = self.layer_dir(diff_id).join(&name);
        let marker = self.layer_dir(diff_id).join(format!("{name}.complete"));
        let _lock = self.lock("layer", diff_id)?;
        if !marker.exists() {
            let scratch = self.scratch()?;
            let tree = scratch.path().join("tree");
            let mut writer = TreeWriter::create(&tree, self.giving())?;
            let mut first: HashMap<(Digest, &[u8]), PathBytes> = HashMap::new();
            for entry in patch.entries() {
                let Some(content) = files.get(&entry.path) else {
                    writer.place(entry)?;
                    continue;
                };
                let key = (content.diff_id, content.entry.path.as_slice());
                if let Some(target) = first.get(&key) {
                    let kind = Kind::Hardlink { target: target.clone() };
                    writer.place(&Entry { kind, ..entry.clone() })?;
                    continue;
                }
                first.insert(key, entry.path.clone());
                let mut file = std::fs::File::from(writer.file(entry)?);
                let Kind::File { size, .. } = entry.kind else { continue };
                let mut bytes = self.open_file(&content.diff_id, &content.entry.path)?.take(size);
                io::copy(&mut bytes, &mut file).context("copy", path::printable(&entry.path))?;
                writer.finish_file(entry, &OwnedFd::from(file))?;
            }
            let owners = writer.finish(&patch)?;
            let patch = patch.with_checksums(|entry| {
                let content = files.get(&entry.path)?;
                self.index(&content.diff_id).ok()?.checksum(&content.entry.path)
            });
            self.keep_directory(&tree, &owners, &place, (&marker, &patch.encode()))?;
        }
        Ok(Some(place))
    }
}

/// A directory as it shows in a mount.
fn plain(directory: &Entry) -> Entry {
    Entry { kind: Kind::Directory { opaque: false }, ..directory.clone() }
}

fn may_need_patch(index: &Index) -> bool {
    // The root's own is the upper directory's.
    index.implied().iter().any(|directory| !directory.path.is_empty()) || links_below(index).next().is_some()
}

/// The hard links to files of lower layers.
fn links_below(index: &Index) -> impl Iterator<Item = &Entry> {
    index
        .entries()
        .iter()
        .filter(|entry| matches!(&entry.kind, Kind::Hardlink { target } if index.entry(target).is_none()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::sync::Arc;

    use crate::layer::tests::{dir, file, store};
    use crate::layer::{Form, tar};
    use crate::{Digest, Entry, Kind, View};

    #[test]
    fn a_layer_that_leaves_things_below_gets_them() {
        let (_dir, store) = store();
        let mut closed = dir("a");
        closed.mode = 0o700;
        let lower = store.write_layer(vec![closed, dir("a/b"), file("a/f", b"bytes")], Form::Tree).unwrap();
        // As a tool that unpacks over the layers below leaves it: no parents, and links to what is there.
        let bare = |path: &str, kind| Entry { kind, ..Entry::implied_directory(path.into()) };
        let link = |path: &str| bare(path, Kind::Hardlink { target: b"a/f".to_vec() });
        let mut bytes = Vec::new();
        for entry in
            [link("a/b/one"), link("a/b/two"), bare("a/b/pipe", Kind::Fifo), bare("new/pipe", Kind::Fifo)]
        {
            tar::encode(&entry, &mut bytes).unwrap();
        }
        bytes.extend_from_slice(&tar::END);
        let upper = Digest::of(&bytes);
        store.apply(&mut bytes.as_slice(), &upper, Form::Tree).unwrap();
        let view = store.view(&[lower, upper]).unwrap();
        for _ in 0..2 {
            let trees = store.trees(&view).unwrap();
            assert_eq!(trees.len(), 3);
            assert!(!trees[1].join("a/b/one").exists() && trees[1].join("a/b/pipe").exists());
            assert_eq!(trees[2].join("a").metadata().unwrap().permissions().mode() & 0o777, 0o700);
            assert_eq!(trees[2].join("a/b").metadata().unwrap().mtime(), 1000);
            assert_eq!(std::fs::read(trees[2].join("a/b/one")).unwrap(), b"bytes");
            assert_eq!(trees[2].join("a/b/two").metadata().unwrap().nlink(), 2);
            assert!(!trees[2].join("new").exists());
        }
        let alone = View::new(vec![(lower, Arc::clone(&view.layers()[0].1))]);
        assert_eq!(store.trees(&alone).unwrap().len(), 1);
    }
}

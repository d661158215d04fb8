//! The filesystem of an image as the entries of one layer.

use layer_store::layer::{FileSource, Form, NewEntry, NewKind};
use layer_store::view::Located;
use layer_store::{Digest, Kind, Store, View};

use crate::error::Result;

/// Everything that a view shows below the directory `part` (resolved, clean; empty for all), as entries of one layer with
/// paths below `part`, each with the time `epoch` if there is one.
pub(crate) fn entries(view: &View, part: &[u8], epoch: Option<i64>) -> Vec<NewEntry> {
    let mut entries = Vec::new();
    for located in view.walk(part) {
        let entry = located.entry;
        let Some(path) = below(part, &entry.path) else { continue };
        if let Some(kind) = kind(view, part, located) {
            entries.push(NewEntry {
                path: path.to_vec(),
                kind,
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: epoch.unwrap_or(entry.mtime),
                xattrs: entry.xattrs.clone(),
            });
        }
    }
    entries
}

/// The entries moved into a directory.
pub(crate) fn under(entries: Vec<NewEntry>, directory: &[u8]) -> Vec<NewEntry> {
    let place = |path: &[u8]| [directory, path].join(&b'/');
    let moved = entries.into_iter().map(|mut entry| {
        entry.path = place(&entry.path);
        if let NewKind::Hardlink { target } = &mut entry.kind {
            *target = place(target);
        }
        entry
    });
    moved.collect()
}

/// Writes the layer that makes the filesystem `whole` of `below`: what differs, and whiteouts for what is gone.
pub(crate) fn squashed(store: &Store, below: &View, whole: &View) -> Result<Digest> {
    let mut entries = entries(whole, b"", None);
    // What is there already is left out.
    entries.retain(|entry| {
        below
            .lookup(&entry.path)
            .zip(whole.lookup(&entry.path))
            .is_none_or(|(old, new)| old.diff_id != new.diff_id || old.entry.path != new.entry.path)
    });
    let is_directory = |path: &[u8]| {
        path.is_empty()
            || whole.lookup(path).is_some_and(|found| matches!(found.entry.kind, Kind::Directory { .. }))
    };
    for located in below.walk(b"") {
        let path = &located.entry.path;
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &path[..at]);
        // What is in a directory that is gone, or that became a file, is gone with it.
        if whole.lookup(path).is_none() && is_directory(parent) {
            let (path, kind) = (path.clone(), NewKind::Whiteout);
            let xattrs = std::collections::BTreeMap::new();
            entries.push(NewEntry { path, kind, mode: 0, uid: 0, gid: 0, mtime: 0, xattrs });
        }
    }
    Ok(store.write_layer(entries, Form::Tar)?)
}

/// The path below `part` of one that is inside; `None` for `part` itself and what is elsewhere.
fn below<'p>(part: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(part)?;
    let rest = if part.is_empty() { rest } else { rest.strip_prefix(b"/")? };
    (!rest.is_empty()).then_some(rest)
}

fn kind(view: &View, part: &[u8], located: Located<'_>) -> Option<NewKind> {
    Some(match &located.entry.kind {
        Kind::Directory { .. } => NewKind::Directory { opaque: false },
        Kind::File { .. } | Kind::Hardlink { .. } => {
            let content = view.content(located)?;
            let Kind::File { size, .. } = content.entry.kind else { return None };
            // A link whose other name is still there stays one; else its bytes come along.
            match &located.entry.kind {
                Kind::Hardlink { target }
                    if below(part, target).is_some() && same_file(view, target, content) =>
                {
                    NewKind::Hardlink { target: below(part, target)?.to_vec() }
                }
                _ => {
                    let source =
                        FileSource::Layer { diff_id: content.diff_id, path: content.entry.path.clone() };
                    NewKind::File { size, source }
                }
            }
        }
        Kind::Symlink { target } => NewKind::Symlink { target: target.clone() },
        Kind::CharDevice { major, minor } => NewKind::CharDevice { major: *major, minor: *minor },
        Kind::BlockDevice { major, minor } => NewKind::BlockDevice { major: *major, minor: *minor },
        Kind::Fifo => NewKind::Fifo,
        Kind::Whiteout => return None,
    })
}

fn same_file(view: &View, target: &[u8], content: Located<'_>) -> bool {
    view.lookup(target).is_some_and(|found| {
        found.diff_id == content.diff_id
            && found.entry.path == content.entry.path
            && matches!(found.entry.kind, Kind::File { .. })
    })
}

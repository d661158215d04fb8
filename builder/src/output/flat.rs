//! The filesystem of an image as the entries of one layer.

use layer_store::layer::{FileSource, NewEntry, NewKind};
use layer_store::view::Located;
use layer_store::{Kind, View};

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

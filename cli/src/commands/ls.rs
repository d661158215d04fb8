//! `rbuild ls`

use layer_store::index::{Kind, path};
use layer_store::view::Located;
use layer_store::{Entry, View};
use serde_json::json;

use super::{Context, inside, print};
use crate::args::look::LsArgs;
use crate::failure::{Failure, Result};

/// Lists what an image has at a path, as a process in it would see it.
pub(super) async fn run(context: &Context, args: &LsArgs) -> Result<()> {
    let inside = inside::open(context, &args.image).await?;
    let view = &inside.view;
    let resolved = view.resolve(args.path.as_bytes(), true)?;
    let directory = resolved.path;
    let is_directory =
        directory.is_empty() || resolved.found.is_some_and(|found| found.entry.kind.is_directory());
    let found: Vec<Located<'_>> = match resolved.found {
        _ if is_directory && args.recursive => {
            let all = view.walk(&directory);
            all.into_iter().filter(|one| one.entry.path != directory).collect()
        }
        _ if is_directory => view.list(&directory),
        Some(file) => vec![file],
        None => {
            return Err(Failure::new(format!("there is no `{}` in `{}`", args.path, args.image)));
        }
    };
    let above = if is_directory { directory.len() } else { parent_length(&directory) };
    let mut text = String::new();
    for located in found {
        if matches!(located.entry.kind, Kind::Whiteout) {
            continue;
        }
        let name = path::printable(located.entry.path.get(above..).unwrap_or_default());
        let name = name.trim_start_matches('/');
        text += &if args.json {
            format!("{}\n", object(view, located))
        } else if args.long {
            long(view, located, name)
        } else {
            format!("{name}\n")
        };
    }
    print(&text)
}

fn parent_length(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)
}

/// A line as `ls -l` has it, with numeric owners: the names are the image's own affair.
fn long(view: &View, located: Located<'_>, name: &str) -> String {
    let entry = located.entry;
    let time = jiff::Timestamp::from_second(entry.mtime).unwrap_or_default();
    let arrow = target(entry).map(|target| format!(" -> {target}")).unwrap_or_default();
    let size = match entry.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => format!("{major}, {minor}"),
        _ => size(view, located).to_string(),
    };
    format!(
        "{} {:>5} {:>5} {size:>10} {} {name}{arrow}\n",
        mode(entry),
        entry.uid,
        entry.gid,
        time.strftime("%Y-%m-%d %H:%M")
    )
}

fn object(view: &View, located: Located<'_>) -> serde_json::Value {
    let entry = located.entry;
    json!({
        "path": format!("/{}", String::from_utf8_lossy(&entry.path)),
        "type": kind(entry),
        "mode": format!("{:04o}", entry.mode),
        "uid": entry.uid,
        "gid": entry.gid,
        "size": size(view, located),
        "mtime": entry.mtime,
        "target": target(entry),
        "layer": located.diff_id,
    })
}

/// What an entry is, in one word.
pub(super) fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory { .. } => "directory",
        Kind::File { .. } | Kind::Hardlink { .. } => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::CharDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Fifo => "fifo",
        Kind::Whiteout => "whiteout",
    }
}

/// The bytes of a file, by whichever of its names.
pub(super) fn size(view: &View, located: Located<'_>) -> u64 {
    match view.content(located).map(|content| &content.entry.kind) {
        Some(Kind::File { size, .. }) => *size,
        _ => 0,
    }
}

fn target(entry: &Entry) -> Option<String> {
    match &entry.kind {
        Kind::Symlink { target } => Some(path::printable(target)),
        _ => None,
    }
}

/// `drwxr-xr-x`, with `s` and `t` as `ls` writes them.
pub(super) fn mode(entry: &Entry) -> String {
    let first = match entry.kind {
        Kind::Directory { .. } => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
        Kind::Fifo => 'p',
        Kind::File { .. } | Kind::Hardlink { .. } | Kind::Whiteout => '-',
    };
    let mut text = String::from(first);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, entry.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_in_ls() {
        let of = |kind: Kind, mode: u32| {
            let entry = Entry {
                path: b"x".to_vec(),
                kind,
                mode,
                uid: 0,
                gid: 0,
                mtime: 0,
                xattrs: std::collections::BTreeMap::new(),
            };
            super::mode(&entry)
        };
        assert_eq!(of(Kind::Directory { opaque: false }, 0o1777), "drwxrwxrwt");
        assert_eq!(of(Kind::File { size: 0, offset: 0 }, 0o4755), "-rwsr-xr-x");
        assert_eq!(of(Kind::File { size: 0, offset: 0 }, 0o6644), "-rwSr-Sr--");
        assert_eq!(of(Kind::Symlink { target: b"y".to_vec() }, 0o777), "lrwxrwxrwx");
    }
}

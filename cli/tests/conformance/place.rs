//! Puts lines on the disk, with modes, owners, links and attributes as they are written.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};

use crate::entry::{Entry, Kind};

/// Puts an entry below `root`; `gone` removes.
pub(crate) fn place(root: &Path, entry: &Entry) -> Result<(), String> {
    try_place(root, entry).map_err(|error| format!("cannot make `{}`: {error}", entry.path))
}

fn try_place(root: &Path, entry: &Entry) -> std::io::Result<()> {
    let path = root.join(entry.path.trim_start_matches('/'));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let node = |kind, device| mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), device);
    match &entry.kind {
        Kind::Gone if path.is_dir() => return fs::remove_dir_all(&path),
        Kind::Gone => return fs::remove_file(&path),
        Kind::Hard(target) => return fs::hard_link(root.join(target.trim_start_matches('/')), &path),
        Kind::File => fs::write(&path, entry.content.as_deref().unwrap_or_default())?,
        Kind::Directory => fs::create_dir_all(&path)?,
        Kind::Symlink(target) => symlink(target, &path)?,
        Kind::Fifo => node(FileType::Fifo, 0)?,
        Kind::Character(major, minor) => node(FileType::CharacterDevice, makedev(*major, *minor))?,
        Kind::Block(major, minor) => node(FileType::BlockDevice, makedev(*major, *minor))?,
        Kind::Socket => drop(UnixListener::bind(&path)?),
    }
    if let Some((uid, gid)) = entry.owner {
        lchown(&path, Some(uid), Some(gid))?;
    }
    if matches!(entry.kind, Kind::Symlink(_)) {
        return Ok(());
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        rustix::fs::setxattr(&path, name.as_str(), value, XattrFlags::empty())?;
    }
    if let Some(mtime) = entry.mtime {
        fs::File::open(&path)?.set_modified(UNIX_EPOCH + Duration::from_secs(mtime))?;
    }
    Ok(())
}

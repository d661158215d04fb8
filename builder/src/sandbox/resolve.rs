//! Paths inside an image, where every symlink may be hostile: they are followed inside the image only.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// As many symlinks as the kernel follows.
const MAX_SYMLINKS: usize = 40;

/// Opens `path` below `root` as a place (`O_PATH`), symlinks followed inside `root`.
pub(super) fn open(root: impl AsFd, path: impl AsRef<Path>) -> rustix::io::Result<OwnedFd> {
    let path = path.as_ref();
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 0..64 {
        let opened = rustix::fs::openat2(
            &root,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        match opened {
            // Something moved while a `..` was resolved.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Where a path inside an image leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The path without symlinks, relative to the root.
    pub(super) real: PathBuf,
    /// How many of its first components exist.
    pub(super) existing: usize,
    /// What is there, if all of it exists.
    pub(super) kind: Option<FileType>,
}

impl Located {
    /// The part that exists.
    pub(super) fn existing_part(&self) -> PathBuf {
        self.real.components().take(self.existing).collect()
    }
}

/// Finds where `path` leads below `root`, as far as it exists; what does not exist is taken as it is written. For
/// trees that nobody changes meanwhile: what is found is to be opened with [`open`] all the same.
pub(super) fn locate(root: impl AsFd, path: &Path) -> rustix::io::Result<Located> {
    locate_outside(root, path, &[])
}

/// The same, with what is below these directories of the root taken as it is written.
pub(super) fn locate_outside(root: impl AsFd, path: &Path, opaque: &[&str]) -> rustix::io::Result<Located> {
    let mut todo: VecDeque<OsString> = words(path).collect();
    let mut way: Vec<(OsString, Option<OwnedFd>)> = Vec::new();
    let mut kind = FileType::Directory;
    let mut links = 0;
    while let Some(word) = todo.pop_front() {
        if word == ".." {
            way.pop();
            kind = FileType::Directory;
            continue;
        }
        let here = match way.last() {
            Some((first, _)) if way.len() == 1 && opaque.iter().any(|opaque| first == opaque) => {
                way.push((word, None));
                continue;
            }
            Some((_, None)) => {
                way.push((word, None));
                continue;
            }
            Some((_, Some(fd))) => fd.as_fd(),
            None => root.as_fd(),
        };
        let stat = match rustix::fs::statat(here, &word, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                way.push((word, None));
                continue;
            }
            Err(error) => return Err(error),
        };
        kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(here, &word, Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                way.clear();
            }
            kind = FileType::Directory;
            for word in words(&target).collect::<Vec<_>>().into_iter().rev() {
                todo.push_front(word);
            }
            continue;
        }
        if kind != FileType::Directory && !todo.is_empty() {
            return Err(Errno::NOTDIR);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(here, &word, flags, Mode::empty())?;
        way.push((word, Some(fd)));
    }
    let existing = way.iter().take_while(|(_, fd)| fd.is_some()).count();
    let kind = (existing == way.len()).then_some(kind);
    Ok(Located { real: way.into_iter().map(|(word, _)| word).collect(), existing, kind })
}

/// Makes the directory at `path` below `root` with what is missing above it, 0755, and opens it. Returns too what was made.
pub(super) fn make_directory(root: impl AsFd, path: &Path) -> rustix::io::Result<(OwnedFd, Vec<OwnedFd>)> {
    let mut made = Vec::new();
    Ok((make_noting(root, path, true, &mut made)?, made))
}

/// Makes what is missing of `path`: directories, and at its end a directory or an empty file. Opens it.
pub(super) fn make(root: impl AsFd, path: &Path, directory: bool) -> rustix::io::Result<OwnedFd> {
    make_noting(root, path, directory, &mut Vec::new())
}

fn make_noting(
    root: impl AsFd,
    path: &Path,
    directory: bool,
    noted: &mut Vec<OwnedFd>,
) -> rustix::io::Result<OwnedFd> {
    match open(&root, path) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let located = locate(&root, path)?;
    let words: Vec<&OsStr> = located.real.iter().collect();
    let mut here = open(&root, located.existing_part())?;
    for (at, word) in words.iter().enumerate().skip(located.existing) {
        let last = at + 1 == words.len();
        let made = if last && !directory {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(&here, *word, flags, Mode::from_raw_mode(0o644)).map(drop)
        } else {
            rustix::fs::mkdirat(&here, *word, Mode::from_raw_mode(0o755))
        };
        let is_new = made.is_ok();
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, *word, flags, Mode::empty())?;
        if is_new {
            noted.push(rustix::io::fcntl_dupfd_cloexec(&here, 0)?);
        }
    }
    Ok(here)
}

/// The path that leads to an open place, for calls that take no descriptor.
pub(super) fn by_descriptor(fd: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

fn words(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(word) => Some(word.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn symlinks_lead_nowhere_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("run/lock")).unwrap();
        std::fs::create_dir_all(root.join("var")).unwrap();
        std::fs::write(dir.path().join("outside"), "x").unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../../outside", root.join("escape")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/not/here", root.join("dangling")).unwrap();
        let fd = std::fs::File::open(&root).unwrap();
        let located = |path: &str| {
            locate(&fd, Path::new(path)).map(|l| (l.real.to_str().unwrap().to_owned(), l.existing, l.kind))
        };
        let directory = Some(FileType::Directory);
        assert_eq!(located("/var/run/lock"), Ok(("run/lock".into(), 2, directory)));
        assert_eq!(located("/var/run/new/sub"), Ok(("run/new/sub".into(), 1, None)));
        assert_eq!(located("/escape"), Ok(("outside".into(), 0, None)));
        assert_eq!(located("/../../file"), Ok(("file".into(), 1, Some(FileType::RegularFile))));
        assert_eq!(located("/dangling/x"), Ok(("not/here/x".into(), 0, None)));
        assert_eq!(located("/file/x"), Err(Errno::NOTDIR));
        assert_eq!(located("/loop"), Err(Errno::LOOP));
        assert_eq!(located("/"), Ok((String::new(), 0, directory)));
        assert_eq!(open(&fd, "/escape").unwrap_err(), Errno::NOENT);
        make(&fd, Path::new("/dangling/x"), false).unwrap();
        assert!(root.join("not/here/x").is_file());
    }
}

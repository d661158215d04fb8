//! Opening what is below a directory, whatever symlinks somebody put there.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

use crate::index::path;

/// Opens `path` below `root` (itself for the empty path). A symlink anywhere on the way is an error
/// ([`Errno::LOOP`]), and so is one at the end, unless `flags` has `PATH`.
pub(crate) fn open(root: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let root = root.as_fd();
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let name = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::io::retry_on_intr(|| openat2(root, name, flags, mode, resolve)) {
        // Older kernels, sandboxes that emulate one, and seccomp filters that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_by_steps(root, path, flags, mode),
        // A rename somewhere on the machine came between.
        Err(Errno::AGAIN) => open_by_steps(root, path, flags, mode),
        opened => opened,
    }
}

fn open_by_steps(root: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some((parent, name)) = path::split(path) else { return openat(root, ".", flags, mode) };
    let mut directory = openat(root, ".", step, Mode::empty())?;
    for part in parent.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        if part == b".." {
            return Err(Errno::XDEV);
        }
        directory = openat(&directory, part, step, Mode::empty())?;
    }
    openat(&directory, name, flags, mode)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn no_symlink_leads_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/c"), "c").unwrap();
        for (link, target) in [("link", "a"), ("a/up", ".."), ("a/b/self", "c"), ("out", "/")] {
            std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
        }
        let root = File::open(dir.path()).unwrap();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        for by_steps in [false, true] {
            let try_open = |path: &[u8]| match by_steps {
                false => open(&root, path, flags, Mode::empty()),
                true => open_by_steps(&root, path, flags, Mode::empty()),
            };
            assert!(try_open(b"a/b/c").is_ok() && try_open(b"").is_ok());
            for path in [&b"link/b"[..], b"a/up/a", b"a/b/self", b"out/etc", b"a/../../etc", b"../etc"] {
                assert!(try_open(path).is_err(), "{}", path.escape_ascii());
            }
        }
    }
}

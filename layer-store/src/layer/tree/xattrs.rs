//! Extended attributes of a tree, and those that overlayfs keeps for itself.
//!
//! Trees are mounted with `userxattr`, so overlayfs acts on `user.overlay.*`, and on `trusted.overlay.*` if somebody
//! mounts one without. An image that carries such names must not act through them: in a tree they have one `overlay.`
//! more, which overlayfs takes off again for the processes in the mount (Linux 6.7).

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::{Errno, Result};

/// Marks an opaque directory of a tree, with the value `y`.
pub(crate) const OPAQUE: &[u8] = b"user.overlay.opaque";

const NAMESPACES: [&[u8]; 2] = [b"user.overlay.", b"trusted.overlay."];
const ESCAPE: &[u8] = b"overlay.";

/// The name in a tree of an attribute of a layer.
pub(crate) fn escaped(name: &[u8]) -> Vec<u8> {
    match NAMESPACES.iter().find_map(|space| Some((space, name.strip_prefix(*space)?))) {
        Some((space, rest)) => [space, ESCAPE, rest].concat(),
        None => name.to_vec(),
    }
}

/// The name in a layer of an attribute of a tree; `None` for overlayfs' own.
pub(crate) fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    match NAMESPACES.iter().find_map(|space| Some((space, name.strip_prefix(*space)?))) {
        Some((space, rest)) => Some([space, rest.strip_prefix(ESCAPE)?].concat()),
        None => Some(name.to_vec()),
    }
}

/// Whether an attribute belongs into a layer: what says something on any machine. Labels of security modules, sums of
/// integrity ones and caches of filesystems do not, nor does what only a privileged process can see.
pub(crate) fn is_portable(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Whether only a privileged process may set it.
pub(crate) fn is_privileged(name: &[u8]) -> bool {
    !name.starts_with(b"user.") && !name.starts_with(b"system.posix_acl_")
}

/// All attributes of an open file that can be read, by their names in the tree.
pub(crate) fn read(file: impl AsFd) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let file = file.as_fd();
    let mut names = vec![0; 1024];
    let names = loop {
        match flistxattr(file, names.as_mut_slice()) {
            Ok(length) => {
                names.truncate(length);
                break names;
            }
            // 64 KiB is the kernel's bound.
            Err(Errno::RANGE) if names.len() < 65536 => names = vec![0; 65536],
            Err(Errno::NOTSUP) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        }
    };
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if let Some(value) = value(file, name)? {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// The value of an attribute, if the file has it and it can be read.
pub(crate) fn value(file: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        match fgetxattr(file.as_fd(), name, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < 65536 => value = vec![0; 65536],
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Gives an open file an attribute by its name in the tree. Whether that could be done: filesystems that have none,
/// or not as much of them, and missing privilege are no errors, since the index has the truth.
pub(crate) fn set(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<bool> {
    match fsetxattr(file, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::TOOBIG | Errno::RANGE | Errno::NOSPC) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// A file capability as any machine reads it: the third version names the user namespace's root, which the second, else
/// the same, leaves out.
pub(crate) fn portable_capability(value: Vec<u8>) -> Vec<u8> {
    const REVISION: u32 = 0xff00_0000;
    let Some(magic) = value.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) else { return value };
    if magic & REVISION != 0x0300_0000 || value.len() != 24 {
        return value;
    }
    let second = 0x0200_0000 | (magic & !REVISION);
    [&second.to_le_bytes(), &value[4..20]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_overlayfs_are_escaped() {
        for (layer, tree) in [
            ("user.overlay.opaque", "user.overlay.overlay.opaque"),
            ("user.overlay.overlay.x", "user.overlay.overlay.overlay.x"),
            ("trusted.overlay.redirect", "trusted.overlay.overlay.redirect"),
            ("user.overlayfs", "user.overlayfs"),
            ("security.capability", "security.capability"),
        ] {
            assert_eq!(escaped(layer.as_bytes()), tree.as_bytes());
            assert_eq!(unescaped(tree.as_bytes()).unwrap(), layer.as_bytes());
        }
        assert_eq!(unescaped(b"user.overlay.origin"), None);
        assert_eq!(unescaped(b"trusted.overlay.opaque"), None);
    }

    #[test]
    fn capabilities_lose_their_namespace() {
        let third = [&0x0300_0001_u32.to_le_bytes()[..], &[7; 16], &100_000_u32.to_le_bytes()].concat();
        let second = [&0x0200_0001_u32.to_le_bytes()[..], &[7; 16]].concat();
        assert_eq!(portable_capability(third), second);
        assert_eq!(portable_capability(second.clone()), second);
        assert_eq!(portable_capability(vec![1]), [1]);
    }
}

//! Mounts by descriptor, so that no path is resolved twice.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags};

use super::failure::Refused as _;
use super::report::Failure;
use super::{resolve, sys};

/// No set-user-id, no devices, no programs.
pub(super) const INERT: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// The longest string that `fsconfig` takes.
const MAX_CONFIG: usize = 255;

/// A new filesystem that is not mounted anywhere yet.
pub(super) fn filesystem(
    kind: &str,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).refused(&format!("fsopen({kind})"))?;
    // What `mount` and `df` show as the source.
    let _ = rustix::mount::fsconfig_set_string(&fs, "source", kind);
    for (key, value) in options {
        let set = if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&fs, *key)
        } else {
            rustix::mount::fsconfig_set_string(&fs, *key, *value)
        };
        set.refused(&format!("fsconfig({kind}, {key}={value})"))?;
    }
    rustix::mount::fsconfig_create(&fs).refused(&format!("mount({kind})"))?;
    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags).refused(&format!("fsmount({kind})"))
}

/// A tmpfs that is not mounted anywhere yet.
pub(super) fn tmpfs(mode: &str, size: Option<u64>, flags: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let size = size.map(|size| size.to_string());
    let mut options = vec![("mode", mode)];
    options.extend(size.as_deref().map(|size| ("size", size)));
    filesystem("tmpfs", &options, flags)
}

/// Another view of what is at a place, not mounted anywhere yet. Recursive, since inside a user namespace what is
/// mounted below may not be uncovered.
pub(super) fn clone_of(place: impl AsFd, flags: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let mount = rustix::mount::open_tree(
        place,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE,
    )
    .refused("open_tree(OPEN_TREE_CLONE)")?;
    if !flags.is_empty() {
        sys::mount_setattr(mount.as_fd(), true, flags.bits().into()).refused("mount_setattr")?;
    }
    Ok(mount)
}

/// The same of a path of the host.
pub(super) fn clone_of_path(path: &Path, flags: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let place = rustix::fs::open(path, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, Mode::empty())
        .refused_on("open", path)?;
    clone_of(place, flags)
}

/// Mounts at an open place what was not mounted yet.
pub(super) fn attach(mount: impl AsFd, place: impl AsFd) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags).refused("move_mount")
}

/// Mounts memory at a directory.
pub(super) fn memory_at(place: &Path) -> Result<(), Failure> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let open = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let fd = rustix::fs::open(place, open, Mode::empty()).refused_on("open", place)?;
    attach(tmpfs("755", None, flags)?, fd)
}

/// What an overlay is made of. Relative paths are below the working directory.
pub(super) struct Overlay<'a> {
    /// Trees, bottom first; at least one.
    pub(super) lowers: Vec<&'a Path>,
    /// Where changes go, and a directory for the kernel beside it. Without, the overlay is read-only and wants two
    /// lower trees.
    pub(super) upper: Option<(&'a Path, &'a Path)>,
}

impl Overlay<'_> {
    /// Mounts it at `target`, an existing directory.
    ///
    /// With `userxattr` on every rung, so that trees have one format; `volatile`, since unmounting would otherwise
    /// sync the whole filesystem for each step (the store syncs what it keeps).
    pub(super) fn attach(&self, target: &Path) -> Result<(), Failure> {
        match self.attach_by_config(target) {
            Err(failure)
                if failure.call == "fsconfig(lowerdir+)"
                    && failure.errno == Some(Errno::INVAL.raw_os_error()) =>
            {
                self.attach_by_option(target)
            }
            other => other,
        }
    }

    /// One call a layer, without a limit on their number but the kernel's 500 (Linux 6.7).
    fn attach_by_config(&self, target: &Path) -> Result<(), Failure> {
        let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).refused("fsopen(overlay)")?;
        let set = |key: &str, value: &Path| {
            // A path that is too long goes by a descriptor, which must live until the kernel has looked it up.
            let (_held, value) = if value.as_os_str().len() > MAX_CONFIG {
                let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
                let place = rustix::fs::open(value, flags, Mode::empty()).refused_on("open", value)?;
                let path = resolve::by_descriptor(&place);
                (Some(place), path)
            } else {
                (None, value.to_owned())
            };
            rustix::mount::fsconfig_set_string(&fs, key, value.as_os_str())
                .refused_on(&format!("fsconfig({key})"), value)
        };
        for lower in self.lowers.iter().rev() {
            set("lowerdir+", lower)?;
        }
        let mut flags = vec!["userxattr"];
        if let Some((upper, work)) = self.upper {
            set("upperdir", upper)?;
            set("workdir", work)?;
            flags.push("volatile");
        }
        for flag in flags {
            rustix::mount::fsconfig_set_flag(&fs, flag).refused(&format!("fsconfig(overlay, {flag})"))?;
        }
        rustix::mount::fsconfig_create(&fs).refused("mount(overlay)")?;
        let mount = rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .refused("fsmount(overlay)")?;
        rustix::mount::move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .refused_on("move_mount(overlay)", target)
    }

    /// All layers in one option, which holds a page of text: the layers go by symlinks of few letters.
    fn attach_by_option(&self, target: &Path) -> Result<(), Failure> {
        let names = PathBuf::from(format!("{}-l", target.display()));
        rustix::fs::mkdir(&names, Mode::from_raw_mode(0o700)).refused_on("mkdir", &names)?;
        let here = rustix::process::getcwd(Vec::new()).refused("getcwd")?;
        let here = Path::new(OsStr::new(here.to_str().unwrap_or("/")));
        let mut option = String::from("userxattr,lowerdir=");
        for (at, lower) in self.lowers.iter().rev().enumerate() {
            let name = format!("{at:x}");
            rustix::fs::symlink(here.join(lower), names.join(&name))
                .refused_on("symlink", names.join(&name))?;
            if at > 0 {
                option.push(':');
            }
            option.push_str(&name);
        }
        if let Some((upper, work)) = self.upper {
            rustix::fs::symlink(here.join(upper), names.join("u")).refused_on("symlink", upper)?;
            rustix::fs::symlink(here.join(work), names.join("w")).refused_on("symlink", work)?;
            option.push_str(",upperdir=u,workdir=w,volatile");
        }
        let option = std::ffi::CString::new(option).unwrap_or_default();
        rustix::process::chdir(&names).refused_on("chdir", &names)?;
        let mounted = rustix::mount::mount(
            "overlay",
            here.join(target),
            "overlay",
            MountFlags::empty(),
            Some(option.as_c_str()),
        )
        .refused_on("mount(overlay)", target);
        rustix::process::chdir(here).refused_on("chdir", here)?;
        mounted
    }
}

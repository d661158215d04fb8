//! A step's root filesystem: the overlay, what is mounted in it, and how it leaves no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::failure::Refused as _;
use super::features::Features;
use super::mounting::{INERT, Overlay, attach, clone_of, tmpfs};
use super::report::{Failure, Filesystem};
use super::stacks::Stack;
use super::step::{Network, Step};
use super::step_mounts::{self, Prepared};
use super::wire::NotRun;
use super::{copies, files, pasta, resolve, system_mounts};

/// The places that an image without them gets, and keeps (as from BuildKit).
pub(super) const SYSTEM: [&str; 3] = ["dev", "proc", "sys"];

/// Builds everything below `step.scratch` and makes it this process's root. `stack` has the lowest layers of a step with
/// many, `secrets` are the contents of the step's secret mounts, in order. Gives the directory that has what the step
/// changes, which is out of reach by then.
pub(super) fn enter(
    step: &Step,
    stack: Option<&Stack>,
    secrets: Vec<OwnedFd>,
    features: &Features,
) -> Result<OwnedFd, NotRun> {
    let changes = changes(&step.scratch, features.filesystem);
    attach(tmpfs("755", None, INERT)?, open_directory(&features.place)?)?;
    rustix::process::chdir(&features.place).refused_on("chdir", &features.place)?;
    make_directory("root")?;
    let files = files_of_ours(step)?;
    let mut mounts = step_mounts::prepare(step, &changes, secrets, features.filesystem)?;
    let changed = match features.filesystem {
        Filesystem::Copy => copies::attach(step, files.iter().chain(&mounts), Path::new("root"))?,
        Filesystem::Overlay | Filesystem::OverlayInMemory => {
            overlay(step, stack, &changes, files.iter().chain(&mounts))?
        }
    };
    let root = open_directory("root")?;
    for name in SYSTEM {
        match rustix::fs::mkdirat(&root, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Err::<(), _>(error).refused_on("mkdir", name).unwrap_err().into()),
        }
    }
    system_mounts::mount_all(&root, step, features)?;
    for file in files {
        file.attach(&root)?;
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    for mount in mounts {
        mount.attach(&root)?;
    }
    switch_root(&root, features)?;
    Ok(changed)
}

/// Mounts the step's layers at `root`, with the places for its mounts that they lack. Gives the upper directory.
fn overlay<'a>(
    step: &Step,
    stack: Option<&Stack>,
    changes: &Path,
    mounts: impl Iterator<Item = &'a Prepared>,
) -> Result<OwnedFd, NotRun> {
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    make_directory(&upper)?;
    work_directory(&work)?;
    let layers = stack.map_or(step.lowers.as_slice(), |stack| stack.others(&step.lowers));
    let trees: Vec<&Path> =
        stack.map(Stack::mount).into_iter().chain(layers.iter().map(PathBuf::as_path)).collect();
    let stubs = stubs(&trees, mounts)?;
    let mut lowers = trees;
    lowers.extend(stubs.as_deref());
    if lowers.is_empty() {
        lowers.push(Path::new("empty"));
    }
    if let Some(top) = step.lowers.last() {
        same_root(top, &upper)?;
    }
    Overlay { lowers, upper: Some((&upper, &work)) }.attach(Path::new("root"))?;
    Ok(open_directory(upper)?)
}

/// The directory of a step's scratch directory where its changes go.
pub(super) fn changes(scratch: &Path, filesystem: Filesystem) -> PathBuf {
    match filesystem {
        Filesystem::OverlayInMemory => scratch.join("memory"),
        Filesystem::Overlay | Filesystem::Copy => scratch.to_owned(),
    }
}

/// Makes an open directory, which is a mount, this process's root, and lets go of everything else.
pub(super) fn switch_root(root: impl AsFd, features: &Features) -> Result<(), Failure> {
    rustix::process::fchdir(&root).refused("fchdir(root)")?;
    if features.pivot_root {
        rustix::process::pivot_root(".", ".").refused("pivot_root")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).refused("umount(old root)")?;
    } else {
        // Refused by seccomp or on an initramfs: cover the old root instead. Nothing leads below it: `..` of the
        // new root is the new root.
        rustix::mount::mount_move(".", "/").refused("mount(MS_MOVE)")?;
        rustix::process::chroot(".").refused("chroot")?;
    }
    rustix::process::chdir("/").refused("chdir(/)")
}

/// `resolv.conf` and `hosts`, which BuildKit mounts read-only as well. The image keeps its own.
fn files_of_ours(step: &Step) -> Result<Vec<Prepared>, Failure> {
    let mut prepared = Vec::new();
    for (name, content) in resolver_files(step) {
        let path = Path::new(name);
        std::fs::write(path, content).refused_on("write", path)?;
        let place =
            rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).refused_on("open", path)?;
        prepared.push(Prepared {
            target: Path::new("/etc").join(name),
            mount: clone_of(place, INERT | rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY)?,
            directory: false,
            tmpfs: false,
        });
    }
    Ok(prepared)
}

/// What is in `/etc` by the network's grace: names and contents.
pub(super) fn resolver_files(step: &Step) -> [(&'static str, Vec<u8>); 2] {
    let mut resolv = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    if step.network == Network::Private {
        let text = String::from_utf8_lossy(&resolv);
        let others = text.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
        let mut lines: Vec<String> = others.map(str::to_owned).collect();
        lines.push(format!("nameserver {}\n", pasta::RESOLVER));
        resolv = lines.join("\n").into_bytes();
    }
    let mut hosts =
        format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", step.hostname);
    for (name, address) in &step.extra_hosts {
        let _ = writeln!(hosts, "{address}\t{name}");
    }
    [("resolv.conf", resolv), ("hosts", hosts.into_bytes())]
}

/// A tree for on top of the lower ones that has the mount points they lack, and nothing else. So the step's own
/// changes never contain one.
fn stubs<'a>(trees: &[&Path], mounts: impl Iterator<Item = &'a Prepared>) -> Result<Option<PathBuf>, NotRun> {
    let mut lowers = trees.to_vec();
    for name in ["stubs", "look", "empty", "nothing"] {
        make_directory(name)?;
    }
    // Without an upper directory an overlay wants two lower ones.
    for filler in ["empty", "nothing"] {
        if lowers.len() < 2 {
            lowers.insert(0, Path::new(filler));
        }
    }
    Overlay { lowers, upper: None }.attach(Path::new("look"))?;
    let image = open_directory("look")?;
    let missing = missing(&image, mounts)?;
    if missing.is_empty() {
        return Ok(None);
    }
    let top = rustix::fs::open("stubs", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .refused("open(stubs)")?;
    let mut copied = BTreeSet::from([PathBuf::new()]);
    for stub in places(&missing) {
        make_place(&top, &stub)?;
        if stub.exists {
            copied.insert(stub.path);
        }
    }
    // The topmost directory of an overlay decides what the merged one looks like. Deepest first, so that what is
    // made in a directory does not touch a time that was set.
    for path in copied.iter().rev() {
        same_directory(&image, &top, path)?;
    }
    Ok(Some(PathBuf::from("stubs")))
}

/// The mount points that an image lacks: each path, how many of its components exist, and whether it is a directory.
type Missing = BTreeMap<PathBuf, (usize, bool)>;

/// Finds them. What is in the image takes the mode that a mount of memory over it shall have.
pub(super) fn missing<'a>(
    image: &OwnedFd,
    mounts: impl Iterator<Item = &'a Prepared>,
) -> Result<Missing, NotRun> {
    let mut missing = BTreeMap::new();
    let system: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    let mut covered = system.clone();
    for mount in mounts {
        let impossible =
            |reason: String| NotRun::Mount { target: mount.target.display().to_string(), reason };
        let located = resolve::locate(image, &mount.target)
            .map_err(|error| impossible(std::io::Error::from(error).to_string()))?;
        if located.real.as_os_str().is_empty() {
            return Err(impossible("the root cannot be mounted over".to_owned()));
        }
        // As in BuildKit, a directory of the system that a mount needs on its way is not kept for itself.
        if located.existing == 0
            && let Some(above) = system.iter().find(|above| located.real.starts_with(above))
        {
            missing.insert(above.clone(), (0, true));
        }
        // A target inside another mount is made there.
        if covered.iter().any(|above| located.real.starts_with(above)) {
            continue;
        }
        if located.kind.is_none() {
            missing.insert(located.real.clone(), (located.existing, mount.directory));
        } else if mount.tmpfs {
            same_mode(image, &mount.mount, &located.real)?;
        }
        covered.push(located.real);
    }
    Ok(missing)
}

/// Something on the way to a mount point, or that itself.
pub(super) struct Stub {
    pub(super) path: PathBuf,
    pub(super) directory: bool,
    /// The image has it.
    pub(super) exists: bool,
}

/// Each step of the ways to what is missing, once, from above.
pub(super) fn places(missing: &Missing) -> Vec<Stub> {
    let mut seen = BTreeSet::new();
    let mut places = Vec::new();
    for (path, (existing, directory)) in missing {
        let mut so_far = PathBuf::new();
        let length = path.iter().count();
        for (at, word) in path.iter().enumerate() {
            so_far.push(word);
            if seen.insert(so_far.clone()) {
                let directory = *directory || at + 1 < length;
                places.push(Stub { path: so_far.clone(), directory, exists: at < *existing });
            }
        }
    }
    places
}

/// Makes an empty directory or file below `root`.
pub(super) fn make_place(root: impl AsFd, stub: &Stub) -> Result<(), Failure> {
    let Stub { path, directory, .. } = stub;
    if *directory {
        return rustix::fs::mkdirat(&root, path, Mode::from_raw_mode(0o755)).refused_on("mkdir", path);
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(&root, path, flags, Mode::from_raw_mode(0o644)).refused_on("create", path).map(drop)
}

/// Gives the root of a mount the mode of the directory that it will cover, as runc does.
fn same_mode(image: &OwnedFd, mount: &OwnedFd, path: &Path) -> Result<(), Failure> {
    let stat = rustix::fs::statat(image, path, AtFlags::SYMLINK_NOFOLLOW).refused_on("stat", path)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::openat(mount, ".", flags, Mode::empty()).refused_on("open", path)?;
    rustix::fs::fchmod(place, Mode::from_raw_mode(stat.st_mode & 0o7777)).refused_on("chmod", path)
}

/// Gives the directory `path` below `to` the owner, mode, attributes and times that it has below `from`.
fn same_directory(from: impl AsFd, to: impl AsFd, path: &Path) -> Result<(), Failure> {
    let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).refused_on("stat", path)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(&to, name, flags, Mode::empty()).refused_on("open", path)?;
    if let Ok(source) = rustix::fs::openat(&from, name, flags, Mode::empty()) {
        copy_attributes(&source, &target);
    }
    same_metadata(&stat, &target, path)
}

/// Extended attributes of a directory, but the overlay's own. Best effort: a filesystem may not take all.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) {
    let mut names = vec![0; 65536];
    let Ok(length) = rustix::fs::flistxattr(from, &mut names[..]) else { return };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; 65536];
        if let Ok(length) = rustix::fs::fgetxattr(from, name, &mut value[..]) {
            let _ = rustix::fs::fsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty());
        }
    }
}

fn same_metadata(stat: &rustix::fs::Stat, target: &OwnedFd, path: &Path) -> Result<(), Failure> {
    // With one id mapped every owner reads as ours or as nobody's; the layer takes it from below either way.
    match rustix::fs::fchown(target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))) {
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(error) => return Err(error).refused_on("chown", path),
    }
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777)).refused_on("chmod", path)?;
    let time = |seconds, nanoseconds| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = rustix::fs::Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::futimens(target, &times).refused_on("utimensat", path)
}

/// The upper directory is the root that the step sees: it gets the image's.
fn same_root(top: &Path, upper: &Path) -> Result<(), Failure> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(CWD, top, flags, Mode::empty()).refused_on("open", top)?;
    let to = rustix::fs::openat(CWD, upper, flags, Mode::empty()).refused_on("open", upper)?;
    let stat = rustix::fs::fstat(&from).refused_on("stat", top)?;
    copy_attributes(&from, &to);
    same_metadata(&stat, &to, upper)
}

pub(super) fn open_directory(path: impl AsRef<Path>) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path.as_ref(), flags, Mode::empty()).refused_on("open", path)
}

/// Makes a directory if it is not there.
pub(super) fn make_directory(name: impl AsRef<Path>) -> Result<(), Failure> {
    match rustix::fs::mkdir(name.as_ref(), Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).refused_on("mkdir", name),
    }
}

/// Makes the kernel's directory of an overlay anew: one of an earlier `volatile` mount is refused. That is so where a
/// failed step is looked at.
pub(super) fn work_directory(path: &Path) -> Result<(), Failure> {
    if let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
        let above = open_directory(above)?;
        files::remove_entry(above.as_fd(), Path::new(name)).refused_on("rmdir", path)?;
    }
    make_directory(path)
}

/// Whether something is a directory.
pub(super) fn is_directory(place: impl AsFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(place)?.st_mode) == FileType::Directory)
}

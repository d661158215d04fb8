//! `/proc`, `/dev` and `/sys` of a step, as a container has them (OCI runtime specification, "Default Filesystems",
//! and moby `daemon/pkg/oci/defaults.go`).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::failure::Refused as _;
use super::features::Features;
use super::mounting::{INERT, attach, clone_of, clone_of_path, filesystem, tmpfs};
use super::report::Failure;
use super::resolve;
use super::step::{Network, Step};

/// Kernel paths that tell or change too much: hidden behind nothing.
pub(super) const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];
/// Kernel paths that can be read only.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
/// The devices that every container has, with their numbers.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Mounts all of it below `root`, where `proc`, `dev` and `sys` exist.
pub(super) fn mount_all(root: impl AsFd, step: &Step, features: &Features) -> Result<(), Failure> {
    let root = root.as_fd();
    proc(root, features)?;
    devices(root, step, features)?;
    sys(root, step, features)?;
    if !step.insecure {
        protect(root)?;
    }
    Ok(())
}

fn proc(root: impl AsFd, features: &Features) -> Result<(), Failure> {
    let mount = if features.own_proc {
        filesystem("proc", &[], INERT)?
    } else {
        // What hides parts of it from this process hides them from the step as well.
        clone_of_path(Path::new("/proc"), MountAttrFlags::empty())?
    };
    attach_at(root, "proc", mount)
}

fn sys(root: impl AsFd, step: &Step, features: &Features) -> Result<(), Failure> {
    let read_only = if step.insecure { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
    // A network namespace of the step's own may bring the right to it.
    let own = features.own_sys || step.network == Network::None;
    let Some(mount) = own.then(|| filesystem("sysfs", &[], INERT | read_only).ok()).flatten() else {
        let bound = clone_of_path(Path::new("/sys"), INERT | MountAttrFlags::MOUNT_ATTR_RDONLY);
        // Builds do without.
        return bound.map_or(Ok(()), |mount| attach_at(root, "sys", mount));
    };
    attach_at(&root, "sys", mount)?;
    if let Ok(place) = resolve::open(&root, "sys/fs/cgroup")
        && let Ok(mount) = filesystem("cgroup2", &[], INERT | read_only)
    {
        attach(mount, place)?;
    }
    Ok(())
}

fn devices(root: impl AsFd, step: &Step, features: &Features) -> Result<(), Failure> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    let mount = tmpfs("755", Some(64 << 20), flags)?;
    attach_at(&root, "dev", mount)?;
    let dev = resolve::open(&root, "dev").refused_on("open", "/dev")?;
    for (name, major, minor) in DEVICES {
        let made = features.device_nodes
            && rustix::fs::mknodat(
                &dev,
                name,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                rustix::fs::makedev(major, minor),
            )
            .is_ok();
        if !made {
            bind_device(&dev, name, &Path::new("/dev").join(name))?;
        }
    }
    for path in &step.devices {
        if let Ok(name) = path.strip_prefix("/dev") {
            bind_device(&dev, name, path)?;
        }
    }
    links(&dev)?;
    for name in ["pts", "shm", "mqueue"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))
            .refused_on("mkdir", Path::new("/dev").join(name))?;
    }
    let no_programs = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mut options = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if features.tty_group {
        options.push(("gid", "5"));
    }
    attach_at(&dev, "pts", filesystem("devpts", &options, no_programs)?)?;
    attach_at(&dev, "shm", tmpfs("1777", Some(step.shm_size), INERT)?)?;
    if let Ok(mount) = filesystem("mqueue", &[], INERT) {
        attach_at(&dev, "mqueue", mount)?;
    }
    Ok(())
}

/// The same in a real directory, for a step without mounts. Gives the names of those that cannot be made, as inside a
/// user namespace: a file is in the place of each.
pub(super) fn make_devices(dev: &OwnedFd, step: &Step) -> Result<Vec<&'static str>, Failure> {
    let mut missing = Vec::new();
    for (name, major, minor) in DEVICES {
        let (number, mode) = (rustix::fs::makedev(major, minor), Mode::from_raw_mode(0o666));
        let made = rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, number).is_ok()
            && rustix::fs::chmodat(dev, name, mode, rustix::fs::AtFlags::empty()).is_ok();
        if !made {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let place = Path::new("/dev").join(name);
            let file = rustix::fs::openat(dev, name, flags, mode).refused_on("create", &place)?;
            rustix::fs::fchmod(&file, mode).refused_on("chmod", &place)?;
            missing.push(name);
        }
    }
    for path in &step.devices {
        if let (Ok(name), Ok(stat)) = (path.strip_prefix("/dev"), rustix::fs::stat(path)) {
            let kind = FileType::from_raw_mode(stat.st_mode);
            rustix::fs::mknodat(dev, name, kind, Mode::from_raw_mode(0o666), stat.st_rdev)
                .refused_on("mknod", path)?;
        }
    }
    links(dev)?;
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        let place = Path::new("/dev").join(name);
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(mode)).refused_on("mkdir", &place)?;
        let _ = rustix::fs::chmodat(dev, name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty());
    }
    Ok(missing)
}

fn links(dev: &OwnedFd) -> Result<(), Failure> {
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, dev, name).refused_on("symlink", Path::new("/dev").join(name))?;
    }
    Ok(())
}

fn bind_device(dev: impl AsFd, name: impl AsRef<Path>, host: &Path) -> Result<(), Failure> {
    let place = resolve::make(&dev, name.as_ref(), false).refused_on("create", host)?;
    attach(clone_of_path(host, MountAttrFlags::empty())?, place)
}

/// Hides and write-protects kernel paths. What is not there needs no protection.
fn protect(root: impl AsFd) -> Result<(), Failure> {
    let mut nothing: Option<OwnedFd> = None;
    for path in MASKED {
        let Ok(place) = resolve::open(&root, path) else { continue };
        let stat = rustix::fs::fstat(&place).refused_on("stat", path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            attach(tmpfs("755", None, INERT | MountAttrFlags::MOUNT_ATTR_RDONLY)?, place)?;
        } else {
            let null = match &nothing {
                Some(null) => null,
                None => nothing.insert(resolve::open(&root, "dev/null").refused_on("open", "/dev/null")?),
            };
            attach(clone_of(null, MountAttrFlags::empty())?, place)?;
        }
    }
    for path in READ_ONLY {
        let Ok(place) = resolve::open(&root, path) else { continue };
        let mount = clone_of(&place, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        attach(mount, place)?;
    }
    Ok(())
}

fn attach_at(root: impl AsFd, path: &str, mount: OwnedFd) -> Result<(), Failure> {
    let place = rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        rustix::fs::ResolveFlags::IN_ROOT
            | rustix::fs::ResolveFlags::NO_MAGICLINKS
            // An image's `/dev` that is a symlink must not move a mount elsewhere.
            | rustix::fs::ResolveFlags::NO_SYMLINKS,
    )
    .refused_on("open", path)?;
    attach(mount, place).map_err(|failure| Failure { path: Some(path.into()), ..failure })
}

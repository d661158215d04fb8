//! Finds out what works in the keeper's namespaces, by doing it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::failure::{Refused as _, because};
use super::features::{Features, OPTIONAL_NAMESPACES};
use super::keeper::{Orders, in_child};
use super::mounting::{INERT, Overlay, tmpfs};
use super::report::{Degradation, Failure, Filesystem, REMOVED_FILES, Report, Rung};
use super::{capabilities, emulation, landlock, marks, mounting, sys};

/// Tries everything that a step needs. An error means that this rung does not work.
pub(super) fn probe(orders: &Orders, id_map: &str) -> Result<(Features, Report), Failure> {
    std::fs::create_dir_all(&orders.store_root).refused_on("mkdir", &orders.store_root)?;
    if orders.rung == Rung::Chroot {
        return probe_chroot(orders, id_map);
    }
    let scratch = tempfile::Builder::new()
        .prefix(".probe-")
        .tempdir_in(&orders.store_root)
        .refused_on("mkdir", &orders.store_root)?;
    let place = orders.store_root.join("sandbox");
    std::fs::create_dir_all(&place).refused_on("mkdir", &place)?;
    if orders.rung == Rung::Root {
        many_ids()?;
    }
    let mut degradations = Vec::new();
    let namespaces = namespaces(&mut degradations);
    let (filesystem, mut found) = root_filesystem(scratch.path(), namespaces, &mut degradations)?;
    let marks = filesystem != Filesystem::Copy && found.marks.is_none();
    degradations.extend(found.marks.take().map(|failure| Degradation {
        feature: REMOVED_FILES.to_owned(),
        instead: "marks in memory".to_owned(),
        cost: "some directories of memory for each layer that removes files".to_owned(),
        failure,
    }));
    let mut works = |failure: Option<Failure>, feature: &str, instead: &str, cost: &str| {
        let works = failure.is_none();
        degradations.extend(failure.map(|failure| Degradation {
            feature: feature.to_owned(),
            instead: instead.to_owned(),
            cost: cost.to_owned(),
            failure,
        }));
        works
    };
    let ids = mapped_ids("/proc/self/uid_map");
    let features = Features {
        place,
        namespaces,
        own_proc: works(
            found.proc,
            "proc",
            "the builder's /proc, bound",
            "a step sees the processes around it, and numbers of its own processes differ from what getpid() says",
        ),
        own_sys: works(found.sys, "sysfs", "the builder's /sys, bound read-only", "none for a build"),
        device_nodes: found.device_nodes,
        hostname: works(
            found.hostname,
            "hostname",
            "the builder's host name",
            "programs that record the host name record another",
        ),
        pivot_root: works(
            found.pivot_root,
            "pivot_root",
            "a moved mount and chroot",
            "none: the old root is out of reach as well",
        ),
        tty_group: mapped(5, "/proc/self/gid_map"),
        chroot: false,
        hands_over: false,
        confines: false,
        emulates_ids: orders.rung == Rung::Single,
        filesystem,
        marks,
        seccomp: capabilities::effective().contains(rustix::thread::CapabilitySet::SYS_ADMIN),
    };
    let report = Report { rung: orders.rung, id_map: id_map.to_owned(), ids, filesystem, degradations };
    Ok((features, report))
}

/// The best root that a step can have here, and what else was found with it. An error is why there is no overlay on the
/// store: nothing of the kind works then.
fn root_filesystem(
    scratch: &Path,
    namespaces: i32,
    degradations: &mut Vec<Degradation>,
) -> Result<(Filesystem, Found), Failure> {
    const KINDS: [(Filesystem, &str, &str, &str); 3] = [
        (Filesystem::Overlay, "disk", "", ""),
        (
            Filesystem::OverlayInMemory,
            "memory",
            "an overlay whose changes are in memory",
            "what a step writes takes memory until it is a layer, and is then copied to the disk",
        ),
        (
            Filesystem::Copy,
            "copy",
            "a copy of the image",
            "the first step over an image writes it out unless the disk can share its blocks, and each looks at all its files",
        ),
    ];
    let mut first = None;
    for (filesystem, name, instead, cost) in KINDS {
        let mut found = in_child(namespaces, || try_all(&scratch.join(name), filesystem))?;
        match found.root.take() {
            Some(failure) => {
                first.get_or_insert(failure);
            }
            None => {
                degradations.extend(first.map(|failure| Degradation {
                    feature: "overlay".to_owned(),
                    instead: instead.to_owned(),
                    cost: cost.to_owned(),
                    failure,
                }));
                return Ok((filesystem, found));
            }
        }
    }
    Err(first.unwrap_or_else(|| because("mount(overlay)", "")))
}

/// Root of a user namespace that has no other id can be nobody else: a step needs other users, and other owners.
fn many_ids() -> Result<(), Failure> {
    if mapped_ids("/proc/self/uid_map") < 2 || mapped_ids("/proc/self/gid_map") < 2 {
        return Err(because("setresuid", "only one id is mapped in the user namespace that this is"));
    }
    let refused = in_child(0, || rustix::thread::set_thread_groups(&[]).refused("setgroups").err())?;
    refused.map_or(Ok(()), Err)
}

/// The rung without mounts needs little: to give files away and to change the root.
fn probe_chroot(orders: &Orders, id_map: &str) -> Result<(Features, Report), Failure> {
    let root = orders.store_root.clone();
    if let Some(failure) = in_child(0, || rustix::process::chroot(&root).refused_on("chroot", &root).err())? {
        return Err(failure);
    }
    let file =
        tempfile::NamedTempFile::new_in(&orders.store_root).refused_on("create", &orders.store_root)?;
    std::os::unix::fs::fchown(&file, Some(1), Some(1)).refused_on("chown", file.path())?;
    let (hands_over, confines) = in_child(0, try_confinement)?;
    let features = Features {
        place: PathBuf::new(),
        namespaces: 0,
        own_proc: false,
        own_sys: false,
        device_nodes: true,
        hostname: false,
        pivot_root: false,
        tty_group: false,
        chroot: true,
        hands_over: hands_over.is_none(),
        confines: confines.is_none(),
        emulates_ids: false,
        filesystem: Filesystem::Copy,
        marks: false,
        seccomp: capabilities::effective().contains(rustix::thread::CapabilitySet::SYS_ADMIN),
    };
    let ids = mapped_ids("/proc/self/uid_map");
    let degradations = without_mounts(hands_over, confines);
    let filesystem = features.filesystem;
    Ok((features, Report { rung: orders.rung, id_map: id_map.to_owned(), ids, filesystem, degradations }))
}

/// Why the kernel's files cannot be handed over, and why a step cannot be confined; nothing where it can.
fn try_confinement() -> (Option<Failure>, Option<Failure>) {
    let _ = rustix::thread::set_no_new_privs(true);
    let listener = sys::install_notifying_filter(&emulation::filter_without_mounts());
    let hands_over = listener.refused("seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)").and_then(|listener| {
        let can = sys::can_hand_over(&listener);
        let old = || because("ioctl(SECCOMP_IOCTL_NOTIF_ADDFD)", "the kernel is older than 5.14");
        if can { Ok(()) } else { Err(old()) }
    });
    (hands_over.err(), landlock::version().refused("landlock_create_ruleset").err())
}

/// What a step without mounts and namespaces has less.
fn without_mounts(hands_over: Option<Failure>, confines: Option<Failure>) -> Vec<Degradation> {
    let less = |feature: &str, instead: &str, cost: &str, failure: Option<Failure>| Degradation {
        feature: feature.to_owned(),
        instead: instead.to_owned(),
        cost: cost.to_owned(),
        failure: failure
            .unwrap_or_else(|| because("chroot", "this rung mounts nothing and makes no namespace")),
    };
    let mut all = vec![less(
        "namespaces",
        if confines.is_none() { "chroot and Landlock" } else { "chroot" },
        if confines.is_none() {
            "a step has the builder's network, host name and IPC, and sees the numbers of its processes"
        } else {
            "a step has the builder's network, host name and IPC, and may signal its processes"
        },
        confines,
    )];
    all.push(less(
        "overlay",
        "a copy of the image",
        "a step after COPY reads and writes its whole image",
        None,
    ));
    if hands_over.is_some() {
        let cost = "programs that need /proc or /sys fail, and a secret lies on the disk while its step runs";
        all.push(less("proc and sysfs", "empty directories", cost, hands_over));
    } else {
        let cost = "a few microseconds for each file that a step opens or looks at";
        all.push(less("proc and sysfs", "files opened by the builder, call by call", cost, None));
        let cost =
            "for a step of another user than root; where the image has sudo it keeps it, and has no /proc";
        all.push(less("set-user-id programs", "no_new_privs", cost, None));
    }
    all.push(less(
        "mount options",
        "copies",
        "what should be read-only can be written, and tmpfs has no limit",
        None,
    ));
    all.push(less(
        "chroot",
        "not allowed to a step",
        "a step cannot itself use chroot, which would lead out",
        None,
    ));
    all
}

/// What failed in the child; nothing where it worked.
#[derive(Serialize, Deserialize)]
struct Found {
    root: Option<Failure>,
    marks: Option<Failure>,
    proc: Option<Failure>,
    sys: Option<Failure>,
    device_nodes: bool,
    hostname: Option<Failure>,
    pivot_root: Option<Failure>,
}

fn try_all(scratch: &Path, filesystem: Filesystem) -> Found {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let tried = match filesystem {
        Filesystem::Copy => try_directory(scratch).map(|root| (root, None)),
        Filesystem::Overlay | Filesystem::OverlayInMemory => {
            try_overlay(scratch, filesystem == Filesystem::OverlayInMemory)
        }
    };
    let (root, marks) = match tried {
        Ok((root, marks)) => (Ok(root), marks),
        Err(failure) => (Err(failure), None),
    };
    let try_mount = |kind: &str| mounting::filesystem(kind, &[], INERT).err();
    let device_nodes = tmpfs("755", None, MountAttrFlags::empty()).is_ok_and(|mount| {
        let number = rustix::fs::makedev(1, 3);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&mount, "null", FileType::CharacterDevice, mode, number).is_ok()
            // A user namespace may be allowed the node and refused its use.
            && rustix::fs::openat(&mount, "null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_ok()
    });
    let hostname = rustix::system::sethostname(b"buildkitsandbox").refused("sethostname").err();
    let (proc, sys) = (try_mount("proc"), try_mount("sysfs"));
    let (root, pivot_root) = match root {
        Ok(root) => (
            None,
            rustix::process::fchdir(&root)
                .refused("fchdir")
                .and_then(|()| rustix::process::pivot_root(".", ".").refused("pivot_root"))
                .err(),
        ),
        Err(failure) => (Some(failure), None),
    };
    Found { root, marks, proc, sys, device_nodes, hostname, pivot_root }
}

/// A directory of the new directory `scratch` of the store, mounted by itself.
fn try_directory(scratch: &Path) -> Result<OwnedFd, Failure> {
    rustix::fs::mkdir(scratch, Mode::from_raw_mode(0o755)).refused_on("mkdir", scratch)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(scratch, flags, Mode::empty()).refused_on("open", scratch)?;
    mounting::attach(mounting::clone_of(&place, MountAttrFlags::empty())?, &place)?;
    rustix::fs::open(scratch, flags, Mode::empty()).refused_on("open", scratch)
}

/// An overlay in the new directory `scratch` of the store, of a tree and what another removes of it, that can delete a
/// file. Its changes are on the store's own filesystem or in memory. Also why the other tree cannot be in the store.
fn try_overlay(scratch: &Path, in_memory: bool) -> Result<(OwnedFd, Option<Failure>), Failure> {
    rustix::fs::mkdir(scratch, Mode::from_raw_mode(0o755)).refused_on("mkdir", scratch)?;
    rustix::process::chdir(scratch).refused_on("chdir", scratch)?;
    for name in ["lower", "marks", "changes", "root"] {
        rustix::fs::mkdir(name, Mode::from_raw_mode(0o755)).refused_on("mkdir", name)?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if in_memory {
        mounting::memory_at(Path::new("changes"))?;
    }
    let (upper, work) = (Path::new("changes/upper"), Path::new("changes/work"));
    for name in [upper, work] {
        rustix::fs::mkdir(name, Mode::from_raw_mode(0o755)).refused_on("mkdir", name)?;
    }
    std::fs::write("lower/file", "").refused_on("write", "lower/file")?;
    std::fs::create_dir("lower/old").refused_on("mkdir", "lower/old")?;
    std::fs::write("lower/gone", "").refused_on("write", "lower/gone")?;
    let gone = Path::new("marks/gone");
    let refused = marks::remove(gone).err();
    if refused.is_some() {
        mounting::memory_at(Path::new("marks"))?;
        marks::remove(gone)?;
        // Memory has such attributes since Linux 6.6.
        std::fs::create_dir("marks/old").refused_on("mkdir", "marks/old")?;
        marks::hide_below(Path::new("marks/old"))?;
    }
    let lowers = vec![Path::new("lower"), Path::new("marks")];
    Overlay { lowers, upper: Some((upper, work)) }.attach(Path::new("root"))?;
    std::fs::remove_file("root/file").refused_on("unlink(in the overlay)", "file")?;
    // The new one hides what was in the old one, by an attribute.
    std::fs::remove_dir("root/old").refused_on("rmdir(in the overlay)", "old")?;
    std::fs::create_dir("root/old").refused_on("mkdir(in the overlay)", "old")?;
    if Path::new("root/gone").exists() {
        return Err(because("mount(overlay)", "a file that a tree removes is still there"));
    }
    let root = rustix::fs::open("root", flags, Mode::empty()).refused_on("open", "root")?;
    Ok((root, refused))
}

/// The namespaces that a step can have here.
fn namespaces(degradations: &mut Vec<Degradation>) -> i32 {
    let flag = |flags: UnshareFlags| flags.bits().cast_signed();
    let all = OPTIONAL_NAMESPACES.iter().fold(libc::CLONE_NEWNS, |all, (one, _)| all | flag(*one));
    if in_child(all, || ()).is_ok() {
        return all;
    }
    let mut possible = libc::CLONE_NEWNS;
    for (one, name) in OPTIONAL_NAMESPACES {
        match in_child(flag(one), || ()) {
            Ok(()) => possible |= flag(one),
            Err(failure) => degradations.push(Degradation {
                feature: name.trim_start_matches("CLONE_NEW").to_ascii_lowercase() + " namespace",
                instead: "the builder's".to_owned(),
                cost: "less isolation between a step and the builder".to_owned(),
                failure: Failure { call: format!("clone({name})"), ..failure },
            }),
        }
    }
    possible
}

/// How many ids are mapped here.
pub(super) fn mapped_ids(map: &str) -> u64 {
    lines(map).iter().map(|(_, _, count)| count).sum()
}

fn mapped(id: u64, map: &str) -> bool {
    lines(map).iter().any(|(inside, _, count)| (*inside..inside + count).contains(&id))
}

/// The lines of a uid_map or gid_map: first id inside, first id outside, how many.
pub(super) fn lines(map: &str) -> Vec<(u64, u64, u64)> {
    let text = std::fs::read_to_string(map).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count))) => Some((inside, outside, count)),
                _ => None,
            }
        })
        .collect()
}

//! Limits on memory and processors for one step: a control group of its own, in the one hierarchy of version 2 or in
//! the many of version 1.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::failure::{Refused as _, because};
use super::report::Failure;
use super::step::Limits;

/// The control group of one step, in every hierarchy that it needs. Removed when dropped.
pub(super) struct Group {
    directories: Vec<PathBuf>,
    /// Where the kernel counts what it killed for want of memory.
    kills: Option<PathBuf>,
}

/// One file of a control group and what is written to it.
type Setting = (&'static str, String);

impl Group {
    /// Makes a group with these limits. `name` must be new.
    pub(super) fn make(limits: &Limits, name: &str) -> Result<Self, Failure> {
        Self::make_in(&Hierarchies::here(), limits, name)
    }

    fn make_in(hierarchies: &Hierarchies, limits: &Limits, name: &str) -> Result<Self, Failure> {
        let mut group = Self { directories: Vec::new(), kills: None };
        for controller in ["memory", "cpu", "cpuset"] {
            if limits.settings(controller, true).is_empty() {
                continue;
            }
            let Some(hierarchy) = hierarchies.of(controller) else {
                return Err(Failure {
                    remedy: Some(REMEDY.to_owned()),
                    ..because(
                        "mkdir(cgroup)",
                        format!("no control group hierarchy with `{controller}` is mounted here"),
                    )
                });
            };
            let parent = hierarchy.parent(limits.parent.as_deref());
            if hierarchy.unified {
                // Whether that worked the files of the new group tell.
                let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            let directory = parent.join(name);
            if !group.directories.contains(&directory) {
                if let Some(wanted) = &limits.parent {
                    make_all(&hierarchy.mount, Path::new(wanted)).map_err(not_ours)?;
                }
                fs::create_dir(&directory).refused_on("mkdir(cgroup)", &directory).map_err(not_ours)?;
                group.directories.push(directory.clone());
            }
            if controller == "cpuset" && !hierarchy.unified {
                // A new group of version 1 has neither, and takes no process without both.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let inherited = fs::read(parent.join(file)).unwrap_or_default();
                    let _ = fs::write(directory.join(file), inherited);
                }
            }
            for (file, value) in limits.settings(controller, hierarchy.unified) {
                let path = directory.join(file);
                fs::write(&path, &value).refused_on(&format!("write({value})"), &path).map_err(not_ours)?;
            }
            if controller == "memory" {
                let file = if hierarchy.unified { "memory.events" } else { "memory.oom_control" };
                group.kills = Some(directory.join(file));
            }
        }
        Ok(group)
    }

    /// The files by which a process enters the group.
    pub(super) fn doors(&self) -> Result<Vec<OwnedFd>, Failure> {
        let open = |directory: &PathBuf| {
            let path = directory.join("cgroup.procs");
            rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).refused_on("open", &path)
        };
        self.directories.iter().map(open).collect()
    }

    /// Whether the kernel killed something in it for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let text = self.kills.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The last process may still be on its way out.
            for _ in 0..50 {
                match fs::remove_dir(directory) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Enters a group, by its doors.
pub(super) fn enter(doors: Vec<OwnedFd>) -> Result<(), Failure> {
    for door in doors {
        rustix::io::write(&door, b"0").refused("write(cgroup.procs)")?;
    }
    Ok(())
}

const REMEDY: &str =
    "limit rbuild itself: `systemd-run --user --scope -p MemoryMax=1G -p CPUQuota=200% rbuild ...`";

/// The memory that this process can have, in bytes: the machine's, or less by its control groups.
pub(super) fn memory() -> u64 {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.saturating_mul(machine.mem_unit.into());
    Hierarchies::here().memory_limit().map_or(machine, |limit| limit.min(machine))
}

fn not_ours(failure: Failure) -> Failure {
    Failure {
        cause: "the control groups of this process are not its own to divide".to_owned(),
        remedy: Some(REMEDY.to_owned()),
        ..failure
    }
}

fn make_all(mount: &Path, path: &Path) -> Result<(), Failure> {
    let mut here = mount.to_owned();
    for word in path.components() {
        let std::path::Component::Normal(word) = word else { continue };
        here.push(word);
        match fs::create_dir(&here) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).refused_on("mkdir(cgroup)", &here);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A mounted hierarchy and this process's group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// Relative to the mount.
    own: PathBuf,
    controllers: Vec<String>,
    /// Version 2.
    unified: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Those of this process.
    fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::read(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// From the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    fn read(mounts: &str, own: &str) -> Self {
        let found = mounts.lines().filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split_whitespace().skip(3);
            let (root, mount) = (before.next()?, PathBuf::from(before.next()?));
            let mut after = after.split_whitespace();
            let kind = after.next()?;
            let options = after.nth(1)?;
            let unified = kind == "cgroup2";
            if !unified && kind != "cgroup" {
                return None;
            }
            let group = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (names, path) = (fields.next()?, fields.next()?);
                let ours = if unified {
                    names.is_empty()
                } else {
                    options.split(',').any(|one| names.split(',').any(|name| name == one))
                };
                ours.then(|| path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned())
            })?;
            let controllers = if unified {
                let text = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
                text.split_whitespace().map(str::to_owned).collect()
            } else {
                options.split(',').map(str::to_owned).collect()
            };
            Some(Hierarchy { mount, own: group.into(), controllers, unified })
        });
        Self(found.collect())
    }

    fn of(&self, controller: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.controllers.iter().any(|known| known == controller))
    }

    /// The least limit of the process's own group and those above it.
    fn memory_limit(&self) -> Option<u64> {
        let hierarchy = self.of("memory")?;
        let file = if hierarchy.unified { "memory.max" } else { "memory.limit_in_bytes" };
        let own = hierarchy.mount.join(&hierarchy.own);
        let groups = own.ancestors().take_while(|group| group.starts_with(&hierarchy.mount));
        groups.filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()).min()
    }
}

impl Hierarchy {
    /// The group that a step's is made in.
    fn parent(&self, wanted: Option<&str>) -> PathBuf {
        if let Some(wanted) = wanted {
            return self.mount.join(wanted.trim_start_matches('/'));
        }
        // In version 2 a group that has processes cannot divide what it has, so the step's is made beside it.
        let own = if self.unified { self.own.parent().unwrap_or(&self.own) } else { &self.own };
        let own = self.mount.join(own);
        if own.is_dir() { own } else { self.mount.clone() }
    }
}

impl Limits {
    /// What is written for a controller, in order.
    fn settings(&self, controller: &str, unified: bool) -> Vec<Setting> {
        let mut all: Vec<Setting> = Vec::new();
        match controller {
            "memory" => {
                if let Some(memory) = self.memory {
                    let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
                    all.push((file, memory.to_string()));
                }
                // As in Docker: memory and swap together; nothing is twice the memory.
                match (self.memory_swap, self.memory) {
                    (Some(-1), _) if unified => all.push(("memory.swap.max", "max".to_owned())),
                    (Some(swap), Some(memory)) if unified => {
                        let swap = u64::try_from(swap).unwrap_or(0).saturating_sub(memory);
                        all.push(("memory.swap.max", swap.to_string()));
                    }
                    (Some(swap), _) if !unified => {
                        all.push(("memory.memsw.limit_in_bytes", swap.to_string()));
                    }
                    _ => {}
                }
            }
            "cpu" if unified => {
                if self.cpu_quota.is_some() || self.cpu_period.is_some() {
                    let quota = match self.cpu_quota {
                        Some(quota) if quota > 0 => quota.to_string(),
                        _ => "max".to_owned(),
                    };
                    all.push(("cpu.max", format!("{quota} {}", self.cpu_period.unwrap_or(100_000))));
                }
                if let Some(shares) = self.cpu_shares {
                    all.push(("cpu.weight", weight(shares).to_string()));
                }
            }
            "cpu" => {
                all.extend(self.cpu_period.map(|period| ("cpu.cfs_period_us", period.to_string())));
                all.extend(self.cpu_quota.map(|quota| ("cpu.cfs_quota_us", quota.to_string())));
                all.extend(self.cpu_shares.map(|shares| ("cpu.shares", shares.to_string())));
            }
            _ => {
                all.extend(self.cpuset_cpus.clone().map(|cpus| ("cpuset.cpus", cpus)));
                all.extend(self.cpuset_mems.clone().map(|mems| ("cpuset.mems", mems)));
            }
        }
        all
    }
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), as runc converts them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory: Some(64 << 20),
            memory_swap: Some(128 << 20),
            cpu_quota: Some(50_000),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0".to_owned()),
            ..Limits::default()
        }
    }

    #[test]
    fn both_versions_have_their_files() {
        let of = |controller, unified| limits().settings(controller, unified);
        assert_eq!(
            of("memory", true),
            [("memory.max", "67108864".into()), ("memory.swap.max", "67108864".into())]
        );
        assert_eq!(of("memory", false)[1], ("memory.memsw.limit_in_bytes", "134217728".into()));
        assert_eq!(of("cpu", true), [("cpu.max", "50000 100000".into()), ("cpu.weight", "39".into())]);
        assert_eq!(of("cpu", false), [("cpu.cfs_quota_us", "50000".into()), ("cpu.shares", "1024".into())]);
        assert_eq!((weight(2), weight(262_144)), (1, 10_000));
        assert!(Limits::default().settings("memory", true).is_empty());
    }

    /// A directory in the place of a hierarchy of version 2: files are written as the kernel would read them.
    #[test]
    fn a_group_is_made_beside_its_own_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().to_str().unwrap();
        fs::create_dir_all(dir.path().join("user/own")).unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
        let mounts = format!("30 20 0:26 / {mount} rw - cgroup2 cgroup2 rw,nsdelegate\n");
        let hierarchies = Hierarchies::read(&mounts, "0::/user/own\n");
        let group = Group::make_in(&hierarchies, &limits(), "step").unwrap();
        let made = dir.path().join("user/step");
        assert_eq!(fs::read_to_string(made.join("cpu.max")).unwrap(), "50000 100000");
        assert!(!group.ran_out_of_memory());
        fs::write(made.join("memory.events"), "oom 3\noom_kill 2\n").unwrap();
        assert!(group.ran_out_of_memory());
        let inside = Limits { parent: Some("/ci/jobs".to_owned()), ..limits() };
        let group = Group::make_in(&hierarchies, &inside, "step").unwrap();
        assert_eq!(group.directories, [dir.path().join("ci/jobs/step")]);
        let nothing = Group::make_in(&Hierarchies::default(), &limits(), "x").err().unwrap();
        assert!(nothing.cause.contains("memory") && nothing.remedy.is_some(), "{nothing}");
    }

    #[test]
    fn version_1_is_found_by_its_controllers() {
        let mounts = "33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let found = Hierarchies::read(mounts, "4:cpu,cpuacct:/docker/x\n0::/\n");
        let hierarchy = found.of("cpu").unwrap();
        assert_eq!((hierarchy.unified, hierarchy.own.to_str()), (false, Some("docker/x")));
        assert!(found.of("memory").is_none());
    }

    #[test]
    fn memory_is_the_least_of_all_limits() {
        let place = tempfile::tempdir().unwrap();
        let mount = place.path().to_owned();
        fs::create_dir_all(mount.join("pod/container")).unwrap();
        let hierarchy = |unified| {
            let (own, controllers) = ("pod/container".into(), vec!["memory".to_owned()]);
            Hierarchies(vec![Hierarchy { mount: mount.clone(), own, controllers, unified }])
        };
        assert_eq!(hierarchy(true).memory_limit(), None);
        fs::write(mount.join("pod/container/memory.max"), "max\n").unwrap();
        fs::write(mount.join("pod/memory.max"), "4096\n").unwrap();
        assert_eq!(hierarchy(true).memory_limit(), Some(4096));
        fs::write(mount.join("memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        fs::write(mount.join("pod/container/memory.limit_in_bytes"), "8192\n").unwrap();
        assert_eq!(hierarchy(false).memory_limit(), Some(8192));
    }
}

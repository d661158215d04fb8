//! Runs a command as a CI container would: the capabilities, the seccomp profile, the user and the hidden parts of
//! `/proc` of `docker run`, `podman run` and Kubernetes, by runc.
//!
//! The environments are data: `testdata/isolation/environments.json`. The host's own programs are visible read-only,
//! one directory is `/work`, and the network is the host's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::packages;

/// What users meet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Its short name.
    pub name: String,
    /// How one gets it, in Markdown.
    pub what: String,
    /// Who the command runs as.
    #[serde(default)]
    uid: u32,
    capabilities: Capabilities,
    /// Capabilities beyond those.
    #[serde(default)]
    add: Vec<String>,
    seccomp: Option<Seccomp>,
    /// Whether parts of `/proc` and `/sys` are hidden.
    #[serde(default = "yes")]
    masked: bool,
    #[serde(default)]
    no_new_privs: bool,
    /// Whether the container's root is an ordinary user outside.
    #[serde(default)]
    userns: bool,
    /// The rung that rbuild takes there; `None`: RUN is refused.
    pub rung: Option<String>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Capabilities {
    None,
    Docker,
    Podman,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Seccomp {
    Docker,
    Podman,
}

/// All environments of `testdata/isolation`.
pub fn environments() -> Result<Vec<Environment>> {
    let path = crate::repository().join("testdata/isolation/environments.json");
    let text = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}`", path.display()))
}

/// The ids that a container of a user namespace has outside.
const FIRST_SUBORDINATE: u32 = 100_000;

impl Environment {
    /// Who owns what the command may write, as seen from outside.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.uid + if self.userns { FIRST_SUBORDINATE } else { 0 }
    }

    /// Runs a command with `work` as its `/work`, its home and its working directory. Needs root and runc.
    pub fn run(&self, work: &Path, variables: &[(&str, &str)], words: &[&str]) -> Result<Output> {
        let runc =
            packages::find("runc").context("runc is not installed (Debian: `apt-get install runc`)")?;
        let bundle = TempDir::with_prefix("rbuild-container-")?;
        fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755))?;
        let root = bundle.path().join("rootfs");
        fs::create_dir(&root)?;
        let spec = self.spec(&root, work, variables, words)?;
        fs::write(bundle.path().join("config.json"), serde_json::to_vec_pretty(&spec)?)?;
        let owner = if self.userns { FIRST_SUBORDINATE } else { 0 };
        chown(&root, Some(owner), Some(owner))?;
        let name = bundle.path().file_name().context("the bundle has a name")?;
        let output = Command::new(runc)
            .arg("--root")
            .arg(bundle.path().join("state"))
            .arg("run")
            .arg("--bundle")
            .arg(bundle.path())
            .arg(name)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("container_linux.go") || said.contains("runc run failed") {
            bail!("runc cannot start the environment `{}`: {said}", self.name);
        }
        Ok(output)
    }

    /// A configuration of the OCI runtime specification.
    fn spec(&self, root: &Path, work: &Path, variables: &[(&str, &str)], words: &[&str]) -> Result<Value> {
        let held = self.held()?;
        let names: Vec<String> = held.iter().map(|name| format!("CAP_{name}")).collect();
        let active: &[String] = if self.uid == 0 { &names } else { &[] };
        let mut env = vec![
            "PATH=/work:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "HOME=/work".to_owned(),
        ];
        env.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
        let mut namespaces: Vec<Value> =
            ["pid", "ipc", "uts", "mount"].iter().map(|kind| json!({"type": kind})).collect();
        let mut linux = json!({"resources": {"devices": [{"allow": true, "access": "rwm"}]}});
        if self.userns {
            namespaces.push(json!({"type": "user"}));
            let ids = json!([{"containerID": 0, "hostID": FIRST_SUBORDINATE, "size": 65536}]);
            linux["uidMappings"] = ids.clone();
            linux["gidMappings"] = ids;
        }
        linux["namespaces"] = namespaces.into();
        if self.masked {
            linux["maskedPaths"] = json!(MASKED);
            linux["readonlyPaths"] = json!(READ_ONLY);
        }
        if let Some(profile) = self.seccomp {
            linux["seccomp"] = profile.rules(&held);
        }
        Ok(json!({
            "ociVersion": "1.0.2",
            "hostname": "ci",
            "root": {"path": root, "readonly": false},
            "process": {
                "terminal": false,
                "cwd": "/work",
                "args": words,
                "noNewPrivileges": self.no_new_privs,
                "user": {"uid": self.uid, "gid": self.uid},
                "env": env,
                "capabilities": {
                    "bounding": names, "effective": active, "permitted": active, "inheritable": [],
                },
            },
            "mounts": mounts(root, work)?,
            "linux": linux,
        }))
    }

    /// The capabilities by name. Only those that this machine's root has itself: runc gives no others.
    fn held(&self) -> Result<Vec<&str>> {
        let named: &[&str] = match self.capabilities {
            Capabilities::None => &[],
            Capabilities::Docker => &DOCKER,
            Capabilities::Podman => &PODMAN,
            Capabilities::All => &ALL,
        };
        let status = fs::read_to_string("/proc/self/status")?;
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let bounding = u64::from_str_radix(bounding.context("no CapBnd in /proc/self/status")?.trim(), 16)?;
        let here = |name: &&str| {
            ALL.iter().position(|known| known == name).is_some_and(|bit| bounding >> bit & 1 == 1)
        };
        Ok(named.iter().copied().chain(self.add.iter().map(String::as_str)).filter(here).collect())
    }
}

/// The host's programs read-only, what every container has, and the work directory.
fn mounts(root: &Path, work: &Path) -> Result<Vec<Value>> {
    let mut mounts: Vec<Value> = [
        ("/proc", "proc", vec!["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", vec!["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/shm", "tmpfs", vec!["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ("/tmp", "tmpfs", vec!["mode=1777"]),
        ("/run", "tmpfs", vec!["mode=755"]),
    ]
    .into_iter()
    .map(|(place, kind, options)| json!({"destination": place, "type": kind, "source": kind, "options": options}))
    .collect();
    let mut bind = |source: &Path, place: &Path, mode: &str| {
        mounts.push(
            json!({"destination": place, "type": "bind", "source": source, "options": ["rbind", mode]}),
        );
    };
    for path in ["/sys", "/usr", "/etc"].map(Path::new) {
        bind(path, path, "ro");
    }
    for path in ["/bin", "/sbin", "/lib", "/lib64"].map(PathBuf::from) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                symlink(fs::read_link(&path)?, root.join(path.strip_prefix("/")?))?;
            }
            Ok(found) if found.is_dir() => bind(&path, &path, "ro"),
            _ => {}
        }
    }
    bind(work, Path::new("/work"), "rw");
    Ok(mounts)
}

impl Seccomp {
    /// The profile as what it refuses. For what a builder tries this is the same as the profile itself, which lists
    /// what it allows (moby `profiles/seccomp/default.json`, `containers/common pkg/seccomp/seccomp.json`).
    fn rules(self, held: &[&str]) -> Value {
        let admin = held.contains(&"SYS_ADMIN");
        let mut rules = vec![refuse(1, &NEVER)];
        if !held.contains(&"SYS_CHROOT") {
            rules.push(refuse(1, &["chroot"]));
        }
        match self {
            Self::Docker => {
                rules.push(refuse(1, &["pivot_root", "keyctl", "add_key", "request_key", "io_uring_setup"]));
                if !admin {
                    rules.push(refuse(1, &ADMIN));
                    rules.push(refuse(
                        1,
                        &["sethostname", "setns", "setdomainname", "bpf", "perf_event_open"],
                    ));
                    rules.push(refuse(38, &["clone3"]));
                    let flags = 0x7e02_0000_u64;
                    for bit in (0..32).map(|bit| 1_u64 << bit).filter(|bit| flags & bit != 0) {
                        let with =
                            json!({"index": 0, "value": bit, "valueTwo": bit, "op": "SCMP_CMP_MASKED_EQ"});
                        rules.push(json!({
                            "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [with],
                        }));
                    }
                }
            }
            Self::Podman => {
                rules.push(refuse(38, &["io_uring_setup", "io_uring_enter", "io_uring_register"]));
                if !admin {
                    rules.push(refuse(
                        1,
                        &["sethostname", "setns", "setdomainname", "bpf", "perf_event_open"],
                    ));
                }
            }
        }
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": rules,
        })
    }
}

fn refuse(errno: i32, names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

/// What no capability brings back.
const NEVER: [&str; 8] = [
    "kexec_load",
    "kexec_file_load",
    "swapon",
    "swapoff",
    "userfaultfd",
    "open_by_handle_at",
    "move_pages",
    "uselib",
];
/// What Docker gives only with `SYS_ADMIN`.
const ADMIN: [&str; 13] = [
    "mount",
    "umount",
    "umount2",
    "unshare",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "fanotify_init",
    "quotactl",
];
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const DOCKER: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
const PODMAN: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// By their numbers (`linux/capability.h`), as far as runc of Debian 12 knows them.
const ALL: [&str; 38] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_can_be_read() {
        let all = environments().unwrap();
        assert_eq!(all.len(), 11);
        assert_eq!(all.iter().filter(|one| one.rung.is_none()).count(), 2);
        let userns = all.iter().find(|one| one.name == "k8s-userns").unwrap();
        assert_eq!(userns.owner(), FIRST_SUBORDINATE);
    }
}

//! What a RUN step asks of the sandbox, and what it gets back.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::wire;

/// One command to run over a stack of trees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// The trees of the layers below, bottom first. Empty for `FROM scratch`.
    #[serde(with = "wire::list")]
    pub lowers: Vec<PathBuf>,
    /// An empty directory on the store's filesystem. `upper/` and `work/` are made in it; the caller owns and
    /// removes it (through the custodian where there is one).
    #[serde(with = "wire::path")]
    pub scratch: PathBuf,
    /// What `--mount` asks for, in the order of the Dockerfile.
    pub mounts: Vec<StepMount>,
    /// The program and its arguments. A name without `/` is looked up in `PATH` of [`Step::env`], inside the image.
    #[serde(with = "wire::list")]
    pub argv: Vec<OsString>,
    /// `NAME=value`, exactly what the command gets.
    #[serde(with = "wire::list")]
    pub env: Vec<OsString>,
    /// The working directory inside the image; made (0755, root) where it is missing.
    #[serde(with = "wire::path")]
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: StepUser,
    /// The host name inside.
    pub hostname: String,
    /// Which network.
    pub network: Network,
    /// Lines added to `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Lifts capability limits, seccomp and the masks of kernel paths. Only after an explicit allowance.
    pub insecure: bool,
    /// The size of `/dev/shm`, in bytes.
    pub shm_size: u64,
    /// Resource limits; a limit that may not be raised this far is raised as far as it may.
    pub ulimits: Vec<Ulimit>,
    /// Capabilities beyond (`cap_add`) or out of (`cap_drop`) Docker's default set, as `CAP_NET_ADMIN` or `net_admin`.
    pub cap_add: Vec<String>,
    /// See [`Step::cap_add`].
    pub cap_drop: Vec<String>,
    /// Device nodes of the host that the step sees at the same path.
    #[serde(with = "wire::list")]
    pub devices: Vec<PathBuf>,
    /// Set-user-id programs have no effect (`--security-opt no-new-privileges`).
    pub no_new_privileges: bool,
    /// No seccomp filter (`--security-opt seccomp=unconfined`). Only after an explicit allowance.
    pub unfiltered: bool,
    /// Memory and processors.
    pub limits: Limits,
}

/// What a step may use at most. Nothing is limited by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1 is any.
    pub memory_swap: Option<i64>,
    /// Microseconds in which the quota may be used; 100000 if not given.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota: Option<i64>,
    /// Share of the processors' time against other groups; 1024 is the ordinary one.
    pub cpu_shares: Option<u64>,
    /// Processors, as `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as `0-1`.
    pub cpuset_mems: Option<String>,
    /// The control group that the step's own is made in; else beside or below the builder's.
    pub parent: Option<String>,
}

impl Limits {
    /// Whether something is limited.
    #[must_use]
    pub fn any(&self) -> bool {
        Self { parent: None, ..self.clone() } != Self::default()
    }
}

impl Default for Step {
    /// `true` as root with the host's network and nothing mounted; `scratch` is to be filled in.
    fn default() -> Self {
        Self {
            lowers: Vec::new(),
            scratch: PathBuf::new(),
            mounts: Vec::new(),
            argv: vec!["true".into()],
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: StepUser::default(),
            hostname: "buildkitsandbox".to_owned(),
            network: Network::Host,
            extra_hosts: Vec::new(),
            insecure: false,
            shm_size: 64 << 20,
            ulimits: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            devices: Vec::new(),
            no_new_privileges: false,
            unfiltered: false,
            limits: Limits::default(),
        }
    }
}

/// Numeric ids inside the image. The default is root without supplementary groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUser {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The network that a step sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The host's own.
    #[default]
    Host,
    /// A network namespace with nothing but loopback.
    None,
    /// A network namespace with a way out through `pasta`.
    Private,
}

/// A resource limit (`--ulimit nofile=1024:2048`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// The name as in `ulimit`: `nofile`, `nproc`, `core`, ….
    pub name: String,
    /// The soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// The hard limit; `None` is unlimited.
    pub hard: Option<u64>,
}

/// What a step sees beside its own filesystem. Targets are paths inside the image; symlinks on the way are followed
/// inside the image only. A target that is missing is made for the time of the step and leaves no trace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StepMount {
    /// A directory or file from elsewhere.
    Bind {
        /// From where.
        source: MountSource,
        /// To where.
        #[serde(with = "wire::path")]
        target: PathBuf,
        /// Refuses writes. Otherwise they are accepted and forgotten.
        readonly: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where.
        #[serde(with = "wire::path")]
        target: PathBuf,
        /// At most this many bytes; `None` is the kernel's default.
        size: Option<u64>,
    },
    /// A directory of the host whose changes stay there.
    Cache {
        /// The directory.
        #[serde(with = "wire::path")]
        source: PathBuf,
        /// A directory below it, resolved inside it.
        #[serde(with = "wire::path")]
        subpath: PathBuf,
        /// Where.
        #[serde(with = "wire::path")]
        target: PathBuf,
        /// Refuses writes.
        readonly: bool,
    },
    /// A file of memory that is gone with the step.
    Secret {
        /// Its bytes.
        bytes: SecretBytes,
        /// Where.
        #[serde(with = "wire::path")]
        target: PathBuf,
        /// Permission bits.
        mode: u32,
        /// Owner inside the image.
        uid: u32,
        /// Group inside the image.
        gid: u32,
    },
    /// A socket that forwards to a socket of the host.
    Ssh {
        /// The agent's socket on the host.
        #[serde(with = "wire::path")]
        socket: PathBuf,
        /// Where.
        #[serde(with = "wire::path")]
        target: PathBuf,
        /// Permission bits.
        mode: u32,
        /// Owner inside the image.
        uid: u32,
        /// Group inside the image.
        gid: u32,
    },
}

impl StepMount {
    /// Where it is mounted.
    #[must_use]
    pub fn target(&self) -> &Path {
        match self {
            Self::Bind { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::Cache { target, .. }
            | Self::Secret { target, .. }
            | Self::Ssh { target, .. } => target,
        }
    }
}

/// Where a bind mount comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or a file of the host, and a path below it that is resolved inside it.
    Host {
        /// The directory or file.
        #[serde(with = "wire::path")]
        path: PathBuf,
        /// What of it; empty for all.
        #[serde(with = "wire::path")]
        subpath: PathBuf,
    },
    /// The merge of trees: another stage or image.
    Layers {
        /// Trees, bottom first.
        #[serde(with = "wire::list")]
        lowers: Vec<PathBuf>,
        /// What of it; empty for all. Resolved inside the merge.
        #[serde(with = "wire::path")]
        subpath: PathBuf,
    },
}

/// Bytes that do not show in logs. Serialised they are empty: they travel in a memory file of their own.
#[derive(Clone, Default)]
pub struct SecretBytes(pub Bytes);

impl Serialize for SecretBytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <()>::deserialize(from).map(|()| Self::default())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// What a step reads.
#[derive(Debug, Default)]
pub enum Input {
    /// Nothing: the end is there at once.
    #[default]
    Nothing,
    /// What comes from this descriptor.
    Stream(OwnedFd),
    /// A terminal of the step's own, which its output goes to as well. Whoever waits gets the other side of it.
    Terminal(tokio::sync::oneshot::Sender<OwnedFd>),
}

/// Which of the two streams a step wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes the output of a step as it comes. When the receiver is gone the output is read and dropped.
pub type OutputSender = tokio::sync::mpsc::Sender<(Output, Bytes)>;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// It returned this.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// Whether it is zero.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The status as a shell gives it: 128 and the signal's number for a signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What a step had too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shortage {
    /// Memory, within its limit.
    Memory,
    /// Room for what it writes, which is in memory where the store's filesystem takes no overlay's changes.
    Room,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "out of memory",
            Self::Room => {
                "the memory that its changes are in is full (they are on disk with RBUILD_ROOT on a volume, or with \
                 --isolation=chroot as root)"
            }
        })
    }
}

/// A step that ran to its end; its command may have failed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How the command ended.
    pub status: ExitStatus,
    /// Where what it changed is, for [`super::Sandbox::commit`]: an overlay's upper directory, no longer mounted, or a
    /// whole filesystem.
    pub changed: PathBuf,
    /// What it had too little of, where that is known.
    pub shortage: Option<Shortage>,
    /// Owners that were given by chown while only one id was mapped (path, uid, gid): for
    /// [`layer_store::layer::DiffOptions::owners`]. `None` where the disk holds the owners.
    pub owners: Option<Vec<(Vec<u8>, u32, u32)>>,
}

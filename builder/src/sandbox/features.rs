//! What the kernel allows in the keeper's namespaces: found once by trying, used for each step.

use std::path::PathBuf;

use rustix::thread::UnshareFlags;

use super::report::Filesystem;

/// How each part of a step's surroundings is made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Features {
    /// An empty directory where each step, in its own mount namespace, mounts memory for what it needs until it has
    /// its root: making directories in memory costs a tenth of making them on disk.
    pub(super) place: PathBuf,
    /// The namespaces that each step gets (`CLONE_NEW*`), without the network's.
    pub(super) namespaces: i32,
    /// `/proc` is the step's own; else the builder's is bound.
    pub(super) own_proc: bool,
    /// `/sys` can be mounted; else the builder's is bound.
    pub(super) own_sys: bool,
    /// Device nodes can be made; else the builder's are bound.
    pub(super) device_nodes: bool,
    /// The host name can be set.
    pub(super) hostname: bool,
    /// The root is switched by `pivot_root`; else by moving the mount and `chroot`.
    pub(super) pivot_root: bool,
    /// Group 5 (tty) exists, which terminals belong to.
    pub(super) tty_group: bool,
    /// Nothing can be mounted: the step runs in a real directory.
    pub(super) chroot: bool,
    /// Without mounts: the kernel's files can be opened for the step and handed over.
    pub(super) hands_over: bool,
    /// Without mounts: Landlock keeps the step in its directory.
    pub(super) confines: bool,
    /// One id is mapped: calls that need others are answered by process 1 of the step.
    pub(super) emulates_ids: bool,
    /// What the root of a step is.
    pub(super) filesystem: Filesystem,
    /// Trees in the store's filesystem can say what they remove; else that is in memory between them.
    pub(super) marks: bool,
    /// A `seccomp` filter can be installed without giving up set-user-id programs.
    pub(super) seccomp: bool,
}

/// Every namespace but the user's, the mount's and the network's, which are treated apart.
pub(super) const OPTIONAL_NAMESPACES: [(UnshareFlags, &str); 4] = [
    (UnshareFlags::NEWPID, "CLONE_NEWPID"),
    (UnshareFlags::NEWIPC, "CLONE_NEWIPC"),
    (UnshareFlags::NEWUTS, "CLONE_NEWUTS"),
    (UnshareFlags::NEWCGROUP, "CLONE_NEWCGROUP"),
];

//! What isolation there is here, what is missing of it and why: values, for reports and for `doctor`.

use std::fmt;
use std::path::PathBuf;

use layer_store::store::TreeKind;
use serde::{Deserialize, Serialize};

/// Which isolation is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// The best that works here. Never [`Isolation::Chroot`] where a namespace can be had.
    #[default]
    Auto,
    /// See [`Rung::Root`].
    Root,
    /// See [`Rung::Userns`].
    Userns,
    /// See [`Rung::Single`].
    Single,
    /// See [`Rung::Chroot`].
    Chroot,
}

/// A way to isolate a step, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// A root user who may mount: all namespaces but the user's, overlay, `pivot_root`.
    Root,
    /// A user namespace with many ids mapped.
    Userns,
    /// A user namespace with one id; chown, set*id and mknod are answered by the builder, which keeps a record.
    Single,
    /// A root user who may neither unshare nor mount: a real directory and `chroot`.
    Chroot,
}

impl Rung {
    /// All of them, best first.
    pub const ALL: [Self; 4] = [Self::Root, Self::Userns, Self::Single, Self::Chroot];

    /// The name, as `--isolation` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Userns => "userns",
            Self::Single => "single",
            Self::Chroot => "chroot",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A system call that was refused, why, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The call as a person would write it: `unshare(CLONE_NEWUSER)`.
    pub call: String,
    /// On which path, where there is one.
    pub path: Option<PathBuf>,
    /// The errno, where the kernel gave one.
    pub errno: Option<i32>,
    /// On which rung.
    pub rung: Option<Rung>,
    /// Why, in one clause; where it is not known, what the kernel said.
    pub cause: String,
    /// One line that mends it, where one is known.
    pub remedy: Option<String>,
}

impl Failure {
    /// The errno's name, `EPERM`, where the kernel gave one that is known.
    #[must_use]
    pub fn errno_name(&self) -> Option<&'static str> {
        let errno = self.errno?;
        ERRNO_NAMES.iter().find_map(|(number, name)| (*number == errno).then_some(*name))
    }
}

/// What mounting, entering namespaces, changing owners and installing filters can answer.
const ERRNO_NAMES: [(i32, &str); 22] = [
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::EIO, "EIO"),
    (libc::ENOEXEC, "ENOEXEC"),
    (libc::EBADF, "EBADF"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ELOOP, "ELOOP"),
    (libc::EUSERS, "EUSERS"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
];

/// `mount(proc): EPERM (the surrounding container hides parts of its /proc)`
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.call)?;
        if let Some(path) = &self.path {
            write!(f, " on `{}`", path.display())?;
        }
        let Some(errno) = self.errno else {
            return if self.cause.is_empty() { Ok(()) } else { write!(f, ": {}", self.cause) };
        };
        let said = std::io::Error::from_raw_os_error(errno).to_string();
        let said = said.split(" (os error").next().unwrap_or_default();
        let cause = if self.cause.is_empty() || self.cause.starts_with(said) { said } else { &self.cause };
        match self.errno_name() {
            Some(name) => write!(f, ": {name} ({cause})"),
            None => write!(f, ": errno {errno} ({cause})"),
        }
    }
}

/// Something a step has less well than it could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    /// What: `proc`, `sysfs`, `hostname`, `pivot_root`, `seccomp`, `cgroup`, `network`, `overlay`,
    /// `removed files`.
    pub feature: String,
    /// What is used in its place.
    pub instead: String,
    /// What that costs the user.
    pub cost: String,
    /// Why it is so.
    pub failure: Failure,
}

/// What the root of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filesystem {
    /// An overlay whose changes are on the store's own filesystem.
    Overlay,
    /// An overlay whose changes are in memory until they are a layer.
    OverlayInMemory,
    /// A copy of the image, which shares its blocks with the store where the disk can do that.
    Copy,
}

/// What the sandbox that was started gives each step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The rung.
    pub rung: Rung,
    /// How ids are mapped: `none`, `identity`, `newuidmap` or `single`.
    pub id_map: String,
    /// How many ids the image has.
    pub ids: u64,
    /// What the root of a step is.
    pub filesystem: Filesystem,
    /// Each thing that is less than it could be.
    pub degradations: Vec<Degradation>,
}

impl Report {
    /// How the store makes trees for steps that run like this.
    pub(crate) fn trees(&self) -> TreeKind {
        let mounted = self.filesystem != Filesystem::Copy;
        let marks = mounted && self.degradation(REMOVED_FILES).is_none();
        TreeKind { one_id: self.rung == Rung::Single, marks }
    }

    /// The degradation of `feature`, if there is one.
    #[must_use]
    pub fn degradation(&self, feature: &str) -> Option<&Degradation> {
        self.degradations.iter().find(|degradation| degradation.feature == feature)
    }
}

/// The degradation of trees that cannot say what they remove.
pub(super) const REMOVED_FILES: &str = "removed files";

/// Whether a rung works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// It does, like this.
    Works(Report),
    /// It does not, because of this.
    Refused(Failure),
}

/// What `doctor` finds: every rung tried, best first, and the one that a build would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Each rung and whether it works.
    pub rungs: Vec<(Rung, Verdict)>,
    /// The one that `auto` takes. `None`: only stages without RUN can be built.
    pub chosen: Option<Rung>,
}

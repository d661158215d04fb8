//! What `RUN --mount` asks for: each made first, without a place, then attached to the step's root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::MountAttrFlags;

use super::failure::Refused as _;
use super::mounting::{INERT, Overlay, attach, clone_of, tmpfs};
use super::report::{Failure, Filesystem};
use super::root::{is_directory, make_directory, open_directory, work_directory};
use super::step::{MountSource, Step, StepMount};
use super::wire::NotRun;
use super::{copies, files, resolve};

/// A mount that waits for its place.
pub(super) struct Prepared {
    /// Where it goes in the image.
    pub(super) target: PathBuf,
    /// What goes there.
    pub(super) mount: OwnedFd,
    /// Whether it is a directory.
    pub(super) directory: bool,
    /// Whether it is memory, which takes the mode of the directory that it covers.
    pub(super) tmpfs: bool,
}

impl Prepared {
    /// Mounts it, making its place where that is inside another mount.
    pub(super) fn attach(self, root: impl AsFd) -> Result<(), NotRun> {
        let impossible = |reason: String| NotRun::Mount { target: self.target.display().to_string(), reason };
        let place = resolve::make(root, &self.target, self.directory)
            .map_err(|error| impossible(std::io::Error::from(error).to_string()))?;
        if is_directory(&place).refused_on("stat", &self.target)? != self.directory {
            let (is, should) =
                if self.directory { ("a file", "a directory") } else { ("a directory", "a file") };
            return Err(impossible(format!("it is {is} in the image, and {should} would be mounted there")));
        }
        attach(self.mount, place).map_err(|failure| Failure { path: Some(self.target), ..failure }.into())
    }
}

/// Makes every mount of a step. What is written to those whose writes are lost goes to `changes`.
pub(super) fn prepare(
    step: &Step,
    changes: &Path,
    secrets: Vec<OwnedFd>,
    filesystem: Filesystem,
) -> Result<Vec<Prepared>, NotRun> {
    let mut secrets = secrets.into_iter();
    let mut prepared = Vec::with_capacity(step.mounts.len());
    for (number, mount) in step.mounts.iter().enumerate() {
        let target = Path::new("/").join(mount.target());
        let impossible = |reason: String| NotRun::Mount { target: target.display().to_string(), reason };
        let made = match mount {
            StepMount::Bind { source, readonly, .. } => {
                let made = match filesystem {
                    Filesystem::Copy => bind_copy(number, source, *readonly, &step.scratch),
                    Filesystem::Overlay | Filesystem::OverlayInMemory => {
                        bind(number, source, *readonly, changes)
                    }
                };
                made.map_err(|error| error.at(&target))?
            }
            StepMount::Tmpfs { size, .. } => {
                tmpfs("1777", *size, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)?
            }
            StepMount::Cache { source, subpath, readonly, .. } => {
                let place = below(source, subpath).map_err(|error| error.at(&target))?;
                clone_of(place, read_only(*readonly))?
            }
            StepMount::Secret { mode, uid, gid, .. } => {
                let content =
                    secrets.next().ok_or_else(|| impossible("its content did not arrive".to_owned()))?;
                secret(number, content, *mode, *uid, *gid)?
            }
            StepMount::Ssh { socket, mode, uid, gid, .. } => {
                own_socket(socket, *mode, *uid, *gid)?;
                let place = rustix::fs::open(socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                    .refused_on("open", socket)?;
                clone_of(place, INERT)?
            }
        };
        let directory = is_directory(&made).refused_on("stat", &target)?;
        let tmpfs = matches!(mount, StepMount::Tmpfs { .. });
        prepared.push(Prepared { target, mount: made, directory, tmpfs });
    }
    Ok(prepared)
}

/// Why a source is not to be had.
enum NoSource {
    Missing(String),
    Refused(Failure),
}

impl NoSource {
    fn at(self, target: &Path) -> NotRun {
        match self {
            Self::Missing(reason) => NotRun::Mount { target: target.display().to_string(), reason },
            Self::Refused(failure) => NotRun::Setup(failure),
        }
    }
}

impl From<Failure> for NoSource {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// A bind mount. Where writes are allowed they go to a directory of the step's own and are lost with it.
fn bind(number: usize, source: &MountSource, readonly: bool, scratch: &Path) -> Result<OwnedFd, NoSource> {
    let place = match source {
        MountSource::Host { path, subpath } => {
            let place = below(path, subpath)?;
            if readonly {
                return Ok(clone_of(place, BOUND | read_only(true))?);
            }
            if !is_directory(&place).refused_on("stat", path)? {
                copy_of_file(number, &place, path, scratch)?
            } else {
                let lower = resolve::by_descriptor(&place);
                overlay(number, vec![&lower], Some(scratch))?
            }
        }
        MountSource::Layers { lowers, subpath } => {
            let root = overlay(
                number,
                lowers.iter().map(PathBuf::as_path).collect(),
                (!readonly).then_some(scratch),
            )?;
            resolve::open(&root, subpath).map_err(|error| missing(subpath, error))?
        }
    };
    Ok(clone_of(place, BOUND | read_only(readonly))?)
}

/// What is bound brings no set-user-id programs and no devices.
const BOUND: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// The same without overlays: what may be written is a copy. That of layers was made before the step.
fn bind_copy(
    number: usize,
    source: &MountSource,
    readonly: bool,
    scratch: &Path,
) -> Result<OwnedFd, NoSource> {
    let copy = scratch.join(copies::source_of(number));
    let place = match source {
        MountSource::Host { path, subpath } => {
            let place = below(path, subpath)?;
            if readonly {
                return Ok(clone_of(place, BOUND | read_only(true))?);
            }
            let scratch = open_directory(scratch)?;
            files::copy_tree(place.as_fd(), scratch.as_fd(), Path::new(&copies::source_of(number)))
                .refused_on("copy", path)?;
            rustix::fs::open(&copy, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).refused_on("open", copy)?
        }
        MountSource::Layers { subpath, .. } => {
            let root = open_directory(&copy)?;
            resolve::open(&root, subpath).map_err(|error| missing(subpath, error))?
        }
    };
    Ok(clone_of(place, BOUND | read_only(readonly))?)
}

fn overlay(number: usize, lowers: Vec<&Path>, scratch: Option<&Path>) -> Result<OwnedFd, Failure> {
    let root = format!("mount{number}");
    make_directory(&root)?;
    let mut lowers: Vec<&Path> = lowers;
    // The kernel wants one lower tree below an upper one, and two where there is none.
    let wanted = if scratch.is_some() { 1 } else { 2 };
    for filler in ["empty", "nothing"] {
        if lowers.len() < wanted {
            make_directory(filler)?;
            lowers.insert(0, Path::new(filler));
        }
    }
    // On disk and not in memory, since a step may write much.
    let upper = scratch.map(|scratch| scratch.join(format!("mount{number}-upper")));
    let work = scratch.map(|scratch| scratch.join(format!("mount{number}-work")));
    if let (Some(upper), Some(work)) = (&upper, &work) {
        make_directory(upper)?;
        work_directory(work)?;
    }
    Overlay { lowers, upper: upper.as_deref().zip(work.as_deref()) }.attach(Path::new(&root))?;
    rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).refused_on("open", &root)
}

fn copy_of_file(number: usize, place: &OwnedFd, path: &Path, scratch: &Path) -> Result<OwnedFd, Failure> {
    let name = scratch.join(format!("mount{number}-file"));
    std::fs::copy(resolve::by_descriptor(place), &name).refused_on("copy", path)?;
    rustix::fs::open(&name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).refused_on("open", &name)
}

/// A file of memory. Each has a filesystem of its own, so that nothing else can be reached through it.
fn secret(number: usize, content: OwnedFd, mode: u32, uid: u32, gid: u32) -> Result<OwnedFd, Failure> {
    let directory = format!("mount{number}-secret");
    rustix::fs::mkdir(&directory, Mode::from_raw_mode(0o700)).refused_on("mkdir", &directory)?;
    let place = rustix::fs::open(&directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .refused_on("open", &directory)?;
    attach(tmpfs("700", None, INERT)?, place)?;
    let path = Path::new(&directory).join("secret");
    let mut from = std::fs::File::from(content);
    let mut to = std::fs::File::create_new(&path).refused("create(secret)")?;
    std::io::Seek::rewind(&mut from).refused("lseek(secret)")?;
    std::io::copy(&mut from, &mut to).refused("write(secret)")?;
    match rustix::fs::fchown(&to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
        // With one id mapped every process of the step may read it.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error).refused("chown(secret)"),
    }
    rustix::fs::fchmod(&to, Mode::from_raw_mode(mode & 0o7777)).refused("chmod(secret)")?;
    let place =
        rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).refused_on("open", &path)?;
    clone_of(place, INERT | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Gives the step's own socket of an agent its owner and mode: who may write to it may connect.
pub(super) fn own_socket(socket: &Path, mode: u32, uid: u32, gid: u32) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    match rustix::fs::chown(socket, Some(uid), Some(gid)) {
        // With one id mapped every process of the step may use it.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error).refused_on("chown", socket),
    }
    rustix::fs::chmod(socket, Mode::from_raw_mode(mode & 0o7777)).refused_on("chmod", socket)
}

/// Opens `subpath` below `source`, resolved inside it.
fn below(source: &Path, subpath: &Path) -> Result<OwnedFd, NoSource> {
    let place = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| missing(source, error))?;
    if subpath.components().all(|part| part == std::path::Component::RootDir) {
        return Ok(place);
    }
    resolve::open(place, subpath).map_err(|error| missing(subpath, error))
}

fn missing(path: &Path, error: rustix::io::Errno) -> NoSource {
    NoSource::Missing(format!("its source `{}`: {}", path.display(), std::io::Error::from(error)))
}

fn read_only(yes: bool) -> MountAttrFlags {
    if yes { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() }
}

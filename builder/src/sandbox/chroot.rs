//! The rung without mounts: a real directory, and what others mount is put there for the time of the step.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timestamps, Uid};
use rustix::io::Errno;

use super::emulation::kernel::{self, KernelFiles, Served};
use super::failure::Refused as _;
use super::features::Features;
use super::report::Failure;
use super::step::{MountSource, Step, StepMount};
use super::wire::{NotRun, RawPath};
use super::{copies, files, resolve, root, step_mounts, system_mounts};

/// A directory that is dressed as a container's root, and how it is undressed.
pub(super) struct Dressed {
    pub(super) root: OwnedFd,
    scratch: OwnedFd,
    guests: Vec<Guest>,
    /// Directories that were made for guests, deepest last.
    made: Vec<(OwnedFd, PathBuf)>,
    /// Who answers for the files of the kernel and for secrets; nobody where the step must be left alone.
    pub(super) files: Option<KernelFiles>,
}

/// Something that is in the image for the time of the step.
struct Guest {
    parent: OwnedFd,
    name: PathBuf,
    /// Where what it hides was put aside, in the scratch directory.
    aside: Option<String>,
    /// Where it goes afterwards: a cache goes home. Everything else is removed.
    home: Option<PathBuf>,
    /// The times of the directory that it is in: before it came, and with it there.
    before: Timestamps,
    with: Timestamps,
}

/// The list of the caches that were moved into the image.
const MOVED: &str = "moved";

/// Moves the caches of a step that was killed back to where they belong.
pub(super) fn bring_home(scratch: &Path) {
    let Ok(notes) = std::fs::read(scratch.join(MOVED)) else { return };
    let Ok(root) =
        rustix::fs::open(scratch.join(copies::ROOT), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    else {
        return;
    };
    for note in notes.split(|byte| *byte == b'\n') {
        let Ok((real, home)) = serde_json::from_slice::<(RawPath, RawPath)>(note) else { continue };
        let (real, home) = (PathBuf::from(real), PathBuf::from(home));
        let (Some(above), Some(name)) = (real.parent(), real.file_name()) else { continue };
        if let Ok(parent) = resolve::open(&root, above)
            && !home.exists()
        {
            let _ = rustix::fs::renameat(&parent, name, rustix::fs::CWD, &home);
        }
    }
}

/// Dresses `scratch/root` for a step.
pub(super) fn dress(step: &Step, secrets: Vec<OwnedFd>, features: &Features) -> Result<Dressed, NotRun> {
    let open = |path: &Path| {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).refused_on("open", path)
    };
    let mut dressed = Dressed {
        root: open(&step.scratch.join(copies::ROOT))?,
        scratch: open(&step.scratch)?,
        guests: Vec::new(),
        made: Vec::new(),
        files: None,
    };
    let watched = features.hands_over && !needs_other_ids(&dressed.root, step);
    for name in root::SYSTEM {
        match rustix::fs::mkdirat(&dressed.root, name, Mode::from_raw_mode(0o755)) {
            // What a mount needs on its way is not kept for itself.
            Ok(())
                if step.mounts.iter().any(|mount| mount.target().starts_with(Path::new("/").join(name))) =>
            {
                let root = dressed.root.try_clone().map_err(|_| Errno::MFILE).refused_on("dup", name)?;
                dressed.made.push((root, name.into()));
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).refused_on("mkdir", name).map_err(Into::into),
        }
        let stat =
            rustix::fs::statat(&dressed.root, name, AtFlags::SYMLINK_NOFOLLOW).refused_on("stat", name)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Err::<(), _>(Errno::NOTDIR).refused_on("open", name).unwrap_err().into());
        }
    }
    match dressed.settle(step, secrets, watched) {
        Ok(()) => Ok(dressed),
        Err(why) => {
            // A cache that is in already goes home.
            dressed.undress()?;
            Err(why)
        }
    }
}

impl Dressed {
    fn settle(&mut self, step: &Step, secrets: Vec<OwnedFd>, watched: bool) -> Result<(), NotRun> {
        let devices = self.fresh("dev")?;
        let devices = system_mounts::make_devices(&devices, step)?;
        let mut served = Vec::new();
        for name in root::SYSTEM {
            if name != "dev" {
                self.fresh(name)?;
            }
            self.put(&Path::new("/").join(name), &step.scratch.join(name), None)?;
        }
        for (name, content) in root::resolver_files(step) {
            let source = step.scratch.join(name);
            std::fs::write(&source, content).refused_on("write", &source)?;
            self.put(&Path::new("/etc").join(name), &source, None)?;
        }
        let mut secrets = secrets.into_iter();
        // What is inside another goes in after it. Secrets come in the order of the Dockerfile.
        let mut mounts = Vec::with_capacity(step.mounts.len());
        for (number, mount) in step.mounts.iter().enumerate() {
            let secret = matches!(mount, StepMount::Secret { .. }).then(|| secrets.next()).flatten();
            mounts.push((number, mount, secret));
        }
        mounts.sort_by_key(|(_, mount, _)| mount.target().components().count());
        for (number, mount, secret) in mounts {
            let target = Path::new("/").join(mount.target());
            let impossible = |reason: String| NotRun::Mount { target: target.display().to_string(), reason };
            let name = copies::source_of(number);
            let place = step.scratch.join(&name);
            match mount {
                StepMount::Bind { source: MountSource::Layers { subpath, .. }, .. } => {
                    let from = rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                        .refused_on("open", &place)?;
                    let found = resolve::locate(&from, subpath)
                        .ok()
                        .filter(|found| found.kind.is_some())
                        .ok_or_else(|| {
                            impossible(format!("its source `{}` does not exist", subpath.display()))
                        })?;
                    self.put(&target, &place.join(found.real), None)?;
                }
                StepMount::Bind { source: MountSource::Host { path, subpath }, .. } => {
                    let from = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                        .and_then(|from| {
                            if subpath.as_os_str().is_empty() {
                                Ok(from)
                            } else {
                                resolve::open(from, subpath)
                            }
                        })
                        .map_err(|error| {
                            impossible(format!(
                                "its source `{}`: {}",
                                path.display(),
                                std::io::Error::from(error)
                            ))
                        })?;
                    files::copy_tree(from.as_fd(), self.scratch.as_fd(), Path::new(&name))
                        .refused_on("copy", path)?;
                    self.put(&target, &place, None)?;
                }
                StepMount::Tmpfs { .. } => {
                    let covered = resolve::open(&self.root, &target).and_then(rustix::fs::fstat);
                    let mode = covered.map_or(0o1777, |covered| covered.st_mode & 0o7777);
                    let made = self.fresh(&name)?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).refused_on("chmod", &place)?;
                    self.put(&target, &place, None)?;
                }
                StepMount::Cache { source, subpath, .. } => {
                    let from = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                        .refused_on("open", source)?;
                    let found = resolve::locate(&from, subpath)
                        .ok()
                        .filter(|found| found.kind.is_some())
                        .ok_or_else(|| {
                            impossible(format!("its source `{}` does not exist", subpath.display()))
                        })?;
                    let home = source.join(found.real);
                    self.put(&target, &home, Some(home.clone()))?;
                }
                StepMount::Secret { mode, uid, gid, .. } => {
                    let content =
                        secret.ok_or_else(|| impossible("its content did not arrive".to_owned()))?;
                    let mut content = std::fs::File::from(content);
                    let mut to = std::fs::File::create_new(&place).refused("create(secret)")?;
                    rustix::fs::fchmod(&to, Mode::from_raw_mode(0o600)).refused("chmod(secret)")?;
                    let mut bytes = Vec::new();
                    std::io::Read::read_to_end(&mut content, &mut bytes).refused("read(secret)")?;
                    if watched {
                        // Of the right length, so that it looks as what it stands for.
                        to.set_len(bytes.len() as u64).refused("ftruncate(secret)")?;
                    } else {
                        std::io::Write::write_all(&mut to, &bytes).refused("write(secret)")?;
                    }
                    rustix::fs::fchown(&to, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))
                        .refused("chown(secret)")?;
                    rustix::fs::fchmod(&to, Mode::from_raw_mode(mode & 0o7777)).refused("chmod(secret)")?;
                    let real = self.put(&target, &place, None)?;
                    if watched {
                        let content = kernel::sealed(&bytes).refused("memfd_create(secret)")?;
                        served.push(Served { place: real, content, mode: *mode, uid: *uid, gid: *gid });
                    }
                }
                StepMount::Ssh { socket, mode, uid, gid, .. } => {
                    step_mounts::own_socket(socket, *mode, *uid, *gid)?;
                    self.put(&target, socket, None)?;
                }
            }
        }
        if watched {
            let root = self.root.try_clone().refused("dup")?;
            self.files = Some(KernelFiles::new(root, served, devices).refused("readlink(root)")?);
        }
        Ok(())
    }

    fn fresh(&self, name: &str) -> Result<OwnedFd, Failure> {
        rustix::fs::mkdirat(&self.scratch, name, Mode::from_raw_mode(0o755)).refused_on("mkdir", name)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.scratch, name, flags, Mode::empty()).refused_on("open", name)
    }

    /// Moves `source` to `target` in the image, and what is there aside. Gives the target without symbolic links.
    fn put(&mut self, target: &Path, source: &Path, home: Option<PathBuf>) -> Result<PathBuf, NotRun> {
        let impossible = |error: Errno| NotRun::Mount {
            target: target.display().to_string(),
            reason: std::io::Error::from(error).to_string(),
        };
        let located = resolve::locate(&self.root, target).map_err(impossible)?;
        let Some(name) = located.real.file_name().map(PathBuf::from) else {
            return Err(NotRun::Mount {
                target: target.display().to_string(),
                reason: "the root cannot be mounted over".to_owned(),
            });
        };
        let above = located.real.parent().unwrap_or(Path::new(""));
        let parent = self.make(above, located.existing).map_err(impossible)?;
        let before = times(&parent).map_err(impossible)?;
        let aside = if located.kind.is_some() {
            let aside = format!("aside{}", self.guests.len());
            rustix::fs::renameat_with(&parent, &name, &self.scratch, &aside, RenameFlags::NOREPLACE)
                .refused_on("rename", target)?;
            Some(aside)
        } else {
            None
        };
        if let Some(home) = &home {
            self.note(&located.real, home)?;
        }
        rustix::fs::renameat(rustix::fs::CWD, source, &parent, &name).refused_on("rename", source)?;
        // What is hidden and what hides it do not make the directory look changed.
        rustix::fs::futimens(&parent, &before).refused_on("utimensat", target)?;
        let with = times(&parent).map_err(impossible)?;
        self.guests.push(Guest { parent, name, aside, home, before, with });
        Ok(located.real)
    }

    /// Writes down that a cache is moved, before it is: see [`bring_home`].
    fn note(&self, real: &Path, home: &Path) -> Result<(), Failure> {
        let note = serde_json::to_vec(&(RawPath::from(real), RawPath::from(home))).refused("write")?;
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.scratch, MOVED, flags, Mode::from_raw_mode(0o600));
        let mut file = std::fs::File::from(file.refused_on("create", MOVED)?);
        std::io::Write::write_all(&mut file, &[&note, b"\n".as_slice()].concat()).refused_on("write", MOVED)
    }

    /// Opens a directory of the image, made where it is missing.
    fn make(&mut self, path: &Path, existing: usize) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here = rustix::fs::openat(&self.root, ".", flags, Mode::empty())?;
        for (at, word) in path.iter().enumerate() {
            if at >= existing {
                let before = times(&here)?;
                rustix::fs::mkdirat(&here, word, Mode::from_raw_mode(0o755))?;
                rustix::fs::futimens(&here, &before)?;
                self.made.push((here.try_clone().map_err(|_| Errno::MFILE)?, word.into()));
            }
            here = rustix::fs::openat(&here, word, flags, Mode::empty())?;
        }
        Ok(here)
    }

    /// Takes everything out again, last first, and puts back what was there.
    pub(super) fn undress(self) -> Result<(), Failure> {
        for guest in self.guests.into_iter().rev() {
            let now = times(&guest.parent).refused("stat")?;
            // A step that changed the directory itself changed its time.
            let restored = if now.last_modification.tv_sec == guest.with.last_modification.tv_sec
                && now.last_modification.tv_nsec == guest.with.last_modification.tv_nsec
            {
                guest.before
            } else {
                now
            };
            match guest.home {
                Some(home) => {
                    rustix::fs::renameat(&guest.parent, &guest.name, rustix::fs::CWD, &home)
                        .refused_on("rename", &home)?;
                }
                None => files::remove_entry(guest.parent.as_fd(), &guest.name)
                    .refused_on("unlink", &guest.name)?,
            }
            if let Some(aside) = guest.aside {
                rustix::fs::renameat(&self.scratch, &aside, &guest.parent, &guest.name)
                    .refused_on("rename", &guest.name)?;
            }
            rustix::fs::futimens(&guest.parent, &restored).refused("utimensat")?;
        }
        for (parent, name) in self.made.into_iter().rev() {
            let before = times(&parent).refused("stat")?;
            if rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR).is_ok() {
                rustix::fs::futimens(&parent, &before).refused("utimensat")?;
            }
        }
        Ok(())
    }
}

/// Whether the step is another user's and the image has a program by which that user becomes root: such a program has
/// no effect in a step whose calls are answered. A secret must stay in memory all the same.
fn needs_other_ids(root: &OwnedFd, step: &Step) -> bool {
    let has = |name: &str| resolve::open(root, name).is_ok();
    step.user.uid != 0
        && ["usr/bin/sudo", "usr/local/bin/sudo", "usr/bin/doas"].iter().any(|name| has(name))
        && !step.mounts.iter().any(|mount| matches!(mount, StepMount::Secret { .. }))
}

fn times(directory: &OwnedFd) -> rustix::io::Result<Timestamps> {
    let stat = rustix::fs::fstat(directory)?;
    let time = |seconds, nanoseconds: u64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Ok(Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    })
}

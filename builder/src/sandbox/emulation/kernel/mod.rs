//! `/proc`, `/sys` and devices for a step that can mount nothing: its processes are stopped where they name a file,
//! and what lies below these directories is opened here, outside, and handed over.
//!
//! A step gets descriptors of files only. One of a directory of the real `/proc` would lead to the real root by `..`,
//! so directories are mirrored: the step's own `/proc` on the disk has what was listed or looked at, as empty files.
//! Nothing depends on what the kernel reads after this process looked: a name that changes meanwhile leads to the disk.

mod mirror;
mod proc;
mod sys;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::process::Process;
use super::question::{Question, Want};
use crate::sandbox::resolve::{self, by_descriptor};
use crate::sandbox::sys::Verdict;

use mirror::Mirror;

/// A file that is only in memory, at its place in the image.
pub(in crate::sandbox) struct Served {
    /// Where, without symbolic links, below the root.
    pub(in crate::sandbox) place: PathBuf,
    /// Its sealed content.
    pub(in crate::sandbox) content: OwnedFd,
    pub(in crate::sandbox) mode: u32,
    pub(in crate::sandbox) uid: u32,
    pub(in crate::sandbox) gid: u32,
}

/// Answers for the files that the kernel would show.
pub(in crate::sandbox) struct KernelFiles {
    root: OwnedFd,
    /// Where the root is, by the names of this process.
    root_path: PathBuf,
    served: Vec<Served>,
    /// Devices that could not be made: their names.
    devices: Vec<&'static str>,
    mirror: Mirror,
}

/// What a name below `/proc`, `/sys` or `/dev` means.
enum Target {
    /// This file or directory, by this process's names.
    Real(PathBuf),
    /// The same of a file or directory of a process of the step: to be opened as that process.
    Of(PathBuf),
    /// A link whose text differs from what this process reads there.
    Text(Vec<u8>),
    /// A file with this content.
    Made(Vec<u8>),
    /// Another place in the image, to be looked at anew: where a link leads, and on from there.
    Elsewhere { leads: PathBuf, rest: PathBuf },
}

/// As far as links that lead to links are followed.
const MAX_HOPS: usize = 8;

impl KernelFiles {
    pub(in crate::sandbox) fn new(
        root: OwnedFd,
        served: Vec<Served>,
        devices: Vec<&'static str>,
    ) -> io::Result<Self> {
        let root_path = std::fs::read_link(by_descriptor(&root))?;
        let mirror = Mirror::new(root.try_clone()?);
        Ok(Self { root, root_path, served, devices, mirror })
    }

    /// Answers a call.
    pub(super) fn answer(&mut self, process: &Process) -> io::Result<Verdict> {
        let Some((question, name)) = self.asked(process) else { return Ok(Verdict::Continues) };
        let follows = match question.want {
            Want::Open(flags) => !flags.contains(OFlags::NOFOLLOW),
            Want::Link { .. } => false,
            Want::Look { follow } => follow,
        };
        let mut place = name;
        for hop in 0..MAX_HOPS {
            let Some(real) = self.real(&place, follows) else { return Ok(Verdict::Continues) };
            if let Some(served) = self.served.iter().find(|served| served.place == real) {
                return served.answer(process, &question.want);
            }
            let Some(target) = self.target(process, &real)? else {
                // Reached through a link of /proc, which the kernel would not find on the disk.
                return if hop == 0 {
                    Ok(Verdict::Continues)
                } else {
                    self.in_image(process, &question.want, &real)
                };
            };
            match target {
                Target::Elsewhere { leads, rest } => {
                    if matches!(question.want, Want::Look { .. }) {
                        let words = real.iter().count() - rest.iter().count();
                        let link: PathBuf = real.iter().take(words).collect();
                        self.mirror.make(&link, &mirror::Found::link(leads.as_os_str().as_bytes()))?;
                        return Ok(Verdict::Continues);
                    }
                    place = leads.join(rest);
                }
                target => return self.give(process, &question.want, &real, target),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }

    /// What is asked and for which name, if that may concern these files: absolute, below the step's root, as written.
    fn asked(&self, process: &Process) -> Option<(Question, PathBuf)> {
        process.as_itself(|| {
            let question = Question::of(process).ok()??;
            let name = PathBuf::from(OsString::from_vec(process.string(question.path).ok()?));
            let name = if name.is_absolute() {
                name
            } else {
                if name.as_os_str().is_empty() {
                    return None;
                }
                let base = process.directory_of(question.directory).ok()?;
                Path::new("/").join(base.strip_prefix(&self.root_path).ok()?).join(name)
            };
            self.concerns(&name).then_some((question, name))
        })
    }

    /// Whether a name can lead to these files at all: most do not, and cost no look at the disk.
    fn concerns(&self, name: &Path) -> bool {
        let first = name.components().nth(1);
        !self.served.is_empty()
            || matches!(first, Some(Component::Normal(first)) if ["proc", "sys", "dev"].iter().any(|known| first == *known))
            || name.components().any(|part| part == Component::ParentDir)
            || name == Path::new("/etc/mtab")
    }

    /// Where a name leads in the image, without its links; of the last part only if it is to be followed.
    fn real(&self, name: &Path, follows: bool) -> Option<PathBuf> {
        // What was mirrored there has links of one process, which are not another's.
        let locate = |name: &Path| {
            resolve::locate_outside(&self.root, name, &["proc", "sys"]).ok().map(|located| located.real)
        };
        if follows { locate(name) } else { Some(locate(name.parent()?)?.join(name.file_name()?)) }
    }

    fn target(&self, process: &Process, real: &Path) -> io::Result<Option<Target>> {
        let mut words = real.iter();
        let Some(first) = words.next() else { return Ok(None) };
        let rest = words.as_path();
        if first == "proc" {
            return proc::target(process, rest, &self.root_path).map(Some);
        }
        if first == "sys" {
            return sys::target(rest).map(Some);
        }
        let device = first == "dev" && self.devices.iter().any(|name| rest == Path::new(name));
        Ok(device.then(|| Target::Real(Path::new("/dev").join(rest))))
    }

    fn give(&mut self, process: &Process, want: &Want, real: &Path, target: Target) -> io::Result<Verdict> {
        match (want, target) {
            (Want::Link { buffer, size }, target) => {
                let text = match target {
                    Target::Text(text) => text,
                    Target::Real(path) => std::fs::read_link(path)?.into_os_string().into_vec(),
                    Target::Of(path) => {
                        let link = process.as_itself(|| std::fs::read_link(path))?;
                        inside(&link, &self.root_path).into_os_string().into_vec()
                    }
                    Target::Made(_) | Target::Elsewhere { .. } => {
                        return Err(io::Error::from_raw_os_error(libc::EINVAL));
                    }
                };
                self.say(process, *buffer, *size, &text)
            }
            (Want::Look { follow }, target) => {
                match target {
                    Target::Real(path) => self.mirror.one(real, &path, *follow)?,
                    Target::Of(path) => {
                        let root = &self.root_path;
                        let mirror = &mut self.mirror;
                        let found = process.as_itself(|| mirror::Found::at(&path, *follow, root))?;
                        mirror.make(real, &found)?;
                    }
                    Target::Made(_) => self.mirror.make(real, &mirror::Found::file(0o444))?,
                    // `self` is a directory here: a link could lead to one process only.
                    Target::Text(_) => self.mirror.make(real, &mirror::Found::directory())?,
                    Target::Elsewhere { .. } => {}
                }
                Ok(Verdict::Continues)
            }
            (Want::Open(flags), Target::Made(content)) => Ok(Verdict::Opens(sealed(&content)?, *flags)),
            (Want::Open(flags), Target::Real(path)) => {
                if path.is_dir() {
                    self.mirror.list(real, &path)?;
                    return self.open_mirrored(real, *flags);
                }
                if !path.starts_with("/dev") && flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
                    return Err(io::Error::from_raw_os_error(libc::EROFS));
                }
                Ok(Verdict::Opens(process.as_itself(|| open(&path, *flags))?, *flags))
            }
            (Want::Open(flags), Target::Of(path)) => {
                let own = process.as_itself(|| is_own_directory(&path));
                if own {
                    let names = process.as_itself(|| mirror::names(&path))?;
                    let real = proc::numbered(process, real);
                    self.mirror.fill(&real, &names)?;
                    return self.open_mirrored(&real, *flags);
                }
                Ok(Verdict::Opens(process.as_itself(|| open(&path, *flags))?, *flags))
            }
            (Want::Open(_), Target::Text(_) | Target::Elsewhere { .. }) => {
                Err(io::Error::from_raw_os_error(libc::ELOOP))
            }
        }
    }

    /// Answers for a file of the image itself.
    fn in_image(&self, process: &Process, want: &Want, real: &Path) -> io::Result<Verdict> {
        match want {
            Want::Open(flags) => {
                let inside = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
                let open = *flags | OFlags::CLOEXEC | OFlags::NOCTTY;
                let mode =
                    if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
                let file = process.as_itself(|| rustix::fs::openat2(&self.root, real, open, mode, inside))?;
                Ok(Verdict::Opens(file, *flags))
            }
            Want::Link { buffer, size } => {
                let text = rustix::fs::readlinkat(&self.root, real, Vec::new())?.into_bytes();
                self.say(process, *buffer, *size, &text)
            }
            Want::Look { .. } => Ok(Verdict::Continues),
        }
    }

    /// Writes where a link leads.
    fn say(&self, process: &Process, buffer: u64, size: u64, text: &[u8]) -> io::Result<Verdict> {
        let length = text.len().min(usize::try_from(size).unwrap_or(0));
        process.as_itself(|| process.write_bytes(buffer, &text[..length]))?;
        Ok(Verdict::Returns(i64::try_from(length).unwrap_or(0)))
    }

    /// Opens what was mirrored, which is in the image.
    fn open_mirrored(&self, real: &Path, flags: OFlags) -> io::Result<Verdict> {
        let open = (flags - OFlags::CREATE - OFlags::EXCL) | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let place = resolve::open(&self.root, real)?;
        Ok(Verdict::Opens(rustix::fs::openat(&place, ".", open, Mode::empty())?, flags))
    }
}

impl Served {
    /// Hands the content to a process that may read it.
    fn answer(&self, process: &Process, want: &Want) -> io::Result<Verdict> {
        let Want::Open(flags) = want else { return Ok(Verdict::Continues) };
        if flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        let (uid, gids) = process.identity()?;
        let bits = match uid {
            0 => 0o444,
            uid if uid == self.uid => self.mode & 0o400,
            _ if gids.contains(&self.gid) => self.mode & 0o040,
            _ => self.mode & 0o004,
        };
        if bits == 0 {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        // Another description of the same file, with a place to read from of its own.
        let again = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(by_descriptor(self.content.as_fd()), again, Mode::empty())?;
        Ok(Verdict::Opens(file, *flags))
    }
}

/// A file of memory that nobody can change.
pub(in crate::sandbox) fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write as _;
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("rbuild", flags)?);
    file.write_all(content)?;
    let seals = rustix::fs::SealFlags::WRITE
        | rustix::fs::SealFlags::GROW
        | rustix::fs::SealFlags::SHRINK
        | rustix::fs::SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(rustix::fs::open(by_descriptor(&file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens as the process asked, but never waits: a pipe without a reader must not stop who answers all others.
fn open(path: &Path, asked: OFlags) -> io::Result<OwnedFd> {
    let flags = (asked - OFlags::CREATE - OFlags::EXCL - OFlags::NOFOLLOW)
        | OFlags::CLOEXEC
        | OFlags::NOCTTY
        | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    if !asked.contains(OFlags::NONBLOCK) && !asked.contains(OFlags::PATH) {
        let now = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, now - OFlags::NONBLOCK)?;
    }
    Ok(fd)
}

/// Whether this is a directory of `/proc` itself and not one that a link there leads to.
fn is_own_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// A path as the step sees it.
fn inside(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
}

fn is_number(word: &OsStr) -> bool {
    !word.is_empty() && word.as_bytes().iter().all(u8::is_ascii_digit)
}

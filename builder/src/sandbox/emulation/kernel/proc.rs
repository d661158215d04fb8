//! What names below `/proc` mean to a process of a step.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{Target, inside, is_number};
use crate::sandbox::emulation::process::{Process, status};
use crate::sandbox::system_mounts;

/// The meaning of `/proc/<rest>`.
pub(super) fn target(process: &Process, rest: &Path, root: &Path) -> io::Result<Target> {
    let real = Path::new("/proc").join(rest);
    let mut words = rest.iter();
    let Some(first) = words.next() else { return Ok(Target::Real(real)) };
    let below = words.as_path();
    let own = process.group()?;
    let number = if first == "self" {
        if below.as_os_str().is_empty() {
            return Ok(Target::Text(own.to_string().into_bytes()));
        }
        own
    } else if first == "thread-self" {
        let thread = format!("{own}/task/{}", process.pid);
        if below.as_os_str().is_empty() {
            return Ok(Target::Text(thread.into_bytes()));
        }
        return of_process(&Path::new("/proc").join(thread), below, root, process);
    } else if first == "mounts" {
        return Ok(if below.as_os_str().is_empty() { Target::Made(MOUNTS.to_vec()) } else { missing()? });
    } else if is_number(first) {
        let number = first.to_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        if !is_of_step(number) {
            return missing();
        }
        number
    } else {
        let hidden = system_mounts::MASKED.iter().any(|masked| real.starts_with(Path::new("/").join(masked)));
        return if hidden || !real.exists() { missing() } else { Ok(Target::Real(real)) };
    };
    of_process(&PathBuf::from(format!("/proc/{number}")), below, root, process)
}

/// The same path with the process's number in the place of `self`: each process lists a directory of its own.
pub(super) fn numbered(process: &Process, real: &Path) -> PathBuf {
    match (real.strip_prefix("proc/self"), process.group()) {
        (Ok(rest), Ok(own)) => Path::new("proc").join(own.to_string()).join(rest),
        _ => real.to_owned(),
    }
}

/// `below` in the directory of one process.
fn of_process(directory: &Path, below: &Path, root: &Path, process: &Process) -> io::Result<Target> {
    let mut words = below.iter();
    let link = match words.next() {
        Some(word) if word == "mounts" => return Ok(Target::Made(MOUNTS.to_vec())),
        Some(word) if word == "mountinfo" => return Ok(Target::Made(MOUNTINFO.to_vec())),
        Some(word) if word == "cwd" || word == "root" => directory.join(word),
        Some(word) if word == "fd" => match words.next() {
            Some(number) => directory.join("fd").join(number),
            None => return Ok(Target::Of(directory.join(below))),
        },
        _ => return Ok(Target::Of(directory.join(below))),
    };
    let more = words.as_path();
    if more.as_os_str().is_empty() {
        return Ok(Target::Of(link));
    }
    // Through a link: on from where it leads, in the image.
    let leads = process.as_itself(|| std::fs::read_link(&link))?;
    if leads != root && !leads.starts_with(root) {
        return missing();
    }
    Ok(Target::Elsewhere { leads: inside(&leads, root), rest: more.to_owned() })
}

/// Whether a process descends from this one. What the builder and others around it run is none of a step's business.
fn is_of_step(number: u32) -> bool {
    let own = std::process::id();
    let mut number = number;
    for _ in 0..256 {
        let parent = status(&PathBuf::from(format!("/proc/{number}")), &["PPid"]);
        match parent {
            Ok(parent) if parent[0] == own => return true,
            Ok(parent) if parent[0] > 1 => number = parent[0],
            _ => return false,
        }
    }
    false
}

/// The names that `/proc` lists: what the kernel tells of itself, and the step's processes.
pub(super) fn lists(name: &OsStr) -> bool {
    if is_number(name) {
        return name.to_str().and_then(|text| text.parse().ok()).is_some_and(is_of_step);
    }
    let path = [b"proc/", name.as_bytes()].concat();
    !system_mounts::MASKED.iter().any(|masked| masked.as_bytes() == path)
}

fn missing() -> io::Result<Target> {
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}

/// The kernel's own list would be empty, since nothing is mounted below the step's root.
const MOUNTS: &[u8] = b"none / rootfs rw 0 0\n";
const MOUNTINFO: &[u8] = b"1 0 0:1 / / rw - rootfs none rw\n";

//! What names below `/sys` mean to a step: the real files, to be read.

use std::io;
use std::path::Path;

use super::Target;
use crate::sandbox::{resolve, system_mounts};

/// The meaning of `/sys/<rest>`, with the links of `/sys` followed inside it.
pub(super) fn target(rest: &Path) -> io::Result<Target> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let sys = rustix::fs::open("/sys", flags, rustix::fs::Mode::empty())?;
    let located = resolve::locate(&sys, rest)?;
    let real = Path::new("/sys").join(&located.real);
    let hidden = system_mounts::MASKED.iter().any(|masked| real.starts_with(Path::new("/").join(masked)));
    if located.kind.is_none() || hidden {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    Ok(Target::Real(real))
}

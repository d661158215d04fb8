//! What the chores and the end-to-end tests share: Debian packages, a registry on loopback, and base images that were
//! made without rbuild.

pub mod base_image;
pub mod container;
pub mod mirror;
pub mod packages;
pub mod registry;
pub mod subject;
pub mod upload;

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo puts what it builds (`CARGO_TARGET_DIR` is respected, never changed).
#[must_use]
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Whether this process is root: asked of /proc, since the standard library has no getuid.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

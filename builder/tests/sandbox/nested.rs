//! A place where no overlay can be mounted: two overlays deep, which is as deep as the kernel goes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The place, for as long as this lives.
pub(crate) struct Nested {
    dir: tempfile::TempDir,
    place: PathBuf,
}

impl Nested {
    /// Takes root.
    pub(crate) fn mount() -> Self {
        let dir = tempfile::Builder::new().prefix("rbuild-nested-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let place = dir.path().join("two");
        let nested = Self { dir, place };
        std::fs::create_dir(nested.dir.path().join("lower")).unwrap();
        nested.overlay("one", "lower");
        nested.overlay("two", "one");
        std::fs::set_permissions(nested.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        nested
    }

    /// Everybody may write there.
    pub(crate) fn path(&self) -> &Path {
        &self.place
    }

    fn overlay(&self, name: &str, lower: &str) {
        let place = |suffix: &str| -> PathBuf {
            let place = self.dir.path().join(format!("{name}{suffix}"));
            std::fs::create_dir(&place).unwrap();
            place
        };
        let (target, upper, work) = (place(""), place("-upper"), place("-work"));
        let lower = self.dir.path().join(lower);
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(target)
            .status()
            .expect("mount");
        assert!(mounted.success(), "an overlay");
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        for name in ["two", "one"] {
            // What a test left there may still be about to end.
            let _ = Command::new("umount").arg("-l").arg(self.dir.path().join(name)).status();
        }
    }
}

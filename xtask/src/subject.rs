//! The program under test: where each user can reach it, who runs it, and the note of what could not be tested.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::is_root;

/// A user with subordinate ids and without privilege. `cargo xtask test` makes it where it runs as root.
pub const PLAIN_USER: &str = "rbuild-test";
/// The same without subordinate ids.
pub const BARE_USER: &str = "rbuild-nosub";

/// uid and gid of a user, if there is one of that name.
#[must_use]
pub fn ids(user: &str) -> Option<(u32, u32)> {
    let number = |option: &str| {
        let output = Command::new("id").args([option, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((number("-u")?, number("-g")?))
}

/// A command that runs `program` as a login of that user would: no further groups, no capabilities.
#[must_use]
pub fn as_user((uid, gid): (u32, u32), program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups").arg("--");
    command.arg(program);
    command
}

/// The program that the tests are about: the one that was built with them, or the one that `RBUILD_TEST_BINARY` names.
/// That shows the same of a release, or asks another builder what it thinks of the conformance cases.
#[must_use]
pub fn under_test(built: &str) -> PathBuf {
    std::env::var_os("RBUILD_TEST_BINARY").map_or_else(|| built.into(), PathBuf::from)
}

/// That program, at a place that any user may reach: the target directory may lie below a home that
/// others cannot enter. One copy serves all runs.
pub fn reachable(built: &Path) -> std::io::Result<PathBuf> {
    if !is_root() {
        return Ok(built.to_owned());
    }
    let place = Path::new("/tmp/rbuild-e2e-binary");
    fs::create_dir_all(place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
    let stamp = fs::metadata(built)?.modified()?;
    let stamp = stamp.duration_since(std::time::UNIX_EPOCH).map_err(std::io::Error::other)?.as_nanos();
    let copy = place.join(format!("rbuild-{stamp}"));
    if !copy.exists() {
        for old in fs::read_dir(place)?.filter_map(Result::ok) {
            // Another run may be at work with a young one.
            let age = old.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
            if age.is_some_and(|age| age > std::time::Duration::from_secs(3600)) {
                let _ = fs::remove_file(old.path());
            }
        }
        // Of its own name, since other tests of this process may do the same.
        let fresh = tempfile::Builder::new().prefix("fresh-").tempfile_in(place)?.into_temp_path();
        fs::copy(built, &fresh)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        fresh.persist(&copy)?;
    }
    Ok(copy)
}

/// Says by name what a test needs, and where `cargo xtask test` collects it.
pub fn skip(test: &str, need: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs {need}");
    if let Some(path) = std::env::var_os("RBUILD_TEST_SKIPS") {
        let file = fs::File::options().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test} needs {need}"));
    }
}

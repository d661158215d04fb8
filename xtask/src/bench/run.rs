//! RUN: twenty `RUN true` on a warm base, the whole process, beside buildah without namespaces of its own.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::{base_image, is_root, packages, subject, target_directory};

use super::frame::{Line, Report, compare};

/// How often each build is measured.
const ROUNDS: usize = 5;
/// Steps of a build.
const STEPS: usize = 20;
/// Layers below, to show that a step's start does not grow with them.
const LAYERS: usize = 120;

/// Runs it: a minute on a quiet machine, as root.
pub(super) fn run() -> Result<Report> {
    crate::need_compiler()?;
    let missing = packages::install(&[("buildah", "buildah"), ("uidmap", "newuidmap")])?;
    if !missing.is_empty() || !is_root() {
        bail!("this benchmark needs root, buildah and uidmap");
    }
    packages::run(crate::cargo().args(["build", "--release", "--package", "cli"]))?;
    let program = subject::reachable(&target_directory().join("release/rbuild"))?;
    let user = subject::ids(subject::PLAIN_USER).with_context(|| {
        format!("the user {} is not here; `cargo xtask test` makes it", subject::PLAIN_USER)
    })?;
    let place = tempfile::Builder::new().prefix("rbuild-bench-").tempdir()?;
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let bench = Bench { program, user, place, round: Cell::new(0) };
    bench.bases()?;
    let [root, plain, many, theirs] = compare(
        ROUNDS,
        [
            &mut || bench.rbuild(None, "base"),
            &mut || bench.rbuild(Some(bench.user), "base"),
            &mut || bench.rbuild(None, "deep"),
            &mut || bench.buildah("base"),
        ],
    )?;
    let beside = "buildah chroot".to_owned();
    let line = |what: &str, ours, beside: String, theirs, bound| Line {
        what: what.to_owned(),
        beside,
        ours,
        theirs: Some(theirs),
        bound: Some(bound),
    };
    Ok(Report {
        name: "run",
        lines: vec![
            line("20 RUN true, root", root, beside.clone(), theirs, 0.05),
            line("20 RUN true, plain user", plain, beside, theirs, 0.10),
            line("20 RUN true over 120 layers, root", many, "rbuild over one layer".to_owned(), root, 1.5),
        ],
    })
}

struct Bench {
    program: PathBuf,
    user: (u32, u32),
    place: tempfile::TempDir,
    /// Every build is another one, so that no cache knows its steps.
    round: Cell<usize>,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Makes the base images in all three stores: `base` with one layer and `deep` with many.
    fn bases(&self) -> Result<()> {
        let context = self.path("context");
        fs::create_dir(&context)?;
        fs::write(context.join("rootfs.tar"), base_image::busybox_tar()?)?;
        fs::write(context.join("Base"), "FROM scratch\nADD rootfs.tar /\nENV PATH=/bin\n")?;
        let mut deep = "FROM localhost/base:1\n".to_owned();
        deep.extend((1..LAYERS).map(|layer| format!("COPY Base /layers/{layer}\n")));
        fs::write(context.join("Deep"), deep)?;
        for owner in [None, Some(self.user)] {
            for (name, file) in [("base", "Base"), ("deep", "Deep")] {
                let mut command = self.command(owner)?;
                command.args(["--quiet", "-t", &format!("localhost/{name}:1"), "-f"]);
                packages::run(command.arg(context.join(file)).arg(&context))?;
            }
        }
        let mut command = self.theirs()?;
        packages::run(
            command.args(["--quiet", "-t", "localhost/base:1", "-f"]).arg(context.join("Base")).arg(&context),
        )
    }

    /// Twenty steps that nobody has done yet.
    fn dockerfile(&self, base: &str) -> Result<PathBuf> {
        let round = self.round.replace(self.round.get() + 1);
        let mut text = format!("FROM localhost/{base}:1\n");
        text.extend((0..STEPS).map(|step| format!("RUN true {round} {step}\n")));
        let path = self.path("context").join(format!("Dockerfile.{round}"));
        fs::write(&path, text)?;
        Ok(path)
    }

    fn command(&self, owner: Option<(u32, u32)>) -> Result<Command> {
        let store = self.path(if owner.is_some() { "plain" } else { "root" });
        if !store.exists() {
            fs::create_dir(&store)?;
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::chown(&store, Some(uid), Some(gid))?;
            }
        }
        let mut command = match owner {
            Some(ids) => subject::as_user(ids, &self.program),
            None => Command::new(&self.program),
        };
        command.arg("build").arg("--root").arg(store).env("HOME", "/nonexistent").current_dir("/");
        Ok(command)
    }

    fn rbuild(&self, owner: Option<(u32, u32)>, base: &str) -> Result<Command> {
        let mut command = self.command(owner)?;
        command.args(["--progress", "none", "-t", "localhost/bench:1", "-f"]).arg(self.dockerfile(base)?);
        command.arg(self.path("context"));
        Ok(command)
    }

    fn theirs(&self) -> Result<Command> {
        let program = packages::find("buildah").context("buildah is not installed")?;
        let mut command = Command::new(program);
        command.arg("--root").arg(self.path("buildah")).arg("--runroot").arg(self.path("buildah-run"));
        command.args(["build", "--isolation", "chroot", "--layers", "--pull-never"]);
        Ok(command)
    }

    fn buildah(&self, base: &str) -> Result<Command> {
        let mut command = self.theirs()?;
        command.args(["--quiet", "-t", "localhost/bench:1", "-f"]).arg(self.dockerfile(base)?);
        command.arg(self.path("context"));
        Ok(command)
    }
}

/// buildah keeps its layers mounted where a build was cut short.
impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.path("buildah-run")));
    }
}

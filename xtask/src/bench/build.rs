//! Builds beside Debian's buildah: a project on a Debian base from a loopback registry, four stages of which two may run
//! side by side, a COPY of 4,000 files, four commands. The commands do next to nothing: what they cost they cost under
//! either builder, and it is the builders that are compared.
//!
//! Both work as root on stores of their own and keep their results; buildah with `--layers --isolation chroot`, which is
//! its fastest way.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use xtask::registry::Registry;
use xtask::{base_image, mirror, packages, target_directory};

use super::frame::{Cost, Line, Report, compare};

/// How often a build is measured that has nothing to do.
const ROUNDS: usize = 5;
/// How often one is that takes buildah ten seconds and more, so that all of it ends within five minutes.
const LONG_ROUNDS: usize = 3;

const DOCKERFILE: &str = "\
FROM debian:bookworm AS base
RUN mkdir -p /srv/app && echo base > /srv/app/base
FROM base AS assets
COPY src /work
RUN find /work -type f | wc -l > /srv/app/count
FROM base AS docs
COPY docs /docs
RUN wc -c /docs/* > /srv/app/docs
FROM base
COPY --from=assets /srv/app/count /srv/app/
COPY --from=docs /srv/app/docs /srv/app/
RUN cat /srv/app/* > /srv/all
CMD [\"cat\", \"/srv/all\"]
";

/// What is measured with, and where.
struct Bench {
    rbuild: PathBuf,
    place: tempfile::TempDir,
    registry: Registry,
    /// How many stores each builder has begun.
    our_stores: Cell<usize>,
    their_stores: Cell<usize>,
}

/// Runs it: some minutes, as root, with 2 GB of disk.
pub(super) fn run() -> Result<Report> {
    if !xtask::is_root() {
        bail!("buildah's chroot isolation with its layers in overlay mounts needs root");
    }
    crate::need_compiler()?;
    packages::install(&[("mmdebstrap", "mmdebstrap"), ("buildah", "buildah")])?;
    let kept = target_directory().join("xtask/bench");
    fs::create_dir_all(&kept)?;
    let registry = Registry::start()?;
    let tar = kept.join("debian-bookworm.tar");
    base_image::push_debian(registry.address(), &tar)?;
    let place = tempfile::Builder::new().prefix("rbuild-bench-").tempdir()?;
    mirror::daemon_json(place.path(), registry.address())?;
    let (our_stores, their_stores) = (Cell::new(0), Cell::new(0));
    let bench = Bench { rbuild: release()?, place, registry, our_stores, their_stores };
    bench.project(&tar)?;

    let mut lines = Vec::new();
    let mut line = |what: &str, [ours, theirs]: [Cost; 2], bound: f64| {
        let beside = "buildah bud --layers".to_owned();
        lines.push(Line { what: what.to_owned(), beside, ours, theirs: Some(theirs), bound: Some(bound) });
    };
    line(
        "cold, with pull",
        compare(LONG_ROUNDS, [&mut || bench.ours(true, false), &mut || bench.theirs(true, false)])?,
        0.12,
    );
    line(
        "cold, with pull and push",
        compare(LONG_ROUNDS, [&mut || bench.ours(true, true), &mut || bench.theirs(true, true)])?,
        0.12,
    );
    line(
        "nothing changed",
        compare(ROUNDS, [&mut || bench.ours(false, false), &mut || bench.theirs(false, false)])?,
        0.005,
    );
    let mut changes = 0;
    let mut change = || {
        changes += 1;
        fs::write(bench.path("project/src/directory-0/file-0"), format!("change {changes}\n"))
    };
    let mut also = 0;
    let mut change_too = || {
        also += 1;
        fs::write(bench.path("project/src/directory-1/file-1"), format!("other change {also}\n"))
    };
    line(
        "one source file changed",
        compare(
            LONG_ROUNDS,
            [
                &mut || {
                    change()?;
                    bench.ours(false, false)
                },
                &mut || {
                    change_too()?;
                    bench.theirs(false, false)
                },
            ],
        )?,
        0.05,
    );
    Ok(Report { name: "build", lines })
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn project(&self, tar: &Path) -> Result<()> {
        super::store::many_files(tar, &self.path("project/src"))?;
        fs::create_dir_all(self.path("project/docs"))?;
        fs::write(self.path("project/docs/readme"), "read me\n")?;
        fs::write(self.path("project/Dockerfile"), DOCKERFILE)?;
        Ok(())
    }

    fn ours(&self, cold: bool, push: bool) -> Result<Command> {
        let store = self.store("store", &self.our_stores, cold);
        let mut command = Command::new(&self.rbuild);
        command.arg("build").args(["-t", &self.name(cold, "ours")]).args(push.then_some("--push"));
        command.args(["--progress", "none", "."]).current_dir(self.path("project"));
        command.env("RBUILD_ROOT", store).env("RBUILD_DAEMON_JSON", self.path("daemon.json"));
        Ok(command)
    }

    fn theirs(&self, cold: bool, push: bool) -> Result<Command> {
        let places = [self.store("buildah", &self.their_stores, cold), self.path("buildah-run")];
        let conf = self.path("registries.conf");
        let address = self.registry.address();
        fs::write(
            &conf,
            format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{address}\"\ninsecure = true\n"),
        )?;
        let name = self.name(cold, "theirs");
        let mut command = self.buildah(&places);
        command.env("CONTAINERS_REGISTRIES_CONF", &conf).current_dir(self.path("project"));
        let bud = "bud --quiet --layers --isolation chroot --format oci --tls-verify=false -f Dockerfile";
        if push {
            let global = format!("buildah --root {} --runroot {}", places[0].display(), places[1].display());
            let mut shell = Command::new("sh");
            shell.env("CONTAINERS_REGISTRIES_CONF", &conf).current_dir(self.path("project"));
            let script = format!(
                "{global} {bud} -t {name} . >/dev/null && {global} push --quiet --tls-verify=false {name}"
            );
            shell.args(["-c", &script]);
            return Ok(shell);
        }
        command.args(bud.split(' ')).args(["-t", &name, "."]);
        Ok(command)
    }

    fn buildah(&self, places: &[PathBuf; 2]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(&places[0]).arg("--runroot").arg(&places[1]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    }

    /// A place for what a builder keeps: a new one for each cold build, and then the last. None is removed before the end,
    /// since ext4 looks past every file that was removed a moment ago when it makes one, which takes longer than a build.
    fn store(&self, name: &str, number: &Cell<usize>, cold: bool) -> PathBuf {
        number.set(number.get() + usize::from(cold));
        self.path(&format!("{name}-{}", number.get()))
    }

    /// A cold push goes to a repository that nobody has pushed to.
    fn name(&self, cold: bool, who: &str) -> String {
        let stamp = if cold { std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos()) } else { 0 };
        format!("{}/bench/{who}-{stamp}:1", self.registry.address())
    }
}

/// rbuild as it is released.
fn release() -> Result<PathBuf> {
    packages::run(crate::cargo().args(["build", "--release", "--package", "cli", "--bin", "rbuild"]))?;
    Ok(target_directory().join("release/rbuild"))
}

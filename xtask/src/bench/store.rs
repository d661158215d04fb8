//! The layer store beside GNU tar, gzip and cp: a Debian root filesystem, a tree of 4,000 files, a file of 4 GiB.
//!
//! Neither side syncs: what a disk takes to keep bytes is the same for all, and would hide the rest.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use xtask::{base_image, packages, repository, target_directory};

use super::frame::{Cost, Line, Report, compare, once};

/// How often each command is measured.
const ROUNDS: usize = 7;

/// What is measured with, and where.
struct Bench {
    /// The example `forms` of the layer store, as a release build.
    forms: PathBuf,
    /// For what a round makes.
    place: tempfile::TempDir,
    /// How many paths of it were handed out.
    paths: Cell<usize>,
    /// What is made once and kept.
    kept: PathBuf,
    lines: Vec<Line>,
}

/// Runs it: some two minutes on a quiet machine, and 12 GB of disk.
pub(super) fn run() -> Result<Report> {
    crate::need_compiler()?;
    packages::install(&[("mmdebstrap", "mmdebstrap"), ("gzip", "gzip")])?;
    let kept = target_directory().join("xtask/bench");
    fs::create_dir_all(&kept)?;
    let place = tempfile::Builder::new().prefix("rbuild-bench-").tempdir()?;
    let mut bench = Bench { forms: forms()?, place, paths: Cell::new(0), kept, lines: Vec::new() };
    let tar = bench.kept.join("debian-bookworm.tar");
    base_image::debian_tar(&tar)?;
    let blob = bench
        .kept_file("debian-bookworm.tar.gz", |made| shell("gzip -6 < \"$1\" > \"$2\"", &[&tar, made]))?;
    bench.blob_to_tree(&blob)?;
    bench.blob_to_index(&blob)?;
    bench.upper_to_layer(&tar)?;
    bench.compression(&tar)?;
    bench.large_file()?;
    Ok(Report { name: "store", lines: bench.lines })
}

impl Bench {
    fn blob_to_tree(&mut self, blob: &Path) -> Result<()> {
        let diff_id = self.diff_id(blob)?;
        let costs = compare(
            ROUNDS,
            [&mut || Ok(self.forms(&["apply"], &[&self.fresh("store"), blob], &[&diff_id])), &mut || {
                Ok(program("tar", &["-xzf"], &[blob, Path::new("-C"), &self.fresh_directory("tar")?]))
            }],
        )?;
        self.line("apply: gzip to tree and index", "tar -xzf", costs, 0.6);
        Ok(())
    }

    fn blob_to_index(&mut self, blob: &Path) -> Result<()> {
        let diff_id = self.diff_id(blob)?;
        let costs = compare(
            ROUNDS,
            [&mut || Ok(self.forms(&["index"], &[&self.fresh("store"), blob], &[&diff_id])), &mut || {
                Ok(program("gzip", &["-dc"], &[blob]))
            }],
        )?;
        self.line("index: gzip, nothing extracted", "gzip -dc", costs, 0.4);
        Ok(())
    }

    fn upper_to_layer(&mut self, tar: &Path) -> Result<()> {
        let files = self.place.path().join("files");
        many_files(tar, &files)?;
        let costs = compare(
            ROUNDS,
            [
                &mut || {
                    let upper = self.fresh("upper");
                    packages::run(Command::new("cp").arg("-r").arg(&files).arg(&upper))?;
                    Ok(self.forms(&["diff"], &[&self.fresh("store"), &upper], &[]))
                },
                &mut || Ok(program("cp", &["-r"], &[&files, &self.fresh("copy")])),
            ],
        )?;
        self.line("diff: upper to tree, index, diffID", "cp -r", costs, 0.35);
        Ok(())
    }

    fn compression(&mut self, tar: &Path) -> Result<()> {
        let [gzip, zstd, theirs] = compare(
            3,
            [
                &mut || Ok(self.forms(&["compress"], &[tar], &["gzip:6", "2"])),
                &mut || Ok(self.forms(&["compress"], &[tar], &["zstd:3", "2"])),
                &mut || Ok(program("gzip", &["-6", "-c"], &[tar])),
            ],
        )?;
        self.line("gzip level 6, two threads", "gzip -6", [gzip, theirs], 0.25);
        self.line("zstd level 3, two threads", "gzip -6", [zstd, theirs], 0.10);
        Ok(())
    }

    /// Memory does not depend on what is in a layer.
    fn large_file(&mut self) -> Result<()> {
        let blob = self.kept_file("four-gib.tar.gz", |made| {
            let script =
                "cd \"$2\" && truncate -s 4G large && tar -cf - large | gzip -1 > \"$1\" && rm large";
            shell(script, &[made, self.place.path()])
        })?;
        let diff_id = self.diff_id(&blob)?;
        let store = self.fresh("store");
        let apply = once(self.forms(&["apply"], &[&store, &blob], &[&diff_id]))?;
        self.alone("apply: a file of 4 GiB", apply);
        let upper = store.join("upper");
        let layer = diff_id.strip_prefix("sha256:").unwrap_or(&diff_id);
        fs::rename(store.join("layers").join(layer).join("tree"), &upper)?;
        let diff = once(self.forms(&["diff"], &[&store, &upper], &[]))?;
        self.alone("diff: a file of 4 GiB", diff);
        let compress = once(self.forms(
            &["compress"],
            &[&store.join("layers").join(self.other_layer(&store, layer)?).join("tree/large")],
            &["gzip:6", "2"],
        ))?;
        self.alone("gzip level 6: a file of 4 GiB", compress);
        Ok(())
    }

    /// The layer of a store that is not the one named, in hex.
    fn other_layer(&self, store: &Path, layer: &str) -> Result<String> {
        let mut names =
            fs::read_dir(store.join("layers"))?.filter_map(Result::ok).map(|entry| entry.file_name());
        let other =
            names.find(|name| name.to_str() != Some(layer)).context("the store has one layer only")?;
        Ok(other.to_string_lossy().into_owned())
    }

    fn line(&mut self, what: &str, beside: &str, [ours, theirs]: [Cost; 2], bound: f64) {
        let (what, beside) = (what.to_owned(), beside.to_owned());
        self.lines.push(Line { what, beside, ours, theirs: Some(theirs), bound: Some(bound) });
    }

    fn alone(&mut self, what: &str, ours: Cost) {
        self.lines.push(Line {
            what: what.to_owned(),
            beside: "-".to_owned(),
            ours,
            theirs: None,
            bound: None,
        });
    }

    /// A path where nothing is. None is removed before the end: ext4 looks past every file that was removed a moment ago
    /// when it makes one.
    fn fresh(&self, name: &str) -> PathBuf {
        self.paths.set(self.paths.get() + 1);
        self.place.path().join(format!("{name}-{}", self.paths.get()))
    }

    fn fresh_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.fresh(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    fn kept_file(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.kept.join(name);
        if !path.exists() {
            let fresh = self.kept.join(format!("fresh-{}", std::process::id()));
            make(&fresh)?;
            fs::rename(&fresh, &path)?;
        }
        Ok(path)
    }

    fn forms(&self, first: &[&str], paths: &[&Path], last: &[&str]) -> Command {
        let mut command = Command::new(&self.forms);
        command.args(first).args(paths).args(last);
        command
    }

    fn diff_id(&self, blob: &Path) -> Result<String> {
        let output = self.forms(&["digest"], &[blob], &[]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// Builds the example.
fn forms() -> Result<PathBuf> {
    let mut cargo = crate::cargo();
    cargo.args(["build", "--release", "--package", "layer-store", "--example", "forms"]);
    packages::run(&mut cargo)?;
    Ok(repository().join(target_directory()).join("release/examples/forms"))
}

fn program(name: &str, words: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(name);
    command.args(words).args(paths);
    command
}

fn shell(script: &str, paths: &[&Path]) -> Result<()> {
    packages::run(Command::new("sh").args(["-e", "-c", script, "sh"]).args(paths))
}

/// Writes 4,000 files of 90 MB together, in 200 directories: pieces of what a distribution holds.
pub(super) fn many_files(tar: &Path, place: &Path) -> Result<()> {
    const FILES: u64 = 4000;
    const LARGEST: u64 = 45_000;
    let mut source = File::open(tar)?;
    let length = source.metadata()?.len();
    let mut state = 1_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for number in 0..FILES {
        let directory = place.join(format!("directory-{}", number % 200));
        fs::create_dir_all(&directory)?;
        let size = next(LARGEST);
        source.seek(SeekFrom::Start(next(length - LARGEST)))?;
        let mut bytes = Vec::new();
        (&mut source).take(size).read_to_end(&mut bytes)?;
        File::create(directory.join(format!("file-{number}")))?.write_all(&bytes)?;
    }
    Ok(())
}

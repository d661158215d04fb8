//! `cargo xtask fuzz`: builds the targets of `fuzz/` with libFuzzer's coverage, on the stable toolchain, and runs them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use xtask::{packages, repository, target_directory};

/// The targets, and the folders of cases that they begin with.
const TARGETS: &[(&str, &[&str])] = &[
    (
        "dockerfile",
        &["testdata/dockerfiles/parse/ok", "testdata/dockerfiles/parse/err", "testdata/dockerfiles/lint"],
    ),
    ("expand", &["testdata/dockerfiles/lint", "testdata/dockerfiles/parse/ok"]),
    ("ignore", &["testdata/ignore"]),
    ("layer", &["testdata/tar/hostile"]),
    ("documents", &["fuzz/seeds/documents"]),
    ("registry", &["fuzz/seeds/registry", "testdata/registry"]),
];

/// What `cargo fuzz` passes, of which stable rustc knows all but the sanitizers.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg fuzzing",
];

/// Seconds of a target where nothing is said.
const SECONDS: u64 = 60;
/// Runs of a target among the tests, and the seconds that they may take at most. They begin with the same seed, since a test
/// that fails once in a while fails those who changed something else; what threads and hash maps do still differs from run
/// to run. To look for what is new, run `cargo xtask fuzz`.
const BRIEFLY: [&str; 2] = ["-seed=1", "-runs=60000"];
const BRIEFLY_SECONDS: u64 = 20;

/// `cargo xtask fuzz [TARGET] [--seconds N]`
pub(crate) fn run(words: &[String]) -> Result<()> {
    let (mut target, mut seconds) = (None, SECONDS);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--seconds" => seconds = words.next().context("--seconds needs a number")?.parse()?,
            name if TARGETS.iter().any(|(known, _)| *known == name) => target = Some(name),
            other => {
                let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
                bail!("there is no fuzz target `{other}`; they are {}", names.join(", "));
            }
        }
    }
    build()?;
    TARGETS
        .iter()
        .filter(|(name, _)| target.is_none_or(|wanted| wanted == *name))
        .try_for_each(|(name, seeds)| fuzz(name, seeds, seconds, &[]))
}

/// All targets, each for some seconds: that they build, and that nothing lies near what the cases show.
pub(crate) fn briefly() -> Result<()> {
    build()?;
    TARGETS.iter().try_for_each(|(name, seeds)| fuzz(name, seeds, BRIEFLY_SECONDS, &BRIEFLY))
}

fn build() -> Result<()> {
    let missing = packages::install(&[("g++", "g++")])?;
    if !missing.is_empty() {
        bail!("libFuzzer is C++; install a compiler with `apt-get install g++`");
    }
    let mut cargo = crate::cargo();
    cargo.current_dir(repository().join("fuzz"));
    // With a target named, build scripts and procedural macros are built without coverage, which they cannot link.
    cargo.args(["build", "--quiet", "--release", "--bins", "--target", host()]);
    cargo.arg("--target-dir").arg(directory());
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", COVERAGE.join(" "));
    packages::run(&mut cargo)
}

fn fuzz(name: &str, seeds: &[&str], seconds: u64, options: &[&str]) -> Result<()> {
    println!("fuzzing {name} for {seconds} s at most");
    // What earlier runs found would change the runs that are to be the same.
    let found = if options.is_empty() { "corpus" } else { "corpus-of-tests" };
    let corpus = directory().join(found).join(name);
    if !options.is_empty() && corpus.exists() {
        fs::remove_dir_all(&corpus)?;
    }
    let corpus = made(corpus)?;
    let crashes = made(directory().join("crashes").join(name))?;
    let mut command = std::process::Command::new(directory().join(host()).join("release").join(name));
    command.arg(format!("-max_total_time={seconds}")).args(["-timeout=20", "-rss_limit_mb=2048"]);
    command.args(options).args(["-max_len=4096", "-verbosity=0", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}/", crashes.display()));
    // What is new goes into the first folder; the others are only read.
    command.arg(corpus).args(seeds).current_dir(repository());
    packages::run(&mut command)
        .with_context(|| format!("`{name}` failed; the input is in {}", crashes.display()))
}

fn directory() -> PathBuf {
    let target = target_directory();
    if target.is_absolute() { target.join("fuzz") } else { repository().join(target).join("fuzz") }
}

fn made(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all::<&Path>(&path)?;
    Ok(path)
}

fn host() -> &'static str {
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" }
}

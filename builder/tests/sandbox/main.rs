//! The sandbox, tried on what this machine allows: as root and as a plain user with subordinate ids.
//!
//! Needs root (to become the plain user `rbuildtest`, which it makes), `busybox-static` and `uidmap`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};

use world::COPIES;

mod copies;
mod escapes;
mod mounts;
mod nested;
mod steps;
mod without_mounts;
mod world;

/// A test: its name and what it does.
type Test = (&'static str, fn(&world::World));

const TESTS: &[&[Test]] =
    &[steps::TESTS, mounts::TESTS, escapes::TESTS, copies::TESTS, without_mounts::TESTS];

fn main() -> ExitCode {
    builder::sandbox::run_helper_if_asked();
    let mut phases = Vec::new();
    let mut filter = String::new();
    let mut place = std::env::temp_dir();
    for argument in std::env::args().skip(1) {
        if let Some(phase) = argument.strip_prefix("--phase=") {
            phases.push(phase.to_owned());
        } else if let Some(directory) = argument.strip_prefix("--place=") {
            place = directory.into();
        } else if !argument.starts_with("--") {
            filter = argument;
        }
    }
    if phases.is_empty() {
        return every_phase(&filter);
    }
    let mut failed = 0;
    for phase in phases {
        failed += one_phase(&phase, &filter, &place);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// The rungs of root in this process, the plain user's in one that has become it. All but `chroot` also where no overlay
/// can be mounted.
fn every_phase(filter: &str) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        say("the sandbox's tests need root: run them as root, or `--phase=userns` for a plain user's part");
        return ExitCode::FAILURE;
    }
    let usual = std::env::temp_dir();
    let nested = nested::Nested::mount();
    let mut failed = one_phase("root", filter, &usual);
    failed += one_phase("root-copies", filter, nested.path());
    let exists = std::fs::read_to_string("/etc/passwd").unwrap().contains("\nrbuildtest:");
    if !exists {
        assert!(Command::new("useradd").args(["-m", "rbuildtest"]).status().unwrap().success(), "useradd");
    }
    // The test program may lie where only root can go.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("sandbox-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let plain = ["userns", "single"].map(|phase| (phase.to_owned(), usual.as_path()));
    let copies = ["userns", "single"].map(|phase| (format!("{phase}{COPIES}"), nested.path()));
    for (phase, place) in plain.into_iter().chain(copies) {
        let status = Command::new("runuser")
            .args(["-u", "rbuildtest", "--"])
            .arg(&program)
            .args([&format!("--phase={phase}"), &format!("--place={}", place.display()), filter])
            .current_dir("/")
            .status()
            .expect("runuser");
        failed += u32::from(!status.success());
    }
    failed += one_phase("chroot", filter, &usual);
    ExitCode::from(u8::from(failed > 0))
}

fn one_phase(phase: &str, filter: &str, place: &Path) -> u32 {
    assert!(Path::new("/bin/busybox").exists(), "the sandbox's tests need busybox-static");
    let world = world::World::new(phase, place);
    let (mut failed, mut passed) = (0, 0);
    for (name, test) in TESTS.iter().copied().flatten() {
        let full = format!("{phase}_{name}");
        if !full.contains(filter) || !world.can(name) {
            continue;
        }
        if catch_unwind(AssertUnwindSafe(|| test(&world))).is_ok() {
            passed += 1;
            say(&format!("test {full} ... ok"));
        } else {
            failed += 1;
            say(&format!("test {full} ... FAILED"));
        }
    }
    say(&format!("{phase}: {passed} passed, {failed} failed"));
    failed
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

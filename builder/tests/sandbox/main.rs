//! The sandbox, tried on what this machine allows: as root and as a plain user with subordinate ids.
//!
//! Needs root (to become the plain user `rbuildtest`, which it makes), `busybox-static` and `uidmap`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};

mod escapes;
mod mounts;
mod steps;
mod without_mounts;
mod world;

/// A test: its name and what it does.
type Test = (&'static str, fn(&world::World));

const TESTS: &[&[Test]] = &[steps::TESTS, mounts::TESTS, escapes::TESTS, without_mounts::TESTS];

fn main() -> ExitCode {
    builder::sandbox::run_helper_if_asked();
    let mut phases = Vec::new();
    let mut filter = String::new();
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("--phase=") {
            Some(phase) => phases.push(phase.to_owned()),
            None if argument.starts_with("--") => {}
            None => filter = argument,
        }
    }
    if phases.is_empty() {
        return every_phase(&filter);
    }
    let mut failed = 0;
    for phase in phases {
        failed += one_phase(&phase, &filter);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Root's rung in this process, the plain user's in one that has become it.
fn every_phase(filter: &str) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        say("the sandbox's tests need root: run them as root, or `--phase=userns` for a plain user's part");
        return ExitCode::FAILURE;
    }
    let mut failed = one_phase("root", filter);
    let exists = std::fs::read_to_string("/etc/passwd").unwrap().contains("\nrbuildtest:");
    if !exists {
        assert!(Command::new("useradd").args(["-m", "rbuildtest"]).status().unwrap().success(), "useradd");
    }
    // The test program may lie where only root can go.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("sandbox-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for phase in ["userns", "single"] {
        let status = Command::new("runuser")
            .args(["-u", "rbuildtest", "--"])
            .arg(&program)
            .args([&format!("--phase={phase}"), filter])
            .current_dir("/")
            .status()
            .expect("runuser");
        failed += u32::from(!status.success());
    }
    failed += one_phase("chroot", filter);
    ExitCode::from(u8::from(failed > 0))
}

fn one_phase(phase: &str, filter: &str) -> u32 {
    assert!(Path::new("/bin/busybox").exists(), "the sandbox's tests need busybox-static");
    let world = world::World::new(phase);
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

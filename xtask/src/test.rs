//! `cargo xtask test`: everything that has to be true before a change lands.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use xtask::subject::{BARE_USER, PLAIN_USER};
use xtask::{is_root, packages, subject, target_directory};

/// What the end-to-end tests use beside rbuild: Debian's package and a program of it.
const PEERS: &[(&str, &str)] = &[
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("passt", "pasta"),
    ("bindfs", "bindfs"),
    ("uidmap", "newuidmap"),
    ("busybox-static", "busybox"),
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("mmdebstrap", "mmdebstrap"),
    ("libcap2-bin", "setcap"),
    ("attr", "getfattr"),
    ("libarchive-tools", "bsdtar"),
    ("nginx-light", "nginx"),
    ("openssl", "openssl"),
    ("git", "git"),
    ("ca-certificates", "update-ca-certificates"),
    ("tmux", "tmux"),
];

/// Runs all checks. `words` go to `cargo test`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    crate::need_compiler()?;
    let missing = packages::install(PEERS)?;
    if !missing.is_empty() {
        eprintln!("not installed, and only root may install them: {}", missing.join(" "));
        eprintln!("tests that need them are skipped and listed at the end");
    }
    if is_root() {
        plain_users()?;
    }

    let started = Instant::now();
    step("formatting", crate::cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "clippy",
        crate::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    step(
        "documentation",
        crate::cargo()
            .args(["doc", "--quiet", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;

    let skips = target_directory().join("xtask/skipped");
    fs::create_dir_all(target_directory().join("xtask"))?;
    fs::write(&skips, "")?;
    let mut tests = crate::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).args(words);
    tests.env("RBUILD_TEST_SKIPS", skips.canonicalize()?);
    // Property tests try the same cases each time here, so that they fail those who changed something.
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        tests.env("PROPTEST_RNG_SEED", "1");
    }
    let result = step("tests", &mut tests);

    let result = result.and_then(|()| crate::fuzz::briefly());

    let mut skipped: Vec<String> = fs::read_to_string(&skips)?.lines().map(str::to_owned).collect();
    skipped.sort();
    skipped.dedup();
    for line in &skipped {
        println!("skipped: {line}");
    }
    result?;
    if !skipped.is_empty() && (is_root() || std::env::var_os("CI").is_some()) {
        bail!("{} tests were skipped where every test has to run", skipped.len());
    }
    println!(
        "all checks passed in {:.0} s{}",
        started.elapsed().as_secs_f64(),
        if skipped.is_empty() { String::new() } else { format!(", {} tests skipped", skipped.len()) }
    );
    Ok(())
}

/// Writes the table of `docs/isolation.md`, with the program optimised: the table has times.
pub(crate) fn isolation() -> Result<()> {
    crate::need_compiler()?;
    packages::install(PEERS)?;
    if is_root() {
        plain_users()?;
    }
    let mut tests = crate::cargo();
    tests.args(["test", "--release", "--package", "cli", "--test", "environments", "--", "--test-threads=1"]);
    step("environments", tests.env("RBUILD_WRITE_ISOLATION", "1"))
}

/// Checks the page of `rbuild report` in a browser. Not a part of `test`: the browser takes longer to install than
/// everything else together.
pub(crate) fn report_page() -> Result<()> {
    crate::need_compiler()?;
    let missing = packages::install(&[PEERS, &[("chromium", "chromium")]].concat())?;
    if !missing.is_empty() {
        bail!("not installed, and only root may install them: {}", missing.join(" "));
    }
    let mut tests = crate::cargo();
    tests.args(["test", "--package", "cli", "--test", "report_page"]);
    step("the report page in a browser", &mut tests)
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    println!("== {name}");
    packages::run(command)
}

/// Makes the users that end-to-end tests build as: with a home and without any privilege, one with subordinate ids and
/// one without.
fn plain_users() -> Result<()> {
    for user in [PLAIN_USER, BARE_USER].into_iter().filter(|user| subject::ids(user).is_none()) {
        let mut command = Command::new("useradd");
        command.args(["--create-home", "--shell", "/bin/sh"]);
        command.args(["--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0", user]);
        packages::run(&mut command)?;
    }
    for (file, option) in [("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")] {
        let table = fs::read_to_string(file).unwrap_or_default();
        if table.lines().any(|line| line.starts_with(&format!("{PLAIN_USER}:"))) {
            continue;
        }
        let first = free_subids(&table);
        let range = format!("{first}-{}", first + 65535);
        packages::run(Command::new("usermod").args([option, &range, PLAIN_USER]))?;
    }
    Ok(())
}

/// The first id behind all ranges of an /etc/subuid or /etc/subgid.
fn free_subids(table: &str) -> u64 {
    let end = |line: &str| {
        let mut fields = line.split(':').skip(1).map(str::parse::<u64>);
        Some(fields.next()?.ok()? + fields.next()?.ok()?)
    };
    table.lines().filter_map(end).max().unwrap_or(0).max(100_000)
}

#[cfg(test)]
mod tests {
    use super::free_subids;

    #[test]
    fn ranges_do_not_overlap() {
        assert_eq!(free_subids(""), 100_000);
        assert_eq!(free_subids("a:100000:65536\nb:165536:65536\nbroken\n"), 231_072);
    }
}

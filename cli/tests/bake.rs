//! Each directory of `testdata/bake` holds the files of a bake, `args` (words of the command line, and variables of the
//! environment, `NAME=value` on lines of their own), and `expected.json` or `expected.error`: what `rbuild bake` prints.
//! `RBUILD_BLESS=1 cargo test --package cli --test bake` writes those anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a bake prints, and the file that says what it should.
fn printed(directory: &Path, store: &Path) -> (&'static str, String) {
    let text = fs::read_to_string(directory.join("args")).unwrap_or_default();
    let variable = |line: &&str| !line.starts_with('-') && line.contains('=');
    let words = text.lines().filter(|line| !variable(line)).flat_map(str::split_whitespace);
    let mut command = Command::new(xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild")));
    command.arg("bake").args(words).current_dir(directory).env_clear().env("RBUILD_ROOT", store);
    command.envs(text.lines().filter(variable).map(|line| line.split_once('=').unwrap()));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        ("expected.json", text(output.stdout))
    } else {
        let said = text(output.stderr);
        assert!(said.starts_with("error: ") && !said.contains("panicked"), "{}\n{said}", directory.display());
        ("expected.error", said)
    }
}

#[test]
fn every_file_means_what_it_did() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/bake");
    let mut directories: Vec<PathBuf> =
        fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    let store = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for directory in &directories {
        let (file, text) = printed(directory, store.path());
        let path = directory.join(file);
        if std::env::var_os("RBUILD_BLESS").is_some() {
            for old in ["expected.json", "expected.error"] {
                let _ = fs::remove_file(directory.join(old));
            }
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
    }
    assert!(directories.len() > 50, "{}", directories.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

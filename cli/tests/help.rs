//! Every command's help is what the files of `testdata/help` say. `RBUILD_BLESS=1 cargo test --package cli --test help`
//! writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `rbuild WORDS` prints, at 100 columns, which is where help is cut for everybody.
fn printed(words: &[&str]) -> String {
    let mut command = Command::new(xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild")));
    let output = command.args(words).env_clear().env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names that a help lists below `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that goes on stands further right.
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn visit(path: &[&str], place: &Path, seen: &mut BTreeSet<PathBuf>) {
    let short = printed(&[path, &["-h"]].concat());
    let long = printed(&[path, &["--help"]].concat());
    let name = [&["rbuild"], path].concat().join("-");
    let file = place.join(format!("{name}.txt"));
    let shown = [&["rbuild"], path].concat().join(" ");
    let text = format!("$ {shown} -h\n{short}\n$ {shown} --help\n{long}");
    let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if std::env::var_os("RBUILD_BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let wanted = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        wanted == text,
        "`{}` is not what `{shown}` prints; if that is meant, RBUILD_BLESS=1 writes it anew\n{}",
        file.display(),
        difference(&wanted, &text)
    );
    seen.insert(file);
    for command in commands(&short) {
        visit(&[path, &[command.as_str()]].concat(), place, seen);
    }
}

fn difference(wanted: &str, found: &str) -> String {
    let line = wanted.lines().zip(found.lines()).position(|(one, other)| one != other);
    let line = line.unwrap_or_else(|| wanted.lines().count().min(found.lines().count()));
    let show = |text: &str| text.lines().nth(line).unwrap_or("nothing").to_owned();
    format!("line {}: `{}` was `{}`", line + 1, show(found), show(wanted))
}

#[test]
fn every_help_is_what_it_was() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/help");
    fs::create_dir_all(&place).unwrap();
    let mut seen = BTreeSet::new();
    visit(&[], &place, &mut seen);
    assert!(seen.len() > 50, "{seen:?}");
    for entry in fs::read_dir(&place).unwrap() {
        let file = entry.unwrap().path();
        assert!(seen.contains(&file), "`{}` is the help of no command", file.display());
    }
}

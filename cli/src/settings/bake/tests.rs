//! One test for each directory of `testdata/bake`: the files of a bake, `args` (words of the command line and variables
//! of the environment, `NAME=value` on lines of their own), and `expected.json` or `expected.error`, which
//! `RBUILD_BLESS=1` writes anew.

use std::fs;
use std::path::PathBuf;

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: BakeArgs,
}

/// What a bake prints, or the error.
fn printed(directory: &Path) -> Result<String, String> {
    let text = fs::read_to_string(directory.join("args")).unwrap_or_default();
    let variable = |line: &&str| !line.starts_with('-') && line.contains('=');
    let variables: Vec<(&str, &str)> =
        text.lines().filter(variable).map(|line| line.split_once('=').unwrap()).collect();
    let words = text.lines().filter(|line| !variable(line)).flat_map(str::split_whitespace);
    let args =
        Line::try_parse_from(["bake"].into_iter().chain(words)).map_err(|error| error.to_string())?.args;
    let environment = Environment::fake(false, &variables);
    let definition = || -> Result<String> {
        let definition = Definition::open(&args, &environment, directory)?;
        let read = definition.read()?;
        if let Some(what) = &args.list {
            return Ok(bake::list::list(what, &read)?);
        }
        let selection = definition.select(&read)?;
        if args.print {
            return Ok(bake::print::json(&selection) + "\n");
        }
        for target in selection.targets.values() {
            build(target, &args, &environment)?;
        }
        Ok(bake::print::json(&selection) + "\n")
    };
    definition().map_err(|failure| {
        let mut stripped = anstream::StripStream::new(Vec::new());
        failure.write(&mut stripped).unwrap();
        String::from_utf8(stripped.into_inner()).unwrap()
    })
}

#[test]
fn cases() {
    let all = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/bake");
    let mut directories: Vec<PathBuf> =
        fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    let mut wrong = Vec::new();
    for directory in &directories {
        let (file, text) = match printed(directory) {
            Ok(text) => ("expected.json", text),
            Err(text) => ("expected.error", text),
        };
        let path = directory.join(file);
        if std::env::var_os("RBUILD_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_else(|_| "no such file\n".to_owned());
        if expected != text {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
    }
    assert!(directories.len() > 30, "{}", directories.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

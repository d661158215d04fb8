//! BuildKit's own corpora, which live beside the workspace and not in it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use builder::dockerfile::expand::{Scope, expand, expand_words};
use builder::dockerfile::raw::{self, RawInstruction};
use builder::dockerfile::{Diagnostic, Source, parse};

fn corpora() -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora"));
    assert!(path.is_dir(), "the corpora are expected at {}, beside the workspace", path.display());
    path
}

pub(crate) fn cases(folder: &str) -> Vec<PathBuf> {
    let mut cases: Vec<_> =
        fs::read_dir(corpora().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn source(path: &PathBuf) -> Source {
    Source::new("Dockerfile", fs::read_to_string(path).unwrap())
}

#[test]
fn parser_pairs_give_the_same_expressions() {
    let cases = cases("dockerfile-parser/positive");
    assert_eq!(cases.len(), 33);
    let mut wrong = String::new();
    for case in &cases {
        let (file, diagnostics) = raw::split(&source(&case.join("Dockerfile")));
        let mut actual = String::new();
        for instruction in &file.instructions {
            expression(instruction, &mut actual);
            actual.push('\n');
        }
        let expected = fs::read_to_string(case.join("result")).unwrap();
        if actual.trim() != expected.trim() || diagnostics.iter().any(Diagnostic::is_error) {
            let name = case.file_name().unwrap().to_string_lossy();
            writeln!(wrong, "{name}: {diagnostics:?}\n--- expected\n{expected}\n--- actual\n{actual}")
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn negative_files_have_errors() {
    let cases = cases("dockerfile-parser/negative");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let (_, diagnostics) = parse(&source(&case.join("Dockerfile")));
        assert!(diagnostics.iter().any(Diagnostic::is_error), "{}", case.display());
    }
}

/// The reference's form: `(keyword ["--flag"] "argument" …)`.
fn expression(instruction: &RawInstruction, out: &mut String) {
    write!(out, "({}", instruction.keyword.text.to_lowercase()).unwrap();
    if !instruction.flags.is_empty() {
        let flags: Vec<_> = instruction.flags.iter().map(|flag| quote(&flag.text)).collect();
        write!(out, " [{}]", flags.join(" ")).unwrap();
    }
    if let Some(trigger) = &instruction.trigger {
        out.push(' ');
        expression(trigger, out);
    } else {
        let pairs = matches!(instruction.keyword.text.to_ascii_uppercase().as_str(), "ENV" | "LABEL");
        for (index, argument) in instruction.arguments.iter().enumerate() {
            write!(out, " {}", quote(&argument.text)).unwrap();
            if pairs && index % 2 == 1 {
                out.push_str(if instruction.legacy_pairs { " \"\"" } else { " \"=\"" });
            }
        }
    }
    out.push(')');
}

/// A string as Go's `strconv.Quote` writes it.
fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => write!(quoted, "\\x{:02x}", c as u32).unwrap(),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[test]
fn expansion_cases_give_the_same_texts() {
    let text = fs::read_to_string(corpora().join("shell/envVarTest")).unwrap();
    let set = [("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")];
    let lookup =
        |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let scope = Scope { lookup: &lookup };
    let mut count = 0;
    let mut wrong = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (system, rest) = line.split_once('|').unwrap();
        count += 1;
        // The cases for Windows only differ in the case of names.
        if system.trim() == "W" {
            continue;
        }
        let (word, expected) = rest.split_once('|').unwrap();
        let (word, expected) = (word.trim(), expected.trim());
        let actual = expand(word, '\\', &scope).map_or("error".to_owned(), |expanded| expanded.text);
        if actual != expected {
            writeln!(wrong, "{word}: expected `{expected}`, got `{actual}`").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(count, 230);
}

#[test]
fn word_cases_split_the_same() {
    let text = fs::read_to_string(corpora().join("shell/wordsTest")).unwrap();
    let mut set: Vec<(String, String)> = Vec::new();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some((name, value)) = line.strip_prefix("ENV ").and_then(|pair| pair.split_once('=')) {
            set.push((name.to_owned(), value.to_owned()));
            continue;
        }
        count += 1;
        let (word, expected) = line.rsplit_once('|').unwrap();
        let lookup =
            |name: &str| set.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let actual = expand_words(word.trim(), '\\', &Scope { lookup: &lookup });
        let expected = expected.strip_prefix(' ').unwrap_or(expected);
        if expected == "error" {
            assert!(actual.is_err(), "{word}");
        } else {
            let expected: Vec<_> = expected.split(',').collect();
            assert_eq!(actual.unwrap(), expected, "{word}");
        }
    }
    assert_eq!(count, 24);
}

//! `testdata/dockerfiles/parse`: Dockerfiles that parse with their trees beside them, and ones that
//! do not with their diagnostics.
//!
//! A new case is a new `.Dockerfile`; `RBUILD_BLESS=1` writes what it gives beside it, to be read
//! before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use builder::dockerfile::{Diagnostic, Source, parse, parse_trigger};

use crate::summary;

pub(crate) fn dockerfiles(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/dockerfiles").join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "Dockerfile")).collect();
    files.sort();
    files
}

/// Compares with the file beside the input, or writes it.
pub(crate) fn expect_beside(input: &Path, extension: &str, actual: &str) -> Result<(), String> {
    let expected_path = input.with_extension(extension);
    if std::env::var_os("RBUILD_BLESS").is_some() {
        fs::write(&expected_path, actual).unwrap();
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!("{}\n--- expected\n{expected}--- actual\n{actual}", input.display()))
}

#[track_caller]
pub(crate) fn all_right(results: impl Iterator<Item = Result<(), String>>) {
    let wrong: Vec<_> = results.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_parse() {
    let files = dockerfiles("parse/ok");
    assert!(files.len() >= 70, "only {} cases", files.len());
    all_right(files.iter().map(|file| {
        let source = Source::new("Dockerfile", fs::read_to_string(file).unwrap());
        let (dockerfile, diagnostics) = parse(&source);
        let mut actual = summary::tree(&dockerfile);
        actual.push_str(&summary::diagnostics(&source, &diagnostics));
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(format!("{}: {actual}", file.display()));
        }
        expect_beside(file, "tree", &actual)
    }));
}

#[test]
fn files_with_errors() {
    let files = dockerfiles("parse/err");
    assert!(files.len() >= 45, "only {} cases", files.len());
    all_right(files.iter().map(|file| {
        let source = Source::new("Dockerfile", fs::read_to_string(file).unwrap());
        let (_, diagnostics) = parse(&source);
        let actual = summary::diagnostics(&source, &diagnostics);
        if !diagnostics.iter().any(Diagnostic::is_error) {
            return Err(format!("{}: no error: {actual}", file.display()));
        }
        expect_beside(file, "diagnostics", &actual)
    }));
}

#[test]
fn spans_are_what_words_say() {
    for file in dockerfiles("parse/ok") {
        let source = Source::new("Dockerfile", fs::read_to_string(&file).unwrap());
        let (dockerfile, _) = parse(&source);
        for stage in &dockerfile.stages {
            assert_eq!(source.slice(stage.image.span), stage.image.text, "{}", file.display());
            for instruction in &stage.instructions {
                let keyword = &instruction.keyword;
                assert_eq!(source.slice(keyword.span), keyword.text, "{}", file.display());
                assert_eq!(source.line(instruction.span.start), instruction.line, "{}", file.display());
                for heredoc in &instruction.heredocs {
                    let lines = source.slice(heredoc.span);
                    assert!(lines == heredoc.content || heredoc.content.is_empty(), "{}", file.display());
                }
            }
        }
    }
}

#[test]
fn triggers_are_single_instructions() {
    let run = parse_trigger("RUN echo \\\n  hi").unwrap();
    assert_eq!(run.original, "RUN echo   hi");
    let copy = parse_trigger("COPY <<EOF /x\nhi\nEOF").unwrap();
    assert_eq!(copy.heredocs[0].content, "hi\n");
    for (text, expected) in [
        ("", "single instruction"),
        ("RUN a\nRUN b", "single instruction"),
        ("FROM x", "FROM isn't allowed"),
        ("FOO", "unknown instruction"),
        ("COPY a", "at least two arguments"),
    ] {
        let errors = parse_trigger(text).unwrap_err();
        assert!(errors[0].message.contains(expected), "{text}: {errors:?}");
    }
}

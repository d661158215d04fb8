//! What holds for every text: no panic, linear cost, and a tree that prints and parses to itself.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use builder::dockerfile::expand::{Scope, expand, expand_heredoc, expand_words};
use builder::dockerfile::lint::{LintContext, lint};
use builder::dockerfile::{Diagnostic, Source, mount, parse, parse_trigger, port};
use proptest::prelude::*;

use crate::{parse::dockerfiles, summary};

/// Lines that are nearly Dockerfile, so that the depths are reached.
fn nearly_dockerfile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM ",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "LABEL ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "SHELL ",
        "EXPOSE ",
        "from ",
        "--mount=",
        "--from=",
        "--chown",
        "type=cache,",
        "target=/x",
        " AS ",
        "a",
        "b=c",
        "=",
        "$x",
        "${x:-",
        "}",
        "\"",
        "'",
        "\\",
        "\\\n",
        "\n",
        "\n",
        "\n\n",
        "#",
        "# escape=`\n",
        "# check=skip=all\n",
        "`",
        "<<",
        "<<-",
        "<<EOF",
        "EOF\n",
        "\tEOF\n",
        "[\"",
        "\", \"",
        "\"]",
        " ",
        "\t",
        "\r\n",
        "é",
        "\u{feff}",
        "--",
        "CMD ",
        "x/y:z",
        "0",
        "\u{0}",
        "\u{a0}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_parses_to_something(text in prop_oneof![nearly_dockerfile(), "\\PC{0,80}"]) {
        let source = Source::new("Dockerfile", text.as_str());
        let (dockerfile, diagnostics) = parse(&source);
        prop_assert!(!dockerfile.stages.is_empty() || diagnostics.iter().any(Diagnostic::is_error));
        for diagnostic in diagnostics.iter().chain(&lint(&dockerfile, &source, &LintContext::default())) {
            prop_assert!(diagnostic.span.start <= diagnostic.span.end, "{diagnostic:?}");
            prop_assert!(text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
        }
        let _ = parse_trigger(&text);
    }

    #[test]
    fn any_word_expands_or_fails(word in "[$a{}:+\\-?#%/\\\\'\"*<! é]{0,24}") {
        let lookup = |name: &str| (name.len() == 1).then(|| "a*b/ c".to_owned());
        let scope = Scope { lookup: &lookup };
        for escape in ['\\', '`'] {
            let one = expand(&word, escape, &scope);
            let split = expand_words(&word, escape, &scope);
            prop_assert_eq!(one.is_ok(), split.is_ok());
        }
        let _ = expand_heredoc(&word, &scope);
        let _ = mount::parse_mount(&word);
        let _ = port::parse_port(&word);
    }

    /// A word of plain text and `$v`, `${v}`, `${v:-w}`, `${v:+w}`, against a plain model.
    #[test]
    fn expansion_follows_the_model(parts in prop::collection::vec(
        (prop::sample::select(vec!["set", "empty", "unset"]), 0..5usize, "[a-z]{0,3}"), 0..6,
    )) {
        let value = |name: &str| match name { "set" => Some("V"), "empty" => Some(""), _ => None };
        let (mut word, mut expected) = (String::new(), String::new());
        for (name, form, text) in &parts {
            let filled = value(name).filter(|value| !value.is_empty());
            match form {
                0 => { word += text; expected += text; }
                1 => { write!(word, "${{{name}}}").unwrap(); expected += value(name).unwrap_or(""); }
                2 => { write!(word, "${{{name}:-{text}}}").unwrap(); expected += filled.unwrap_or(text); }
                3 => { write!(word, "${{{name}:+{text}}}").unwrap(); if filled.is_some() { expected += text } }
                _ => { write!(word, "${{{name}-{text}}}").unwrap(); expected += value(name).unwrap_or(text); }
            }
        }
        let lookup = |name: &str| value(name).map(str::to_owned);
        prop_assert_eq!(expand(&word, '\\', &Scope { lookup: &lookup }).unwrap().text, expected);
    }
}

/// Every logical line printed on one physical line, heredocs below it, says the same.
#[test]
fn printed_files_parse_to_the_same_tree() {
    let mut count = 0;
    for file in dockerfiles("parse/ok") {
        let source = Source::new("Dockerfile", fs::read_to_string(&file).unwrap());
        let (dockerfile, _) = parse(&source);
        let mut text = String::new();
        let directives = &dockerfile.directives;
        // An instruction that is read from a comment or from a line that continues cannot be moved.
        if directives.check.is_some() || directives.syntax.is_some() {
            continue;
        }
        writeln!(text, "# escape={}", directives.escape).unwrap();
        let print = |text: &mut String, instruction: &builder::dockerfile::Instruction| {
            for comment in &instruction.comments {
                writeln!(text, "# {}", comment.text).unwrap();
            }
            writeln!(text, "{}", instruction.original).unwrap();
            // Of those without a place of their own there is no body to print.
            for heredoc in instruction.heredocs.iter().filter(|_| !instruction.original.contains("[\"<<")) {
                writeln!(text, "{}{}", heredoc.content, heredoc.name).unwrap();
            }
        };
        for instruction in &dockerfile.meta_args {
            print(&mut text, instruction);
        }
        for stage in &dockerfile.stages {
            for comment in &stage.comments {
                writeln!(text, "# {}", comment.text).unwrap();
            }
            writeln!(text, "{}", stage.original).unwrap();
            for instruction in &stage.instructions {
                print(&mut text, instruction);
            }
        }
        let (again, _) = parse(&Source::new("Dockerfile", text.as_str()));
        // Lines moved, and blank lines within instructions are gone.
        let shape = |tree: &str| {
            let lines = tree.lines().filter(|line| !line.contains("empty continuations"));
            lines
                .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' '))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            shape(&summary::tree(&dockerfile)),
            shape(&summary::tree(&again)),
            "{}\n{text}",
            file.display()
        );
        count += 1;
    }
    assert!(count >= 70, "only {count} files were printed");
}

/// Ten times the text takes about ten times as long, not a hundred times: the bound has room for a
/// loaded machine, and a quadratic parser is far past it.
#[test]
fn cost_is_linear() {
    let unit = "RUN --mount=type=cache,target=/c apt-get update && \\\n    # why\n    apt-get install -y \"x y\" $Z\n\
                COPY --chown=a:b <<EOF <<-E2 [a-z]* /x/\nbody $x\nEOF\n\tmore\n\tE2\nENV a=b \"c d\"=e f='g' \\\n h=i\n\
                LABEL k=\"v\"\nCMD [\"a\", \"b\", \"c\"]\nFOO unknown\n";
    let long_line = |size: usize| format!("FROM a\nENV {}\n", "k=\"v w\" \\\n".repeat(size / 10));
    let long_json = |size: usize| format!("FROM a\nCMD [\"x\"{}]\n", ", \\\n \"abc\"".repeat(size / 10));
    let many = |size: usize| format!("FROM a\n{}", unit.repeat(size / unit.len()));
    let heredoc = |size: usize| format!("FROM a\nRUN <<EOF\n{}EOF\n", "a line of it\n".repeat(size / 13));
    let comments = |size: usize| format!("FROM a\n{}RUN x\n", "# a comment\n".repeat(size / 12));
    for (name, make) in [
        ("many instructions", &many as &dyn Fn(usize) -> String),
        ("one long instruction", &long_line),
        ("one long array", &long_json),
        ("one heredoc", &heredoc),
        ("comments", &comments),
    ] {
        let time = |size: usize| {
            let source = Source::new("Dockerfile", make(size));
            let once = || {
                let start = Instant::now();
                let (dockerfile, diagnostics) = parse(&source);
                assert!(!dockerfile.stages.is_empty() && diagnostics.len() < size);
                start.elapsed()
            };
            (0..3).map(|_| once()).min().unwrap()
        };
        let (small, large) = (time(100_000), time(1_000_000));
        let bound = small.max(Duration::from_millis(5)) * 40;
        assert!(large < bound, "{name}: 100 kB took {small:?}, 1 MB took {large:?}");
    }
}

//! What holds for every text: no panic, linear cost, and a tree that prints and parses to itself.

use std::fmt::Write as _;
use std::fs;

use builder::dockerfile::expand::{Scope, expand, expand_heredoc, expand_words};
use builder::dockerfile::lint::{LintContext, lint};
use builder::dockerfile::{Diagnostic, Source, mount, parse, parse_trigger, port, print};
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
        if !print::is_faithful(&dockerfile) {
            continue;
        }
        let (again, _) = parse(&Source::new("Dockerfile", print::print(&dockerfile)));
        // Lines moved, and blank lines within instructions are gone.
        let shape = |tree: &str| {
            let lines = tree.lines().filter(|line| !line.contains("empty continuations"));
            lines
                .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' '))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(shape(&summary::tree(&dockerfile)), shape(&summary::tree(&again)), "{}", file.display());
        count += 1;
    }
    assert!(count >= 70, "only {count} files were printed");
}

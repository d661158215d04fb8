//! `testdata/dockerfiles/lint`: Dockerfiles with the findings beside them, and with what else is known
//! in a `.context` file: lines of `arg NAME=VALUE`, `ignore PATTERN`, `target STAGE`, `check CONTROLS`,
//! `context NAME`, and `base IMAGE env NAME=VALUE`, `base IMAGE platform P`, `base IMAGE shell`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use builder::dockerfile::lint::{BaseImage, LintContext, RULES, lint};
use builder::dockerfile::{CheckControls, Diagnostic, Source, parse};
use builder::ignore::Matcher;

use crate::parse::{all_right, dockerfiles, expect_beside};
use crate::summary;

#[test]
fn files_have_their_findings() {
    let files = dockerfiles("lint");
    assert!(files.len() >= 45, "only {} cases", files.len());
    all_right(files.iter().map(|file| expect_beside(file, "findings", &findings(file))));
}

fn findings(file: &Path) -> String {
    let source = Source::new("Dockerfile", fs::read_to_string(file).unwrap());
    let (dockerfile, errors) = parse(&source);
    assert!(!errors.iter().any(Diagnostic::is_error), "{}: {errors:?}", file.display());
    let text = fs::read_to_string(file.with_extension("context")).unwrap_or_default();
    let mut bases: BTreeMap<String, BaseImage> = BTreeMap::new();
    let mut ignore = String::new();
    let mut context = LintContext {
        platform: "linux/amd64".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
        ..LintContext::default()
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let pair = |text: &str| text.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        match words[..] {
            ["arg", argument] => context.build_args.extend([pair(argument)]),
            ["ignore", pattern] => ignore += &format!("{pattern}\n"),
            ["target", stage] => context.target = Some(stage.to_owned()),
            ["check", controls] => context.check = Some(CheckControls::parse(controls).unwrap()),
            ["context", name] => context.named_contexts.extend([name.to_owned()]),
            ["base", image, "env", variable] => {
                bases.entry(image.to_owned()).or_default().env.extend([pair(variable)]);
            }
            ["base", image, "platform", platform] => {
                bases.entry(image.to_owned()).or_default().platform = Some(platform.parse().unwrap());
            }
            ["base", image, "shell"] => bases.entry(image.to_owned()).or_default().has_shell = true,
            _ => panic!("{}: {line}", file.display()),
        }
    }
    let matcher = Matcher::parse(&ignore).unwrap();
    context.ignore = (!ignore.is_empty()).then_some(&matcher);
    let lookup = |image: &str, _: &layer_store::Platform| bases.get(image).cloned();
    context.base = Some(&lookup);
    summary::diagnostics(&source, &lint(&dockerfile, &source, &context))
}

/// Every rule is found by some case, and by its own name.
#[test]
fn every_rule_has_a_case() {
    let mut found = BTreeSet::new();
    for file in dockerfiles("lint") {
        let text = findings(&file);
        for rule in RULES {
            if text.contains(&format!(" {}: ", rule.id)) {
                found.insert(rule.id);
            }
        }
    }
    let all: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(found, all);
    assert_eq!(RULES.iter().filter(|rule| !rule.own).count(), 22);
}

#[test]
fn own_rules_can_be_left_out() {
    let source = Source::new("Dockerfile", "FROM debian as x\nRUN apt-get update\n");
    let (dockerfile, _) = parse(&source);
    let codes = |own_rules| {
        let context = LintContext { own_rules, ..LintContext::default() };
        lint(&dockerfile, &source, &context).iter().filter_map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(false), ["FromAsCasing"]);
    assert_eq!(codes(true), ["UnpinnedBaseImage", "FromAsCasing", "AptGetUpdateAlone"]);
}

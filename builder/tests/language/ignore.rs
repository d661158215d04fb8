//! `testdata/ignore`: an ignore file, a line of dashes, and what becomes of paths.
//!
//! `ignored PATH LINE` and `kept PATH [LINE]` name the deciding rule's line, `enter DIR` and `skip
//! DIR` say whether a walk must look into an ignored directory, and `error LINE` is the whole answer.

use std::fs;
use std::path::Path;

use builder::ignore::Matcher;
use proptest::prelude::*;

#[test]
fn ignore_cases() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/ignore");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let answers: usize = cases.iter().map(|case| check(case)).sum();
    assert!(answers >= 150, "only {answers} answers in {folder}");
}

fn check(case: &Path) -> usize {
    let name = case.file_stem().unwrap().to_string_lossy();
    let text = fs::read_to_string(case).unwrap();
    let (rules, answers) = text.split_once("----").unwrap();
    let answers: Vec<_> = answers.lines().filter(|line| !line.is_empty()).collect();
    let matcher = match Matcher::parse(rules) {
        Ok(matcher) => matcher,
        Err(error) => {
            assert_eq!(answers, [format!("error {}", error.line)], "{name}: {error}");
            return 1;
        }
    };
    let mut wrong = Vec::new();
    for answer in &answers {
        let (verb, rest) = answer.split_once(' ').unwrap();
        let (path, line) = match rest.rsplit_once(' ') {
            Some((path, line)) if line.parse::<usize>().is_ok() => (path, line.parse().ok()),
            _ => (rest, None),
        };
        let decision = matcher.decide(path);
        let right = match verb {
            "ignored" | "kept" => {
                decision.ignored == (verb == "ignored") && decision.rule.map(|rule| rule.line) == line
            }
            "enter" | "skip" => matcher.may_match_below(path) == (verb == "enter"),
            _ => panic!("{name}: {answer}"),
        };
        assert_eq!(matcher.matches(path), decision.ignored);
        if !right {
            wrong.push(format!(
                "{name}: {answer}: {:?}",
                decision.rule.map(|rule| (decision.ignored, rule.line))
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    answers.len()
}

proptest! {
    #[test]
    fn any_text_and_path_are_safe(text in "[\\PC\n]{0,60}", path in "\\PC{0,30}") {
        if let Ok(matcher) = Matcher::parse(&text) {
            let ignored = matcher.matches(&path);
            prop_assert!(!ignored || !matcher.rules().is_empty());
        }
    }

    /// What a walk that prunes sees is what every path on its own would be.
    #[test]
    fn pruning_loses_nothing(
        text in prop::collection::vec("!?(\\*\\*/)?[ab*?]{1,2}(/(\\*\\*|[ab*?]{1,2})){0,2}", 1..5),
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        if let Ok(matcher) = Matcher::parse(&text.join("\n")) {
            let pruned = path.match_indices('/').map(|(at, _)| &path[..at])
                .any(|parent| matcher.matches(parent) && !matcher.may_match_below(parent));
            prop_assert!(!pruned || matcher.matches(&path), "{} at {}", text.join("|"), path);
        }
    }

    /// Without exceptions a path is ignored exactly when some rule matches it or a parent.
    #[test]
    fn plain_rules_add_up(rules in prop::collection::vec("[ab*?/]{1,4}", 1..4), path in "[ab]{1,2}(/[ab]{1,2}){0,2}") {
        let alone: Vec<_> = rules.iter().filter_map(|rule| Matcher::parse(rule).ok()).collect();
        let together = Matcher::parse(&rules.join("\n"));
        if let Ok(together) = together {
            let any = alone.iter().any(|rule| rule.matches(&path));
            prop_assert_eq!(together.matches(&path), any);
        }
    }
}

#[test]
fn a_hostile_pattern_costs_little() {
    let matcher = Matcher::parse(&format!("{}b", "*a".repeat(2000))).unwrap();
    let path = "a".repeat(4000);
    assert!(!matcher.matches(&path));
}

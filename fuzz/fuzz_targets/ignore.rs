//! An ignore file, a line of dashes, and paths: every path has an answer, and a walk that skips what it may skip loses
//! nothing.

#![no_main]

use builder::dockerfile::values::clean_path;
use builder::ignore::Matcher;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (rules, paths) = text.split_once("----\n").unwrap_or((text, "a/b/c"));
    let Ok(matcher) = Matcher::parse(rules) else { return };
    for path in paths.lines().take(20) {
        // A line of a case begins with a verb.
        let path = path.split(' ').next_back().unwrap_or_default();
        // A walk makes no other paths.
        if clean_path(path) != path {
            continue;
        }
        let decision = matcher.decide(path);
        assert_eq!(matcher.matches(path), decision.ignored);
        assert!(!decision.ignored || decision.rule.is_some());
        let skipped = path
            .match_indices('/')
            .map(|(at, _)| &path[..at])
            .any(|parent| matcher.matches(parent) && !matcher.may_match_below(parent));
        assert!(!skipped || decision.ignored, "{path} is below what a walk skips");
    }
});

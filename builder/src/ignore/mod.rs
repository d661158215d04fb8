//! `.dockerignore`: which files of a build context a build may see.
//!
//! The meaning is that of moby's `patternmatcher` as BuildKit's file transfer uses it, not that of
//! `.gitignore`: patterns are anchored at the root, `**` crosses directories, `!` re-includes, the
//! last rule that matches decides, and what holds for a directory holds for what is below it. An
//! exception is only looked at where the path is ignored so far, so `!a` after `a/b` re-includes
//! nothing: `a` itself was not ignored.

mod pattern;
mod regex;

use crate::dockerfile::values::clean_path;
use pattern::Pattern;

/// The longest line that moby's reader takes, in bytes.
const MAX_LINE: usize = 65_535;

/// The rules of one ignore file.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    rules: Vec<Rule>,
}

/// One line of an ignore file.
#[derive(Debug, Clone)]
pub struct Rule {
    /// 1-based.
    pub line: usize,
    /// As written, without space around it.
    pub text: String,
    /// Whether it starts with `!`.
    pub exception: bool,
    pattern: Pattern,
}

impl Rule {
    /// The pattern as it is matched: cleaned, without `!` and leading slash.
    pub fn pattern(&self) -> &str {
        self.pattern.text()
    }
}

/// What became of a path.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Whether the build may not see it.
    pub ignored: bool,
    /// The rule that decided; `None` when no rule is about it.
    pub rule: Option<&'a Rule>,
}

/// Which rules match a directory, for deciding about what is in it.
#[derive(Debug, Clone, Default)]
pub struct Parent {
    /// One for each rule; empty above the top.
    matched: Vec<bool>,
}

/// A line that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}: `{text}`")]
pub struct IgnoreError {
    /// 1-based.
    pub line: usize,
    /// As written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Matcher {
    /// Reads an ignore file: a byte-order mark goes, `#` in the first column is a comment, space
    /// around a pattern goes, the path is cleaned, and one leading slash means nothing.
    ///
    /// # Errors
    /// On the first line that is no pattern.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            rules.push(Rule::parse(line, index + 1)?);
        }
        Ok(Self { rules })
    }

    /// In the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether any rule re-includes.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Whether a path (relative to the context, with `/`) is ignored. The root never is.
    ///
    /// A path that is not UTF-8 is asked for by its lossy form. Costs a decision for each of its
    /// directories; a walk is cheaper with [`Matcher::decide_below`].
    pub fn matches(&self, path: &str) -> bool {
        self.decide(path).ignored
    }

    /// As [`Matcher::matches`], with the rule that decided.
    pub fn decide(&self, path: &str) -> Decision<'_> {
        let path = clean_path(path);
        let path = path.trim_start_matches('/');
        let mut parent = Parent::default();
        let mut decision = Decision { ignored: false, rule: None };
        if path == "." || path.is_empty() {
            return decision;
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            (decision, parent) = self.decide_below(&parent, &path[..end]);
        }
        decision
    }

    /// Decides about an entry of a directory whose own result is `parent` ([`Parent::default`] for
    /// the context's root). `path` is relative to the root and clean.
    pub fn decide_below(&self, parent: &Parent, path: &str) -> (Decision<'_>, Parent) {
        let mut decision = Decision { ignored: false, rule: None };
        let mut chars = None;
        let mut matched = vec![false; self.rules.len()];
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parent.matched.get(index).copied().unwrap_or(false);
            // A rule that could not change the state is not asked, and then counts as no match for
            // what is below as well.
            if !inherited && rule.exception != decision.ignored {
                continue;
            }
            if inherited || rule.pattern.matches(path, &mut chars) {
                matched[index] = true;
                decision = Decision { ignored: !rule.exception, rule: Some(rule) };
            }
        }
        (decision, Parent { matched })
    }

    /// Whether something below a directory may be kept: it is not ignored itself, or an exception
    /// might re-include something in it. When not, a walk need not enter it. True more often than
    /// needed, never false when it must be true.
    pub fn may_match_below(&self, directory: &str) -> bool {
        let directory = clean_path(directory);
        let directory = directory.trim_start_matches('/');
        if directory == "." || directory.is_empty() {
            return true;
        }
        let exception = |rule: &Rule| rule.exception && rule.pattern.may_match_below(directory);
        self.rules.iter().any(exception) || !self.matches(directory)
    }
}

impl Rule {
    fn parse(line: &str, number: usize) -> Result<Self, IgnoreError> {
        let text = line.trim();
        let error = |reason| IgnoreError { line: number, text: text.to_owned(), reason };
        if line.len() > MAX_LINE {
            return Err(error("line too long"));
        }
        let (exception, path) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim()));
        if path.is_empty() {
            return Err(error("illegal exclusion pattern"));
        }
        let cleaned = clean_path(path);
        let pattern = match cleaned.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest,
            // Moby cleans the mark together with the slash, and then nothing is left.
            Some(_) if exception => return Err(error("illegal exclusion pattern")),
            _ => &cleaned,
        };
        // A pattern that starts with a second mark is one for moby as well.
        let (exception, pattern) = match pattern.strip_prefix('!') {
            Some("") if !exception => return Err(error("illegal exclusion pattern")),
            Some(rest) if !exception => (true, rest),
            _ => (exception, pattern),
        };
        let pattern = Pattern::parse(pattern).ok_or_else(|| error("syntax error in pattern"))?;
        Ok(Self { line: number, text: text.to_owned(), exception, pattern })
    }
}

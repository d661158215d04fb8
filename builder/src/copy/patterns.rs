//! `--exclude` and `--parents` patterns: those of `.dockerignore`, but relative to a source.

use layer_store::index::path::is_within;

use super::CopyError;
use crate::ignore::Matcher;

/// Patterns of which the last that matches decides.
pub(super) struct Patterns {
    matcher: Matcher,
    /// The parts before the first wildcard of each pattern that is no exception; what is not on the way to one of
    /// them matches nothing.
    ways: Vec<String>,
}

impl Patterns {
    pub(super) fn new(patterns: &[String]) -> Result<Self, CopyError> {
        let mut text = String::new();
        for pattern in patterns {
            let pattern = pattern.trim();
            let bare = pattern.strip_prefix('!').unwrap_or(pattern);
            if pattern == "!" {
                return Err(CopyError::Pattern {
                    pattern: pattern.to_owned(),
                    reason: "illegal exclusion pattern",
                });
            }
            // Only ignore files have comments, and only there a leading slash means nothing: here such a pattern
            // matches nothing, as in BuildKit.
            if bare.is_empty() || bare.starts_with('/') {
                continue;
            }
            if pattern.starts_with('#') {
                text.push_str("./");
            }
            text.push_str(pattern);
            text.push('\n');
        }
        let matcher = Matcher::parse(&text)
            .map_err(|error| CopyError::Pattern { pattern: error.text, reason: error.reason })?;
        let ways =
            matcher.rules().iter().filter(|rule| !rule.exception).map(|rule| literal_part(rule.pattern()));
        Ok(Self { ways: ways.collect(), matcher })
    }

    /// Whether `path` or a parent of it matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.matcher.matches(&String::from_utf8_lossy(path))
    }

    /// Whether something below `directory` may match. True more often than needed.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        let directory = String::from_utf8_lossy(directory);
        let is_above = |above: &str, path: &str| is_within(path.as_bytes(), above.as_bytes());
        self.ways.iter().any(|way| is_above(way, &directory) || is_above(&directory, way))
    }

    /// Whether there is a pattern with `!`.
    pub(super) fn has_exceptions(&self) -> bool {
        self.matcher.has_exceptions()
    }
}

/// The components before the first one with a character that means something in a pattern.
fn literal_part(pattern: &str) -> String {
    let literal = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', ']', '\\', '^', '$']));
    literal.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(patterns: &[&str]) -> Patterns {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Patterns::new(&patterns).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn matching() {
        for (written, path, expected) in [
            (["a/b", ""], "a/b", true),
            (["a/b", ""], "a/b/c", true),
            (["a/b", ""], "a", false),
            (["*.md", "!README.md"], "x.md", true),
            (["*.md", "!README.md"], "README.md", false),
            (["*.md", ""], "sub/x.md", false),
            (["**/*.md", ""], "sub/x.md", true),
            (["/a", ""], "a", false),
            (["#a", ""], "#a", true),
            (["./a/", ""], "a", true),
        ] {
            assert_eq!(patterns(&written).matches(path.as_bytes()), expected, "{written:?} {path}");
        }
    }

    #[test]
    fn ways_to_matches() {
        for (written, directory, expected) in [
            ("a/b/*.txt", "a", true),
            ("a/b/*.txt", "a/b", true),
            ("a/b/*.txt", "a/b/c", true),
            ("a/b/*.txt", "a/c", false),
            ("a/b/*.txt", "ab", false),
            ("**/x", "any", true),
            ("a", "a", true),
        ] {
            assert_eq!(
                patterns(&[written]).may_match_below(directory.as_bytes()),
                expected,
                "{written} {directory}"
            );
        }
    }
}

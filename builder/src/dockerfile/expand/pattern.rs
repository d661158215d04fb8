//! Shell patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and `\*`, `\?`, `\\` for the
//! characters themselves. There are no classes.

use super::ExpandError;

/// A parsed pattern.
pub(super) struct Pattern {
    elements: Vec<Element>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Char(char),
    /// `?`: one character, not a newline.
    Any,
    /// `*`: any number of characters, no newline.
    Star,
}

impl Pattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, ExpandError> {
        let mut elements = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            elements.push(match c {
                '*' => Element::Star,
                '?' => Element::Any,
                '\\' => match chars.peek() {
                    // Escaped only to be allowed inside `${…}`.
                    Some('}' | '/') => continue,
                    Some(&escaped @ ('*' | '?' | '\\')) => {
                        chars.next();
                        Element::Char(escaped)
                    }
                    other => {
                        let escaped = other.map(char::to_string).unwrap_or_default();
                        return Err(ExpandError::Pattern { pattern: pattern.to_owned(), escaped });
                    }
                },
                c => Element::Char(c),
            });
        }
        // Stars in a row mean one; this also keeps hostile patterns short.
        elements.dedup_by(|a, b| *a == Element::Star && *b == Element::Star);
        Ok(Self { elements })
    }

    /// Steps that a match of the value takes.
    pub(super) fn cost(&self, value: &str) -> usize {
        value.len().saturating_mul(self.elements.len() + 1)
    }

    /// The value without the shortest (or longest) prefix that matches.
    pub(super) fn trim_prefix<'v>(&self, value: &'v str, greedy: bool) -> &'v str {
        let chars: Vec<char> = value.chars().collect();
        match self.match_ends(&chars, greedy)[0] {
            Some(end) => {
                let bytes: usize = chars[..end].iter().map(|c| c.len_utf8()).sum();
                &value[bytes..]
            }
            None => value,
        }
    }

    /// The value without the shortest (or longest) suffix that matches.
    pub(super) fn trim_suffix(&self, value: &str, greedy: bool) -> String {
        let reversed = Self { elements: self.elements.iter().rev().copied().collect() };
        let value: String = value.chars().rev().collect();
        reversed.trim_prefix(&value, greedy).chars().rev().collect()
    }

    /// The value with its first match replaced by the text as it is.
    pub(super) fn replace_first(&self, value: &str, replacement: &str) -> String {
        let chars: Vec<char> = value.chars().collect();
        let ends = self.match_ends(&chars, true);
        let Some((start, end)) = (0..ends.len()).find_map(|start| Some((start, ends[start]?))) else {
            return value.to_owned();
        };
        let mut text: String = chars[..start].iter().collect();
        text.push_str(replacement);
        text.extend(&chars[end..]);
        text
    }

    /// The value with every match replaced; `$0` in the text is the match, `$$` a dollar, and any
    /// other `$name` nothing, as BuildKit does in this form only. `None` past `limit` bytes.
    pub(super) fn replace_all(&self, value: &str, replacement: &str, limit: usize) -> Option<String> {
        let chars: Vec<char> = value.chars().collect();
        let ends = self.match_ends(&chars, true);
        let mut text = String::new();
        let mut copied = 0;
        let mut search = 0;
        while search <= chars.len() {
            let Some((start, end)) = (search..=chars.len()).find_map(|start| Some((start, ends[start]?)))
            else {
                break;
            };
            text.extend(&chars[copied..start]);
            // An empty match directly after a match is none.
            if end > copied || start == 0 {
                let matched: String = chars[start..end].iter().collect();
                expand_template(replacement, &matched, &mut text);
            }
            if text.len() > limit {
                return None;
            }
            copied = end;
            search = end.max(search + 1);
        }
        text.extend(chars.get(copied..).unwrap_or_default());
        Some(text)
    }

    /// For every start in the value, where the longest (or shortest) match ends. One pass per
    /// element from the last to the first, so the cost is their product whatever the pattern is.
    fn match_ends(&self, value: &[char], greedy: bool) -> Vec<Option<usize>> {
        let mut ends: Vec<Option<usize>> = (0..=value.len()).map(Some).collect();
        for element in self.elements.iter().rev() {
            match element {
                Element::Star => {
                    for at in (0..value.len()).rev().filter(|at| value[*at] != '\n') {
                        ends[at] = match (ends[at], ends[at + 1]) {
                            (Some(here), Some(further)) if greedy => Some(here.max(further)),
                            (Some(here), Some(further)) => Some(here.min(further)),
                            (here, further) => here.or(further),
                        };
                    }
                }
                Element::Any | Element::Char(_) => {
                    for at in 0..value.len() {
                        let fits = match element {
                            Element::Char(c) => value[at] == *c,
                            _ => value[at] != '\n',
                        };
                        ends[at] = if fits { ends[at + 1] } else { None };
                    }
                    ends[value.len()] = None;
                }
            }
        }
        ends
    }
}

/// `$name` and `${name}` in a replacement, where only the whole match has a name: `0`.
fn expand_template(template: &str, matched: &str, text: &mut String) {
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{');
        let name_from = braced.unwrap_or(rest);
        let length = name_from.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(name_from.len());
        let (name, after) = name_from.split_at(length);
        let after = if braced.is_some() { after.strip_prefix('}') } else { Some(after) };
        match after {
            Some(after) if !name.is_empty() => {
                if name == "0" {
                    text.push_str(matched);
                }
                rest = after;
            }
            _ => text.push('$'),
        }
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: &str, pattern: &str, value: &str, expected: &str) {
        let pattern = Pattern::parse(pattern).unwrap();
        let actual = match form {
            "#" => pattern.trim_prefix(value, false).to_owned(),
            "##" => pattern.trim_prefix(value, true).to_owned(),
            "%" => pattern.trim_suffix(value, false),
            "%%" => pattern.trim_suffix(value, true),
            "/" => pattern.replace_first(value, "X"),
            _ => pattern.replace_all(value, "X", usize::MAX).unwrap(),
        };
        assert_eq!(actual, expected);
    }

    #[test]
    fn patterns_trim_and_replace() {
        check("#", "*/", "a/b/c", "b/c");
        check("##", "*/", "a/b/c", "c");
        check("%", "/*", "a/b/c", "a/b");
        check("%%", "/*", "a/b/c", "a");
        check("#", "x*", "a/b", "a/b");
        check("##", "a?c", "abcd", "d");
        check("#", r"\*", "*a", "a");
        check("%", r"\?", "a?", "a");
        check("#", "é?", "éàx", "x");
        check("/", "b*", "abcbc", "aX");
        check("/", "b", "abcbc", "aXcbc");
        check("//", "b", "abcbc", "aXcXc");
        check("//", "*", "abc", "X");
        check("//", "", "abc", "XaXbXcX");
        check("//", "z", "abc", "abc");
        check("##", "*", "a\nb", "\nb");
    }

    #[test]
    fn template_knows_only_the_whole_match() {
        let pattern = Pattern::parse("b").unwrap();
        assert_eq!(
            pattern.replace_all("abc", "<$0|${0}|$$|$1|$x|${|$>", usize::MAX).unwrap(),
            "a<b|b|$|||${|$>c"
        );
        assert_eq!(pattern.replace_first("abc", "$0"), "a$0c");
    }

    #[test]
    fn a_bad_escape_is_an_error() {
        assert!(Pattern::parse(r"a\b").is_err());
        assert!(Pattern::parse("a\\").is_err());
        assert!(Pattern::parse(r"\}\/").is_ok());
    }
}

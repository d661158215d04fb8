//! One pattern, compiled to the cheapest form that means the same.

use super::regex::Regex;

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Exact,
    /// `abc/**`: everything that starts with what is before the stars.
    Prefix,
    /// `**/abc`: everything that ends with what is after the stars.
    Suffix,
    Regex(Regex),
}

impl Pattern {
    /// Compiles a cleaned pattern; `None` when its syntax is wrong.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !is_valid(text) {
            return None;
        }
        Some(Self { form: compile(text)?, text: text.to_owned() })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches a path itself. The path's characters are kept for the next pattern.
    pub(super) fn matches(&self, path: &str, chars: &mut Option<Vec<char>>) -> bool {
        match &self.form {
            Form::Exact => path == self.text,
            Form::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            Form::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|name| path == name)
            }
            Form::Regex(regex) => regex.matches(path, chars),
        }
    }

    /// Whether it might match something below a directory: component by component, as long as
    /// components are what they look like.
    pub(super) fn may_match_below(&self, directory: &str) -> bool {
        // A class can match a slash, and an escape can be anything.
        if self.text.contains(['[', '\\']) {
            return true;
        }
        let mut parts = self.text.split('/');
        for name in directory.split('/') {
            let Some(part) = parts.next() else { return false };
            if part.contains("**") {
                return true;
            }
            if !Self::parse(part).is_none_or(|part| part.matches(name, &mut None)) {
                return false;
            }
        }
        parts.next().is_some()
    }
}

/// Whether Go's `filepath.Match` takes the pattern.
fn is_valid(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '[' if !is_valid_class(&mut chars) => return false,
            _ => {}
        }
    }
    true
}

/// The rest of a class after its `[`: at least one character or range, and `]`.
fn is_valid_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    chars.next_if_eq(&'^');
    let mut ranges = 0;
    loop {
        if ranges > 0 && chars.next_if_eq(&']').is_some() {
            return true;
        }
        if !class_character(chars) {
            return false;
        }
        if chars.next_if_eq(&'-').is_some() && !class_character(chars) {
            return false;
        }
        ranges += 1;
    }
}

/// One character of a class, possibly escaped, with something after it.
fn class_character(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    match chars.next() {
        None | Some('-' | ']') => false,
        Some('\\') => chars.next().is_some() && chars.peek().is_some(),
        Some(_) => chars.peek().is_some(),
    }
}

/// Moby's translation, which is by characters: a star within a class is a star as well.
fn compile(pattern: &str) -> Option<Form> {
    #[derive(PartialEq)]
    enum Kind {
        Exact,
        Prefix,
        Suffix,
        Regex,
    }
    let mut regex = String::from("^");
    let mut kind = Kind::Exact;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regex.push_str("(.*/)?");
                    kind = Kind::Regex;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    regex.push_str(".*");
                    kind = Kind::Regex;
                }
                if first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                kind = Kind::Regex;
            }
            '?' => {
                regex.push_str("[^/]");
                kind = Kind::Regex;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => {
                regex.push('\\');
                regex.push(c);
            }
            '\\' => {
                regex.push('\\');
                if let Some(escaped) = chars.next() {
                    regex.push(escaped);
                    kind = Kind::Regex;
                }
            }
            '[' | ']' => {
                regex.push(c);
                kind = Kind::Regex;
            }
            c => regex.push(c),
        }
        first = false;
    }
    regex.push('$');
    Some(match kind {
        Kind::Exact => Form::Exact,
        Kind::Prefix => Form::Prefix,
        Kind::Suffix => Form::Suffix,
        Kind::Regex => Form::Regex(Regex::parse(&regex)?),
    })
}

//! The lexer behind every expansion.

use std::collections::HashMap;

use super::pattern::Pattern;
use super::{ExpandError, Expanded, Scope};

/// Substitutions may nest this deep; real files need three.
const MAX_DEPTH: usize = 100;

/// A word's expansion may grow to this many bytes, so that a few lines of doubling variables do not
/// eat the machine. Heredocs are words too, and the largest Dockerfile has 4 MiB.
const MAX_LENGTH: usize = 16 << 20;

/// Steps that the expansion of one word may take: a pattern is laid on every place of a value.
const MAX_COST: usize = 32 << 20;

/// What becomes of `'` and `"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// They quote and disappear.
    Remove,
    /// They quote and stay.
    Keep,
    /// They are characters like any other.
    Text,
}

/// How a [`Lexer`] reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) escape: char,
    pub(crate) quotes: Quotes,
    /// Escape characters stay in the result, before what they escape.
    pub(crate) keep_escapes: bool,
    /// A variable that is not set stays as written.
    pub(crate) keep_unset: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { escape: '\\', quotes: Quotes::Remove, keep_escapes: false, keep_unset: false }
    }
}

/// One word (or line, or body) being read.
pub(crate) struct Lexer<'a> {
    rest: std::str::Chars<'a>,
    scope: &'a Scope<'a>,
    options: Options,
    depth: usize,
    record: Expanded,
    /// What was recorded of a name: bits of [`USED`] and its neighbours.
    seen: HashMap<String, u8>,
}

const USED: u8 = 1;
const UNDEFINED: u8 = 2;
const UNDEFINED_PLAIN: u8 = 4;

/// A text and the words that it splits into.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(word: &'a str, scope: &'a Scope<'a>, options: Options) -> Self {
        Self {
            rest: word.chars(),
            scope,
            options,
            depth: 0,
            record: Expanded { cost: word.len(), ..Expanded::default() },
            seen: HashMap::new(),
        }
    }

    pub(crate) fn expand(mut self) -> Result<Expanded, ExpandError> {
        let output = self.read_until(None)?;
        Ok(Expanded { text: output.text, ..self.record })
    }

    pub(crate) fn words(mut self) -> Result<Vec<String>, ExpandError> {
        Ok(self.read_until(None)?.into_words())
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        self.rest.next()
    }

    /// Reads up to `stop`, which is taken but not part of the result, or up to the end.
    fn read_until(&mut self, stop: Option<char>) -> Result<Output, ExpandError> {
        let mut output = Output::default();
        while let Some(c) = self.peek() {
            if output.text.len() > MAX_LENGTH {
                return Err(ExpandError::Limit("long"));
            }
            self.spend(0)?;
            if Some(c) == stop {
                self.next();
                return Ok(output);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    output.push_splitting(&value);
                }
                '<' => {
                    let marker = self.less_than();
                    output.push_whole(&marker);
                }
                '\'' if self.options.quotes != Quotes::Text => {
                    let quoted = self.single_quoted()?;
                    output.push_whole(&quoted);
                }
                '"' if self.options.quotes != Quotes::Text => {
                    let quoted = self.double_quoted()?;
                    output.push_whole(&quoted);
                }
                c if c == self.options.escape => {
                    self.next();
                    if self.options.keep_escapes {
                        output.push_escaped(c);
                    }
                    // An escape at the very end escapes nothing and is dropped.
                    if let Some(escaped) = self.next() {
                        output.push_escaped(escaped);
                    }
                }
                c => {
                    self.next();
                    output.push_char(c);
                }
            }
        }
        match stop {
            Some(stop) => Err(ExpandError::Missing(stop)),
            None => Ok(output),
        }
    }

    /// Nothing is special between single quotes.
    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote_mark(&mut text);
        loop {
            match self.peek() {
                None => return Err(ExpandError::Unterminated("single-quote")),
                Some('\'') => {
                    self.quote_mark(&mut text);
                    return Ok(text);
                }
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    /// Between double quotes variables are expanded, and the escape character escapes only `"`, `$`
    /// and itself; before anything else it is a character.
    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote_mark(&mut text);
        loop {
            match self.peek() {
                None => return Err(ExpandError::Unterminated("double-quote")),
                Some('"') => {
                    self.quote_mark(&mut text);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.options.escape => {
                    self.next();
                    if self.options.keep_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == c => {
                            self.next();
                            text.push(escaped);
                        }
                        Some(_) => text.push(c),
                    }
                }
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
            if text.len() > MAX_LENGTH {
                return Err(ExpandError::Limit("long"));
            }
        }
    }

    fn quote_mark(&mut self, text: &mut String) {
        if let Some(mark) = self.next()
            && self.options.quotes == Quotes::Keep
        {
            text.push(mark);
        }
    }

    /// `<<` keeps the space after it, so that `<< EOF` is one word.
    fn less_than(&mut self) -> String {
        self.next();
        let mut marker = String::from("<");
        if self.peek() == Some('<') {
            self.next();
            marker.push('<');
            while let Some(space @ (' ' | '\t' | '\r')) = self.peek() {
                self.next();
                marker.push(space);
            }
        }
        marker
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.next();
        if self.peek() == Some('{') {
            self.next();
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(ExpandError::Limit("deep"));
            }
            let value = self.braced();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.variable(&name, false) {
            Some(value) => value,
            None if self.options.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    /// What follows `${`.
    fn braced(&mut self) -> Result<String, ExpandError> {
        match self.peek() {
            None => return Err(ExpandError::Missing('}')),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.next() else { return Err(ExpandError::Missing('}')) };
        match operator {
            '}' => Ok(match self.variable(&name, false) {
                Some(value) => value,
                None if self.options.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => match self.next() {
                Some(operator @ ('-' | '+' | '?')) => self.conditional(&name, operator, true),
                Some(other) => Err(ExpandError::Modifier(format!(":{other}"))),
                None => Err(ExpandError::Missing('}')),
            },
            '-' | '+' | '?' => self.conditional(&name, operator, false),
            '#' | '%' => self.trimmed(&name, operator),
            '/' => self.replaced(&name),
            other => Err(ExpandError::Modifier(other.to_string())),
        }
    }

    /// `${v-w}`, `${v+w}`, `${v?w}` and the same with `:`, for which empty is unset.
    fn conditional(&mut self, name: &str, operator: char, colon: bool) -> Result<String, ExpandError> {
        let word = self.operand('}', false)?;
        let value = self.variable(name, true);
        if value.is_none() && self.options.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let unset = value.is_none();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (operator, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let usual = if unset { "is not allowed to be unset" } else { "is not allowed to be empty" };
                let message = if word.is_empty() { usual.to_owned() } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
        }
    }

    /// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`.
    fn trimmed(&mut self, name: &str, operator: char) -> Result<String, ExpandError> {
        let word = self.operand('}', true)?;
        let Some(value) = self.variable(name, false) else {
            return Ok(if self.options.keep_unset {
                format!("${{{name}{operator}{word}}}")
            } else {
                String::new()
            });
        };
        let (greedy, pattern) =
            word.strip_prefix(operator).map_or((false, word.as_str()), |rest| (true, rest));
        let pattern = Pattern::parse(pattern)?;
        self.spend(pattern.cost(&value))?;
        Ok(if operator == '#' {
            pattern.trim_prefix(&value, greedy).to_owned()
        } else {
            pattern.trim_suffix(&value, greedy)
        })
    }

    /// `${v/p/r}` and `${v//p/r}`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.operand('/', true)?;
        let replacement = self.operand('}', true)?;
        let Some(value) = self.variable(name, false) else {
            return Ok(if self.options.keep_unset {
                format!("${{{name}/{pattern}/{replacement}}}")
            } else {
                String::new()
            });
        };
        let pattern = Pattern::parse(&pattern)?;
        // Every character may be a match.
        let copies = if all { value.len().saturating_mul(replacement.len()) } else { 0 };
        self.spend(pattern.cost(&value).saturating_add(copies))?;
        let replaced = if all {
            pattern.replace_all(&value, &replacement, MAX_LENGTH)
        } else {
            Some(pattern.replace_first(&value, &replacement))
        };
        replaced.ok_or(ExpandError::Limit("long"))
    }

    fn operand(&mut self, stop: char, keep_escapes: bool) -> Result<String, ExpandError> {
        let outer = std::mem::replace(&mut self.options.keep_escapes, keep_escapes);
        let output = self.read_until(Some(stop));
        self.options.keep_escapes = outer;
        Ok(output?.text)
    }

    /// Digits, or one special parameter, or letters, digits and `_`.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if is_digit(c) => {
                while let Some(c) = self.peek().filter(|c| is_digit(*c)) {
                    self.next();
                    name.push(c);
                }
            }
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.next();
                name.push(c);
            }
            _ => {
                while let Some(c) = self.peek().filter(|c| c.is_alphabetic() || is_digit(*c) || *c == '_') {
                    self.next();
                    name.push(c);
                }
            }
        }
        name
    }

    fn variable(&mut self, name: &str, provided_for: bool) -> Option<String> {
        let value = (self.scope.lookup)(name);
        self.record.cost += value.as_ref().map_or(0, String::len);
        if value.is_some() {
            self.note(name, USED);
        } else {
            self.note(name, UNDEFINED);
            if !provided_for {
                self.note(name, UNDEFINED_PLAIN);
            }
        }
        value
    }

    /// Puts a name into one of the record's lists, once.
    fn note(&mut self, name: &str, kind: u8) {
        match self.seen.get_mut(name) {
            Some(seen) if *seen & kind != 0 => return,
            Some(seen) => *seen |= kind,
            None => _ = self.seen.insert(name.to_owned(), kind),
        }
        let list = match kind {
            USED => &mut self.record.used,
            UNDEFINED => &mut self.record.undefined,
            _ => &mut self.record.undefined_plain,
        };
        list.push(name.to_owned());
    }

    fn spend(&mut self, steps: usize) -> Result<(), ExpandError> {
        self.record.cost = self.record.cost.saturating_add(steps);
        if self.record.cost > MAX_COST { Err(ExpandError::Limit("costly")) } else { Ok(()) }
    }
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

impl Output {
    /// An ordinary character: space ends a word.
    fn push_char(&mut self, c: char) {
        self.text.push(c);
        self.split_char(c);
    }

    /// What an escape protects.
    fn push_escaped(&mut self, c: char) {
        self.text.push(c);
        self.word.push(c);
    }

    /// What quotes protect.
    fn push_whole(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    /// A variable's value: space in it ends a word.
    fn push_splitting(&mut self, text: &str) {
        self.text.push_str(text);
        for c in text.chars() {
            self.split_char(c);
        }
    }

    fn split_char(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

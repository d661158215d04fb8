//! Variables in words: `$v`, `${v:-w}` and the other forms, quotes and escapes.
//!
//! The same lexer finds heredoc markers (with quotes and escapes kept), expands words when a stage
//! is built, and writes step names for people.

mod lexer;
mod pattern;

pub(crate) use lexer::{Lexer, Options, Quotes};

/// Where variables come from.
pub struct Scope<'a> {
    /// The value of a name, `None` when it is not set.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
}

/// What became of a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text, quotes and escapes removed.
    pub text: String,
    /// Names that were asked for and set, in order of first use.
    pub used: Vec<String>,
    /// Names that were asked for and not set, in order of first use, those with a default
    /// (`${v:-w}`) included.
    pub undefined: Vec<String>,
    /// The part of `undefined` that has no form which provides for it (`-`, `+` or `?`).
    pub undefined_plain: Vec<String>,
    /// How much work it was, in characters looked at: for those who expand many words of a text that
    /// nobody trusts.
    pub cost: usize,
}

/// Why a word could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote without its end.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unterminated(&'static str),
    /// `${v` without `}`, or `${v/p` without its second `/`.
    #[error("syntax error: missing `{0}` in substitution")]
    Missing(char),
    /// `${}`, `${:…`, `${{`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${v` followed by something that is no operator.
    #[error("unsupported modifier (`{0}`) in substitution")]
    Modifier(String),
    /// A backslash in a pattern before a character that it cannot escape.
    #[error("invalid pattern (`{pattern}`) in substitution: invalid escape `\\{escaped}`")]
    Pattern {
        /// The whole pattern.
        pattern: String,
        /// What follows the backslash.
        escaped: String,
    },
    /// `${v:?message}` or `${v?message}` without `v`.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message of the word, or the usual one.
        message: String,
    },
    /// Substitutions within substitutions past any use, a result past the limit, or patterns that would
    /// take minutes.
    #[error("substitution is too {0}")]
    Limit(&'static str),
}

/// Expands a word to one text.
///
/// # Errors
/// On a form that does not exist, an unterminated quote or brace, or `${v:?message}` without `v`.
pub fn expand(word: &str, escape: char, scope: &Scope<'_>) -> Result<Expanded, ExpandError> {
    Lexer::new(word, scope, Options { escape, ..Options::default() }).expand()
}

/// Expands a word and splits the result at unquoted space, whether it was written or came out of a
/// variable.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(word: &str, escape: char, scope: &Scope<'_>) -> Result<Vec<String>, ExpandError> {
    Lexer::new(word, scope, Options { escape, ..Options::default() }).words()
}

/// Expands the body of a heredoc: quotes are text, and `\` escapes whatever the file's escape
/// character is.
///
/// # Errors
/// As [`expand`].
pub fn expand_heredoc(body: &str, scope: &Scope<'_>) -> Result<Expanded, ExpandError> {
    Lexer::new(body, scope, Options { quotes: Quotes::Text, ..Options::default() }).expand()
}

/// Expands what is set in a step's text for people: quotes stay, and unset variables stay as they
/// are written. A text that cannot be expanded is returned as it is.
pub fn expand_for_display(text: &str, escape: char, scope: &Scope<'_>) -> String {
    let options = Options { escape, quotes: Quotes::Keep, keep_unset: true, ..Options::default() };
    Lexer::new(text, scope, options).expand().map_or_else(|_| text.to_owned(), |expanded| expanded.text)
}

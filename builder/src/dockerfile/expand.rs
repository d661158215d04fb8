//! Variables in words: `$v`, `${v:-w}` and the other forms.

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
    /// Names that were asked for and not set, where nothing in the word allows for that.
    pub undefined: Vec<String>,
}

/// Why a word could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpandError {
    /// One sentence.
    pub message: String,
}

/// Expands a word to one text.
///
/// # Errors
/// On a form that does not exist, an unterminated quote or brace, or `${v:?message}` without `v`.
pub fn expand(word: &str, escape: char, scope: &Scope<'_>) -> Result<Expanded, ExpandError> {
    let _ = (word, escape, scope);
    unimplemented!("expansion lands after the parser")
}

/// Expands a word and splits the result at unquoted space.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(word: &str, escape: char, scope: &Scope<'_>) -> Result<Vec<String>, ExpandError> {
    let _ = (word, escape, scope);
    unimplemented!("expansion lands after the parser")
}

/// Expands the body of a heredoc: quotes stay, `\` escapes.
///
/// # Errors
/// As [`expand`].
pub fn expand_heredoc(body: &str, scope: &Scope<'_>) -> Result<Expanded, ExpandError> {
    let _ = (body, scope);
    unimplemented!("expansion lands after the parser")
}

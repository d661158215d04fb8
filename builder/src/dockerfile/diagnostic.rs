//! What the language has to say about a text.

use super::Span;

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The build goes on.
    Warning,
    /// The Dockerfile cannot be built.
    Error,
}

/// One finding about one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the build.
    pub level: Level,
    /// A lint rule's id (BuildKit's where BuildKit has the rule); `None` for errors of the grammar.
    pub code: Option<&'static str>,
    /// One sentence without a full stop, names in backquotes.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it, or the nearest name that exists.
    pub help: Option<String>,
    /// A page that explains the rule.
    pub url: Option<&'static str>,
}

impl Diagnostic {
    /// An error of the grammar.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self { level: Level::Error, code: None, message: message.into(), span, help: None, url: None }
    }

    /// A warning under a rule's id.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, code: Some(code), message: message.into(), span, help: None, url: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it stops the build.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

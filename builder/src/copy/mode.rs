//! `--chmod`: octal, or symbolic as chmod(1) has it.

/// What `--chmod` does to a mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModeChange {
    /// All bits are given (`0o7777` at most).
    Octal(u32),
    /// Steps that change the mode of the source.
    Symbolic(Vec<Step>),
}

/// One step of a symbolic mode: `go-w`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a mode: {reason}")]
pub struct InvalidMode {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

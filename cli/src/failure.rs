//! What went wrong, in the words that a person reads: what failed, where, why, and what to do.

use std::fmt;
use std::process::ExitCode;

use crate::progress::{Annotation, printable};

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit statuses; `docs/cli.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The build or command failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Ctrl-C.
    Interrupted = 130,
    /// Asked to end by SIGTERM.
    Terminated = 143,
}

/// Why a command ended without doing what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure(Box<Report>);

#[derive(Debug)]
struct Report {
    exit: Exit,
    /// In the place of that of `exit`.
    code: Option<u8>,
    message: String,
    /// Rendered already: a place in a Dockerfile, the last lines of a command.
    details: Vec<String>,
    hints: Vec<String>,
    notes: Vec<String>,
    /// The places in files that it is about.
    places: Vec<Annotation>,
}

impl Failure {
    /// A failure with this message: one sentence without a full stop, names in backquotes.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let (details, hints, notes) = (Vec::new(), Vec::new(), Vec::new());
        let (exit, message) = (Exit::Failed, message.into());
        Self(Box::new(Report { exit, code: None, message, details, hints, notes, places: Vec::new() }))
    }

    /// An error with its causes, each said once.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::new(layer_store::error::chain(error))
    }

    /// A command line that asks for something wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(message).exit(Exit::Usage)
    }

    /// With another exit status.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// With a status that is none of those.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.0.code = Some(code);
        self
    }

    /// With what to do about it.
    pub(crate) fn hint(mut self, hint: impl MaybeHint) -> Self {
        if let Some(hint) = hint.into_hint().filter(|hint| !self.0.hints.contains(hint)) {
            self.0.hints.push(hint);
        }
        self
    }

    /// With something that may help, said after the hints.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.0.notes.push(note.into());
        self
    }

    /// With something to show below the message.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.details.push(detail.into());
        self
    }

    /// The same where there may be nothing to show.
    pub(crate) fn details(self, detail: Option<String>) -> Self {
        match detail {
            Some(detail) => self.detail(detail),
            None => self,
        }
    }

    /// With a place in a file that it is about.
    pub(crate) fn at(mut self, place: Annotation) -> Self {
        self.0.places.push(place);
        self
    }

    /// What a code host shows beside the files: each place, or the message alone.
    pub(crate) fn annotations(&self) -> Vec<Annotation> {
        if self.0.places.is_empty() {
            return vec![Annotation {
                level: "error",
                place: None,
                message: printable_lines(&self.0.message),
            }];
        }
        self.0.places.clone()
    }

    /// Writes it to standard error. Returns the status to end with.
    pub(crate) fn report(&self) -> ExitCode {
        // When nobody reads standard error, the status still tells.
        let _ = self.write(&mut anstream::stderr().lock());
        ExitCode::from(self.0.code.unwrap_or(self.0.exit as u8))
    }

    /// Writes it with colours, which a stream for a pipe takes out.
    pub(crate) fn write(&self, output: &mut impl std::io::Write) -> std::io::Result<()> {
        const RED: &str = "\u{1b}[1;31m";
        const CYAN: &str = "\u{1b}[1;36m";
        const PLAIN: &str = "\u{1b}[0m";
        writeln!(output, "{RED}error{PLAIN}: {}", printable_lines(&self.0.message))?;
        for detail in &self.0.details {
            writeln!(output, "{}", detail.trim_end())?;
        }
        for hint in &self.0.hints {
            writeln!(output, "{CYAN}hint{PLAIN}: {}", printable_lines(hint))?;
        }
        for note in &self.0.notes {
            writeln!(output, "{CYAN}note{PLAIN}: {}", printable_lines(note))?;
        }
        Ok(())
    }
}

/// `&str`, `String` and `Option<String>` are hints.
pub(crate) trait MaybeHint {
    fn into_hint(self) -> Option<String>;
}
impl MaybeHint for &str {
    fn into_hint(self) -> Option<String> {
        Some(self.to_owned())
    }
}
impl MaybeHint for String {
    fn into_hint(self) -> Option<String> {
        Some(self)
    }
}
impl MaybeHint for Option<String> {
    fn into_hint(self) -> Option<String> {
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl From<layer_store::Error> for Failure {
    fn from(error: layer_store::Error) -> Self {
        Self::of(&error).hint(error.hint().map(str::to_owned))
    }
}

impl From<builder::Error> for Failure {
    fn from(error: builder::Error) -> Self {
        Self::of(&error).hint(error.hint())
    }
}

impl From<registry_client::Error> for Failure {
    fn from(error: registry_client::Error) -> Self {
        Self::of(&error).hint(error.hint())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::of(&error)
    }
}

/// Several lines, each without what a terminal would obey.
fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_without_colour() {
        let failure = Failure::new("it \u{1b}[2Jfailed").detail(" 7 | RUN x\n").hint("do y");
        let mut stripped = anstream::StripStream::new(Vec::new());
        failure.write(&mut stripped).unwrap();
        assert_eq!(
            String::from_utf8(stripped.into_inner()).unwrap(),
            "error: it failed\n 7 | RUN x\nhint: do y\n"
        );
    }
}

//! What a check found, for people and for programs.

mod json;
mod place;
mod sarif;

pub(crate) use json::{location, source_data};

use builder::dockerfile::{Diagnostic, Source};

use crate::args::call::Format;
use crate::place::SHOWN;

/// The findings of a file, in the order of places.
pub(crate) struct Findings<'a> {
    /// The file.
    pub(crate) source: &'a Source,
    /// What was found.
    pub(crate) list: &'a [Diagnostic],
}

impl Findings<'_> {
    /// All of them in a format, with a newline at the end.
    pub(crate) fn render(&self, format: Format) -> String {
        let value = match format {
            Format::Text => return self.text(),
            Format::Json => json::of(self),
            Format::Sarif => sarif::of(self),
        };
        format!("{value:#}\n")
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for finding in self.list.iter().take(SHOWN) {
            text.push_str(&crate::place::diagnostic(self.source, finding));
            text.push('\n');
        }
        if let Some(more) = self.list.len().checked_sub(SHOWN + 1) {
            text.push_str(&format!("… and {} more\n", more + 1));
        }
        text
    }

    /// `1 error and 2 warnings`; `None` where nothing was found.
    pub(crate) fn count(&self) -> Option<String> {
        let errors = self.list.iter().filter(|finding| finding.is_error()).count();
        let counted = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}s")),
        };
        match (counted(errors, "error"), counted(self.list.len() - errors, "warning")) {
            (Some(errors), Some(warnings)) => Some(format!("{errors} and {warnings}")),
            (one, other) => one.or(other),
        }
    }
}

/// `error` or `warning`.
fn level(finding: &Diagnostic) -> &'static str {
    if finding.is_error() { "error" } else { "warning" }
}

//! Shows a place in a Dockerfile: the file, the line, and what of it is meant.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use builder::dockerfile::{self, Diagnostic, Source, Span};

use crate::progress;

/// The most lines of an instruction that are shown.
const LINES: usize = 8;

/// So many findings of a file are shown; nobody reads more before they mend these.
pub(crate) const SHOWN: usize = 100;

/// Columns where there is no terminal to ask.
const WIDTH: usize = 140;

/// The lines of a span, with their numbers.
pub(crate) fn show(source: &Source, span: Span) -> String {
    let window = Window::around(source, span);
    renderer().render(&[Group::with_level(Level::ERROR).element(window.snippet(source))])
}

/// A finding with its place, as a compiler prints it.
pub(crate) fn diagnostic(source: &Source, finding: &Diagnostic) -> String {
    let level = match finding.level {
        dockerfile::Level::Warning => Level::WARNING,
        dockerfile::Level::Error => Level::ERROR,
    };
    let message = progress::printable(&finding.message);
    let mut title = level.primary_title(message);
    if let Some(code) = finding.code {
        title = title.id(code);
    }
    let window = Window::around(source, finding.span);
    let mut group = title.element(window.snippet(source));
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(progress::printable(help)));
    }
    if let Some(url) = finding.url {
        group = group.element(Level::NOTE.message(url));
    }
    renderer().render(&[group])
}

/// What a code host shows beside the lines of a span.
pub(crate) fn annotation(
    source: &Source,
    span: Span,
    level: dockerfile::Level,
    message: &str,
) -> progress::Annotation {
    let span = clamp(source, span);
    let (line, last) = (source.line(span.start), source.line(span.end));
    let before = &source.text[source.line_span(line).start.min(span.start)..span.start];
    progress::Annotation {
        level: match level {
            dockerfile::Level::Warning => "warning",
            dockerfile::Level::Error => "error",
        },
        place: Some((source.name.clone(), line, last, before.chars().count() + 1)),
        message: progress::printable(message),
    }
}

/// The same for a finding.
pub(crate) fn annotated(source: &Source, finding: &Diagnostic) -> progress::Annotation {
    annotation(source, finding.span, finding.level, &finding.message)
}

/// The lines that a span touches, as they are shown.
struct Window {
    text: String,
    /// The number of its first line.
    line: usize,
    /// The span within it.
    span: Range<usize>,
}

impl Window {
    /// Cost: the length of these lines, not of the file.
    fn around(source: &Source, span: Span) -> Self {
        let span = clamp(source, span);
        let line = source.line(span.start);
        let start = source.line_span(line).start.min(span.start);
        let end = source.line_span(source.line(span.end)).end.max(span.end);
        Self {
            text: printable_text(&source.text[start..end]),
            line,
            span: span.start - start..span.end - start,
        }
    }

    fn snippet<'a>(&'a self, source: &'a Source) -> Snippet<'a, Annotation<'a>> {
        Snippet::source(self.text.as_str())
            .line_start(self.line)
            .path(source.name.as_str())
            .annotation(AnnotationKind::Primary.span(self.span.clone()))
    }
}

/// Long lines are cut around what is meant.
fn renderer() -> Renderer {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    Renderer::styled().term_width(if columns == 0 { WIDTH } else { columns })
}

/// A span within the text, on borders of characters, of a few lines at most.
fn clamp(source: &Source, span: Span) -> Range<usize> {
    let text = &source.text;
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.start);
    let last = source.line_span(source.line(start) + LINES - 1);
    let limit = if last.is_empty() && last.start == 0 { text.len() } else { last.end };
    let end = border(span.end.min(limit).max(start));
    // The end of the last line is no part of what is meant.
    let end = start + text[start..end].trim_end().len();
    start..end
}

/// The text with each character that a terminal would obey replaced by one of the same length, so that spans hold.
fn printable_text(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            '\r' => ' ',
            _ if character.is_ascii_control() => '?',
            _ => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(styled: &str) -> String {
        let mut stripped = anstream::StripStream::new(Vec::new());
        std::io::Write::write_all(&mut stripped, styled.as_bytes()).unwrap();
        String::from_utf8(stripped.into_inner()).unwrap()
    }

    #[test]
    fn shows_file_line_and_text() {
        let source = Source::new("Dockerfile", "FROM busybox:1\nRUNN make\n");
        let finding = Diagnostic::error(Span::new(15, 19), "unknown instruction `RUNN`")
            .with_help("did you mean `RUN`?");
        insta::assert_snapshot!(plain(&diagnostic(&source, &finding)), @r"
        error: unknown instruction `RUNN`
         --> Dockerfile:2:1
          |
        2 | RUNN make
          | ^^^^
          |
          = help: did you mean `RUN`?
        ");
    }

    #[test]
    fn a_long_instruction_is_cut() {
        let text = format!("FROM a\nRUN <<EOF\n{}EOF\n", "x\n".repeat(100));
        let source = Source::new("Dockerfile", text.clone());
        let shown = plain(&show(&source, Span::new(7, text.len())));
        assert!(shown.contains("RUN <<EOF") && shown.lines().count() < 14, "{shown}");
    }

    #[test]
    fn spans_that_do_not_fit_are_no_panic() {
        let source = Source::new("D\u{1b}ockerfile", "é\u{1b}[2J");
        for span in [Span::new(1, 2), Span::new(90, 99), Span::new(3, 1), Span::default()] {
            assert!(!show(&source, span).contains("[2J\u{1b}"));
        }
        assert!(!plain(&show(&Source::new("Dockerfile", ""), Span::default())).is_empty());
    }
}

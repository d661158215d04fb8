//! From physical lines to logical ones: continuations, comments, and a map back to the source.

use super::directives::DirectiveReader;
use super::{Diagnostic, Source, Span, Word};

/// The longest physical line that BuildKit's scanner takes, in bytes, without its newline.
pub(crate) const MAX_LINE: usize = 65_535;

/// One instruction's text, continuations joined.
#[derive(Debug, Clone)]
pub(crate) struct LogicalLine {
    pub(crate) text: String,
    /// Where pieces of `text` come from: offset in it, offset in the source. Sorted, never empty.
    pieces: Vec<(usize, usize)>,
    /// From the first character to the end of the last physical line.
    pub(crate) span: Span,
    /// 1-based, of the first character.
    pub(crate) line: usize,
    /// The comments above, without `#`.
    pub(crate) comments: Vec<Word>,
    /// Blank lines within.
    pub(crate) empty_continuations: Vec<Span>,
}

impl LogicalLine {
    /// Where a range of the text stands in the source. A range over a continuation spans it.
    pub(crate) fn source_span(&self, start: usize, end: usize) -> Span {
        if end <= start {
            let at = self.source_offset(start);
            return Span::new(at, at);
        }
        // The end is looked up by the last byte, so that it does not jump over a continuation.
        Span::new(self.source_offset(start), self.source_offset(end - 1) + 1)
    }

    fn source_offset(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let (start, source) = self.pieces[index];
        source + (offset - start)
    }

    /// A part of the text that knows where it comes from.
    pub(crate) fn slice(&self) -> Slice<'_> {
        Slice { line: self, start: 0, end: self.text.len() }
    }

    /// Whether it is worth looking for heredoc markers.
    pub(crate) fn has_heredoc_sign(&self) -> bool {
        self.text.contains("<<")
    }
}

/// A part of a [`LogicalLine`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    line: &'a LogicalLine,
    start: usize,
    end: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn text(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(crate) fn span(self) -> Span {
        self.line.source_span(self.start, self.end)
    }

    /// The part from byte `from` to byte `to` of this one.
    pub(crate) fn part(self, from: usize, to: usize) -> Self {
        Self { start: self.start + from, end: self.start + to, ..self }
    }

    pub(crate) fn trim(self) -> Self {
        let text = self.text();
        let from = text.len() - text.trim_start().len();
        self.part(from, from + text.trim().len())
    }

    pub(crate) fn word(self) -> Word {
        Word::new(self.text(), self.span())
    }
}

/// Reads a source line by line.
pub(crate) struct Lines<'a> {
    source: &'a Source,
    /// Byte offset of the next physical line.
    at: usize,
    escape: char,
    pub(crate) directives: DirectiveReader,
    comments: Vec<Word>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        let at = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self {
            source,
            at,
            escape: '\\',
            directives: DirectiveReader::new(),
            comments: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    pub(crate) fn escape(&self) -> char {
        self.escape
    }

    /// The next physical line with its line end; its place.
    pub(crate) fn physical(&mut self) -> Option<Span> {
        let rest = &self.source.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        let span = Span::new(self.at, self.at + length);
        self.at = span.end;
        if rest[..length].trim_end_matches('\n').len() > MAX_LINE {
            let message = format!("line is longer than {MAX_LINE} bytes");
            self.diagnostics.push(Diagnostic::error(span, message));
        }
        Some(span)
    }

    /// The next instruction's text, or `None` at the end.
    pub(crate) fn logical(&mut self) -> Option<LogicalLine> {
        let source = self.source;
        loop {
            let physical = self.physical()?;
            let raw = &source.text[physical.range()];
            let text = trim_newline(raw).trim_start();
            let start = physical.start + (raw.len() - raw.trim_start().len()).min(trim_newline(raw).len());
            if text.starts_with('#') {
                self.comment_or_directive(raw, text, physical.start, start);
                continue;
            }
            self.directives.finish();
            let (kept, continued) = self.strip_continuation(text);
            if kept.is_empty() && !continued {
                continue;
            }
            let mut line = LogicalLine {
                text: kept.to_owned(),
                pieces: vec![(0, start)],
                span: Span::new(start, start + text.len()),
                line: source.line(start),
                comments: std::mem::take(&mut self.comments),
                empty_continuations: Vec::new(),
            };
            if continued {
                self.continuation(&mut line);
            }
            return Some(line);
        }
    }

    fn continuation(&mut self, line: &mut LogicalLine) {
        let source = self.source;
        while let Some(physical) = self.physical() {
            let text = trim_newline(&source.text[physical.range()]);
            let trimmed = text.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                line.empty_continuations.push(Span::new(physical.start, physical.start + text.len()));
                continue;
            }
            let (kept, continued) = self.strip_continuation(text);
            if !kept.is_empty() {
                line.pieces.push((line.text.len(), physical.start));
                line.text.push_str(kept);
            }
            line.span.end = physical.start + text.len();
            if !continued {
                return;
            }
        }
    }

    /// The text before an escape character at the line's end, and whether there was one. Space may
    /// follow it; another escape character before it makes it an ordinary one.
    fn strip_continuation<'t>(&self, text: &'t str) -> (&'t str, bool) {
        match text.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before, true),
            _ => (text, false),
        }
    }

    fn comment_or_directive(&mut self, raw: &str, text: &str, line_start: usize, start: usize) {
        let span = Span::new(start, start + text.len());
        match self.directives.read(text, start) {
            Ok(None) => {}
            Ok(Some(directive)) => {
                if directive.name == "escape" {
                    match directive.value.text.as_str() {
                        "\\" => self.escape = '\\',
                        "`" => self.escape = '`',
                        other => self.diagnostics.push(
                            Diagnostic::error(
                                directive.value.span,
                                format!("invalid escape token `{other}`"),
                            )
                            .with_help("it is either a backslash or a backquote"),
                        ),
                    }
                }
                return;
            }
            Err(name) => {
                let message = format!("only one `{name}` parser directive can be used");
                self.diagnostics.push(Diagnostic::error(span, message));
                return;
            }
        }
        // The first byte is cut before the space, as BuildKit does: in an indented comment it is a
        // space, and the sign stays.
        let comment = trim_newline(raw).get(1..).unwrap_or_default();
        let trimmed = comment.trim();
        if trimmed.is_empty() {
            self.comments.clear();
            return;
        }
        let at = line_start + 1 + (comment.len() - comment.trim_start().len());
        self.comments.push(Word::new(trimmed, Span::new(at, at + trimmed.len())));
    }
}

pub(crate) fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

//! The text of a Dockerfile and places in it.

use std::ops::Range;
use std::sync::Arc;

/// A half-open range of byte offsets into a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` up to, not including, `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no byte.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// As a range, for slicing and for renderers.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A Dockerfile's text with the name it is reported under.
#[derive(Debug, Clone)]
pub struct Source {
    /// What messages call it, usually the path as the user gave it.
    pub name: String,
    /// The whole text, byte-order mark included.
    pub text: Arc<str>,
    line_starts: Arc<[usize]>,
}

/// The text of a Dockerfile. Bytes that are no UTF-8 may stand in comments, where they mean nothing.
///
/// # Errors
///
/// The number of the first line with such bytes that may be more than a comment: in a file with a here-document every
/// line may be.
pub fn decode(bytes: &[u8]) -> Result<String, usize> {
    let heredocs = bytes.windows(2).any(|pair| pair == b"<<");
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let is_comment = !heredocs && line.trim_ascii_start().starts_with(b"#");
        if !is_comment && std::str::from_utf8(line).is_err() {
            return Err(at + 1);
        }
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

impl Source {
    /// Wraps a text. Cost: one pass over it for the line table.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(newlines).collect();
        Self { name: name.into(), text, line_starts }
    }

    /// The 1-based line and 1-based column (in characters) of a byte offset. An offset past the end
    /// is the end; one inside a character is that character's.
    pub fn location(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        let column = self.text[start..].char_indices().take_while(|(at, _)| start + at < offset).count();
        (line, column + 1)
    }

    /// The 1-based line of a byte offset. Cheaper than [`Source::location`].
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The text of a 1-based line without its line end; empty when there is no such line.
    pub fn line_text(&self, line: usize) -> &str {
        let Some(&start) = line.checked_sub(1).and_then(|index| self.line_starts.get(index)) else {
            return "";
        };
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// The span of a 1-based line without its line end.
    pub fn line_span(&self, line: usize) -> Span {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied();
        start.map_or_else(Span::default, |start| Span::new(start, start + self.line_text(line).len()))
    }

    /// The text of a span; empty when it does not lie on character borders within the text.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_count_lines_and_characters_from_one() {
        let source = Source::new("Dockerfile", "FROM a\r\nRUN é x\n");
        assert_eq!(source.location(0), (1, 1));
        assert_eq!(source.location(8), (2, 1));
        assert_eq!(source.location(source.text.find('x').unwrap()), (2, 7));
        assert_eq!(source.location(9999), (3, 1));
        assert_eq!(source.line_text(1), "FROM a");
        assert_eq!(source.line_text(2), "RUN é x");
        assert_eq!(source.line_text(0), "");
        assert_eq!(source.line_text(9), "");
        assert_eq!(source.slice(source.line_span(2)), "RUN é x");
    }
}

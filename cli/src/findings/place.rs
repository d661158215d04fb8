//! Spans as lines and columns.

use builder::dockerfile::{Source, Span};

/// Where a span begins and ends: lines and columns count from 1, columns in characters; the end column is that after
/// the last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

/// Reads regions of spans. Those that come in the order of the file cost one pass over its text, however long its
/// lines are.
pub(super) struct Regions<'a> {
    starts: Cursor<'a>,
    ends: Cursor<'a>,
}

impl<'a> Regions<'a> {
    pub(super) fn of(source: &'a Source) -> Self {
        Self { starts: Cursor::new(source), ends: Cursor::new(source) }
    }

    pub(super) fn region(&mut self, span: Span) -> Region {
        let start = self.starts.location(span.start);
        // A line end belongs to its line and not to the next one.
        let text = self.starts.source.slice(span);
        let end = span.start + text.trim_end_matches(['\n', '\r']).len();
        Region { start, end: if end > span.start { self.ends.location(end) } else { start } }
    }
}

/// The last location that was asked for, from which the next one is counted.
struct Cursor<'a> {
    source: &'a Source,
    offset: usize,
    line: usize,
    column: usize,
}

impl<'a> Cursor<'a> {
    fn new(source: &'a Source) -> Self {
        Self { source, offset: 0, line: 1, column: 1 }
    }

    fn location(&mut self, offset: usize) -> (usize, usize) {
        let line = self.source.line(offset);
        let between = (offset >= self.offset && line == self.line)
            .then(|| self.source.text.get(self.offset..offset))
            .flatten();
        self.column = match between {
            Some(text) => self.column + text.chars().count(),
            None => self.source.location(offset).1,
        };
        (self.offset, self.line) = (offset, line);
        (line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_the_same_in_any_order() {
        let source = Source::new("Dockerfile", "FROM é:1 AS x\nRUN a \\\n  b\n\nCMD x");
        let spans: Vec<Span> = (0..source.text.len())
            .flat_map(|start| (start..=source.text.len()).map(move |end| Span::new(start, end)))
            .filter(|span| source.text.get(span.range()).is_some())
            .collect();
        let mut forward = Regions::of(&source);
        let mut backward = Regions::of(&source);
        let in_order: Vec<Region> = spans.iter().map(|span| forward.region(*span)).collect();
        let mut reversed: Vec<Region> = spans.iter().rev().map(|span| backward.region(*span)).collect();
        reversed.reverse();
        assert_eq!(in_order, reversed);
        let name = forward.region(Span::new(5, 9));
        assert_eq!((name.start, name.end), ((1, 6), (1, 9)), "a character of two bytes is one column");
        let whole_line = forward.region(Span::new(0, 15));
        assert_eq!(whole_line.end, (1, 14), "the line end is no part of it");
    }
}

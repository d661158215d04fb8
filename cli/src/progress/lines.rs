//! Output of steps as lines that are safe to show.

/// The longest line that is kept together. What is longer is shown in pieces.
const LONGEST: usize = 16 << 10;

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    pending: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes; gives the lines that are whole by now, without their ends.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.pending.len() >= LONGEST {
                lines.extend(self.flush());
            }
        }
        lines
    }

    /// What is left of a line that never ended.
    pub(crate) fn flush(&mut self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let line = std::mem::take(&mut self.pending);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A program that redraws its line with carriage returns is shown as a terminal would leave it.
        let last = line.rsplit(|byte| *byte == b'\r').next().unwrap_or(line);
        Some(printable(&String::from_utf8_lossy(last)))
    }
}

/// Text without what a terminal would obey: escape sequences and control characters. Output of a step is as hostile as
/// the image that it runs in.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_sequence(&mut characters),
            '\u{9b}' => skip_control(&mut characters),
            '\t' => shown.push('\t'),
            _ if character.is_control() || is_direction(character) => {}
            _ => shown.push(character),
        }
    }
    shown
}

/// [`printable`] for each line of a text.
pub(crate) fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

/// The beginning of a text, with a mark where something is left out.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// Characters that turn the direction of text, which can make a line read as another one.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// What follows an escape character (ECMA-48).
fn skip_sequence(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => skip_control(characters),
        // Strings (titles, hyperlinks, …) end with BEL or ESC \.
        Some(']' | 'P' | '^' | '_' | 'X') => {
            while let Some(character) = characters.next() {
                if character == '\u{7}' || character == '\u{9c}' {
                    break;
                }
                if character == '\u{1b}' {
                    characters.next_if_eq(&'\\');
                    break;
                }
            }
        }
        // Two more for the sequences with an intermediate, such as the choice of a character set.
        Some(' '..='/') => {
            characters.next();
        }
        _ => {}
    }
}

/// Parameters and the final character of a control sequence.
fn skip_control(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while characters.next_if(|character| matches!(character, ' '..='?')).is_some() {}
    characters.next_if(|character| matches!(character, '@'..='~'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.push(b"one\ntw"), ["one"]);
        assert_eq!(buffer.push(b"o\r\n\nlast"), ["two", ""]);
        assert_eq!(buffer.flush().as_deref(), Some("last"));
        assert_eq!(buffer.flush(), None);
        assert_eq!(buffer.push(b" 10%\r 50%\r100%\n"), ["100%"]);
        assert_eq!(buffer.push(&[0xe4, 0xb8]), Vec::<String>::new());
        assert_eq!(buffer.push(&[0x96, b'\n']), ["世"]);
    }

    #[test]
    fn a_terminal_is_never_told_anything() {
        for (text, shown) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bx\u{1b}", "x"),
            ("a\u{8}\u{0}b\tc", "ab\tc"),
            ("\u{9b}2Jx", "x"),
            ("evil\u{202e}txt", "eviltxt"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}

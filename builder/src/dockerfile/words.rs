//! Splitting a logical line into flags and words. Quotes and escapes stay in words, because they
//! matter to expansion, and go from flags.

use super::lines::Slice;
use super::{Diagnostic, Word};

/// What separates words where quotes do not count.
pub(crate) const SPACE: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// For the place where `#` was meant to start a comment.
pub(crate) const COMMENT_HELP: &str = "a comment needs a line of its own";

/// Splits at runs of space.
pub(crate) fn split_at_space(text: Slice<'_>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    let whole = text.text();
    for (at, c) in whole.char_indices() {
        match (SPACE.contains(&c), start) {
            (true, Some(from)) => {
                words.push(text.part(from, at).word());
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(from) = start {
        words.push(text.part(from, whole.len()).word());
    }
    words
}

/// Takes `--flag` words off the front, up to a word that is none or up to `--`. Quotes and escapes
/// work within and are removed.
pub(crate) fn split_flags<'a>(text: Slice<'a>, escape: char) -> (Vec<Word>, Slice<'a>) {
    let whole = text.text();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        let rest = &whole[at..];
        let start = at + (rest.len() - rest.trim_start().len());
        if !whole[start..].starts_with("--") {
            return (flags, text.part(start, whole.len()));
        }
        let (flag, end) = read_flag(whole, start, escape);
        if flag == "--" {
            return (flags, text.part(end, whole.len()));
        }
        flags.push(Word::new(flag, text.part(start, end).span()));
        at = end;
    }
}

fn read_flag(whole: &str, start: usize, escape: char) -> (String, usize) {
    let mut flag = String::new();
    let mut quote = None;
    let mut chars = whole[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (flag, start + at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => {
                // At the very end it escapes nothing and is dropped.
                if let Some((_, escaped)) = chars.next() {
                    flag.push(escaped);
                }
            }
            _ => flag.push(c),
        }
    }
    (flag, whole.len())
}

/// Splits at space outside quotes and keeps quotes and escapes.
pub(crate) fn split_quoted(text: Slice<'_>, escape: char) -> Vec<Word> {
    let whole = text.text();
    let mut words = Vec::new();
    let mut word = String::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = whole.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(from) = start.take() {
                words.push(Word::new(std::mem::take(&mut word), text.part(from, at).span()));
            }
            continue;
        }
        start.get_or_insert(at);
        // Nothing escapes within single quotes.
        if c == escape && quote != Some('\'') {
            // At the very end it escapes nothing and is dropped.
            if let Some((_, escaped)) = chars.next() {
                word.push(c);
                word.push(escaped);
            }
            continue;
        }
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if let Some(from) = start
        && !word.is_empty()
    {
        words.push(Word::new(word, text.part(from, whole.len()).span()));
    }
    words
}

/// The keys and values of `ENV` and `LABEL`, in turns, and whether they are in the old form, which
/// the first word decides: without `=` the rest of the line is one value.
///
/// # Errors
/// When a word has no `=` where one is needed, or the old form no value.
pub(crate) fn split_pairs(
    text: Slice<'_>,
    instruction: &str,
    escape: char,
) -> Result<(Vec<Word>, bool), Diagnostic> {
    let words = split_quoted(text, escape);
    let Some(first) = words.first() else { return Ok((Vec::new(), false)) };
    if !first.text.contains('=') {
        let whole = text.text();
        let Some(end) = whole.find(SPACE) else {
            let error = Diagnostic::error(text.span(), format!("{instruction} must have two arguments"));
            return Err(error.with_help(format!("`{instruction} {whole}=value` sets a value")));
        };
        let value = end + (whole[end..].len() - whole[end..].trim_start_matches(SPACE).len());
        return Ok((vec![text.part(0, end).word(), text.part(value, whole.len()).word()], true));
    }
    let mut pairs = Vec::with_capacity(words.len() * 2);
    for word in words {
        let Some((key, value)) = word.text.split_once('=') else {
            let message =
                format!("can't find `=` in `{}`, which must be of the form `name=value`", word.text);
            let comment = word.text.starts_with('#');
            let help = if comment { COMMENT_HELP } else { "a value with spaces needs quotes" };
            return Err(Diagnostic::error(word.span, message).with_help(help));
        };
        // Both are the whole word's place when it was continued on another line.
        let (mut key_span, mut value_span) = (word.span, word.span);
        if word.span.len() == word.text.len() {
            key_span.end = key_span.start + key.len();
            value_span.start = key_span.end + 1;
        }
        pairs.push(Word::new(key, key_span));
        pairs.push(Word::new(value, value_span));
    }
    Ok((pairs, false))
}

/// The strings of a JSON array; `None` when the text is no valid JSON array.
///
/// # Errors
/// When it is valid and holds something else than strings.
pub(crate) fn json_strings(text: Slice<'_>) -> Result<Option<Vec<Word>>, Diagnostic> {
    let text = text.trim();
    if !text.text().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text.text()) else { return Ok(None) };
    let mut words = Vec::with_capacity(values.len());
    let mut at = 1;
    for value in values {
        let serde_json::Value::String(string) = value else {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            return Err(Diagnostic::error(text.span(), message));
        };
        let (start, end) = json_literal(text.text(), at);
        words.push(Word::new(string, text.part(start, end).span()));
        at = end;
    }
    Ok(Some(words))
}

/// The next string literal of a text that is known to be valid.
fn json_literal(text: &str, from: usize) -> (usize, usize) {
    let start = text[from..].find('"').map_or(text.len(), |at| from + at);
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return (start, at + 1),
            _ => {}
        }
    }
    (start, text.len())
}

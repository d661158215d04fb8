//! Heredoc markers: `[fd]<<[-]delimiter`.

use super::expand::{Lexer, Options, Quotes, Scope};

/// A marker, before its lines are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
    pub(crate) fd: u32,
}

/// The markers of a logical line, keyword included. A line whose quotes do not match has none.
pub(crate) fn markers_in(line: &str) -> Vec<Marker> {
    let options =
        Options { quotes: Quotes::Keep, keep_escapes: true, keep_unset: true, ..Options::default() };
    let words = Lexer::new(line, &NOTHING_SET, options).words().unwrap_or_default();
    words.iter().filter_map(|word| parse_marker(word)).collect()
}

/// Reads one word as a marker.
pub(crate) fn parse_marker(word: &str) -> Option<Marker> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (fd, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let delimiter = rest.trim_start_matches([' ', '\t', '\n', '\x0c', '\r']);
    if delimiter.is_empty() || delimiter.contains('<') {
        return None;
    }
    let lex = |quotes| {
        let options = Options { quotes, keep_unset: true, ..Options::default() };
        Lexer::new(delimiter, &NOTHING_SET, options).words().ok()
    };
    let [name] = <[String; 1]>::try_from(lex(Quotes::Remove)?).ok()?;
    let [raw] = <[String; 1]>::try_from(lex(Quotes::Keep)?).ok()?;
    // A quote that disappeared was one that quoted: then nothing in the body is expanded.
    let count = |text: &str| text.matches(['\'', '"']).count();
    Some(Marker { expand: count(&name) == count(&raw), name, chomp, fd: fd.parse().unwrap_or(0) })
}

/// Whether a command is nothing but one heredoc marker (`<<EOF`).
pub(crate) fn is_lone_marker(text: &str) -> bool {
    parse_marker(text).is_some()
}

const NOTHING_SET: Scope<'static> = Scope { lookup: &|_| None };

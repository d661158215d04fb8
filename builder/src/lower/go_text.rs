//! Values as Go's `fmt` writes them, which is how BuildKit's history shows them.

use std::fmt::Write as _;

/// A duration, in nanoseconds: `1m30s`, `500ms`, `0s`.
pub(super) fn duration(nanoseconds: i64) -> String {
    let trim = |value: f64, unit: &str| format!("{value}{unit}");
    match nanoseconds {
        0 => "0s".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "below a second there are at most nine digits")]
        1..1_000_000_000 => match nanoseconds {
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => trim(nanoseconds as f64 / 1e3, "\u{b5}s"),
            _ => trim(nanoseconds as f64 / 1e6, "ms"),
        },
        _ => {
            let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let fraction = format!("{rest:09}");
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let mut text = String::new();
            if hours > 0 {
                let _ = write!(text, "{hours}h");
            }
            if hours > 0 || minutes > 0 {
                let _ = write!(text, "{minutes}m");
            }
            let _ = write!(text, "{seconds}{point}{fraction}s");
            text
        }
    }
}

/// A list of texts, as `%q`.
pub(super) fn quoted(words: &[String]) -> String {
    let mut text = "[".to_owned();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push('"');
        for c in word.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '\u{7}' => text.push_str("\\a"),
                '\u{8}' => text.push_str("\\b"),
                '\u{b}' => text.push_str("\\v"),
                '\u{c}' => text.push_str("\\f"),
                '\'' => text.push(c),
                c if is_printable(c) => text.push(c),
                '\0'..='\u{7f}' => {
                    let _ = write!(text, "\\x{:02x}", u32::from(c));
                }
                '\u{80}'..='\u{ffff}' => {
                    let _ = write!(text, "\\u{:04x}", u32::from(c));
                }
                _ => {
                    let _ = write!(text, "\\U{:08x}", u32::from(c));
                }
            }
        }
        text.push('"');
    }
    text.push(']');
    text
}

/// Letters, marks, numbers, punctuation, symbols and the blank. Rust's own escaping knows the same classes, but takes
/// a mark for printable only where it follows something.
fn is_printable(c: char) -> bool {
    format!("a{c}").escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let words = ["/bin/sh", "-c", "echo \"a\\b\"\n"].map(str::to_owned);
        assert_eq!(quoted(&words), r#"["/bin/sh" "-c" "echo \"a\\b\"\n"]"#);
        assert_eq!(quoted(&[]), "[]");
        let odd = "e\u{301}'\u{1}\u{7f}\u{a0}\u{200b}\u{1f600}\u{e0001}".to_owned();
        assert_eq!(quoted(&[odd]), "[\"e\u{301}'\\x01\\x7f\\u00a0\\u200b\u{1f600}\\U000e0001\"]");
    }

    #[test]
    fn durations_as_go_does() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (500_000_000, "500ms"),
            (1_500_000, "1.5ms"),
            (5_000_000_000, "5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500_000_000, "1.5s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}

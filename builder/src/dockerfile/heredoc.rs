//! Heredoc markers and bodies.

/// Whether a command is nothing but one heredoc marker (`<<EOF`).
pub(crate) fn is_lone_marker(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.starts_with("<<") && !text[2..].contains('<') && !text[2..].trim_start_matches('-').trim().is_empty()
}

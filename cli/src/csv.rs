//! Fields with commas between them, as Docker reads them in options and bake files.

/// The fields of a line of CSV.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields[last].push(character),
        }
    }
    if quoted { Err("a quote has no end".to_owned()) } else { Ok(fields) }
}

/// A field that may stand among others.
pub(crate) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for parts in [vec!["a", "b=c"], vec!["a,b", "say \"x\""], vec![""]] {
            let line = parts.iter().map(|part| field(part)).collect::<Vec<_>>().join(",");
            assert_eq!(fields(&line).unwrap(), parts, "{line}");
        }
        assert!(fields("\"a").is_err());
    }
}

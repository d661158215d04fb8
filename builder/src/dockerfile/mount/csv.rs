//! The one line of CSV that an option is.

use super::MountError;

/// The fields of one CSV line: a field that starts with a quote ends at the next lone quote, and two
/// quotes in it are one.
pub(super) fn split_csv(line: &str) -> Result<Vec<String>, MountError> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let field = &rest[..end];
            if field.contains('"') {
                return Err(MountError::new(format!("failed to parse `{line}`: bare quote in `{field}`")));
            }
            (field.to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => {
                return Err(MountError::new(format!("failed to parse `{line}`: text after a closing quote")));
            }
        }
    }
}

fn quoted_field(text: &str) -> Result<(String, &str), MountError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(at) = rest.find('"') else {
            return Err(MountError::new("failed to parse a quoted field: missing closing quote"));
        };
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}

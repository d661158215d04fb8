//! `.env`: variables for compose files.

use std::collections::BTreeMap;

use builder::dockerfile::Source;

use super::super::fault::{Fault, Result};
use super::interpolate;

/// Reads `NAME=value`, with or without quotes. A value without single quotes may name variables: those of the
/// environment, and those above it.
pub(super) fn read(
    source: &Source,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut rest: &str = &source.text;
    while !rest.is_empty() {
        let at = source.text.len() - rest.len();
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let text = text.strip_prefix("export ").unwrap_or(text);
        let Some((name, value)) = text.split_once(['=', ':']) else {
            // A name alone has the value of the environment, if there is one.
            if let Some(value) = lookup(text) {
                variables.insert(text.to_owned(), value);
            }
            continue;
        };
        let (name, value) = (name.trim(), value.trim_start());
        let place = source.line_span(source.line(at));
        let plain = |one: char| one.is_ascii_alphanumeric() || "_.-".contains(one);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Fault::at(source, place, format!("`{name}` is no name of a variable")));
        }
        let known = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
        let quote = value.chars().next().filter(|one| ['"', '\''].contains(one));
        let value = match quote {
            Some(quote) => {
                // A value in quotes may go over several lines.
                let start =
                    at + line.len() - line.trim_start().len() + line.trim_start().find(quote).unwrap_or(0);
                let (inner, end) = quoted(&source.text[start + 1..], quote)
                    .ok_or_else(|| Fault::at(source, place, "a quote has no end"))?;
                let after = &source.text[start + 1 + end..];
                rest = after.split_once('\n').map_or("", |(_, after)| after);
                if quote == '"' { interpolate::text(&inner, &known) } else { Ok(inner) }
            }
            None => {
                let end = value.find(" #").unwrap_or(value.len());
                interpolate::text(value[..end].trim_end(), &known)
            }
        };
        let value = value.map_err(|reason| Fault::at(source, place, reason))?;
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

/// The text up to a quote, and where what follows it begins. Between double quotes `\` escapes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Some((inner, at + 1)),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => inner.push('\n'),
                't' => inner.push('\t'),
                'r' => inner.push('\r'),
                '$' => inner += "$$",
                other => inner.push(other),
            },
            other => inner.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let text = "# note\nA=1\nexport B = two words # note\nC=\"a\\n$A ${B:-x}\"\nD='$A'\nE=\nF=\"x\ny\" # z\nHOME\n\nG: g\n";
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let read = read(&Source::new(".env", text), &lookup).unwrap();
        let all: Vec<String> = read.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(
            all.join(" "),
            r#"A="1" B="two words" C="a\n1 two words" D="$A" E="" F="x\ny" G="g" HOME="/root""#
        );
        for text in ["A=\"x", "a b=c", "A=${B"] {
            assert!(super::read(&Source::new(".env", text), &lookup).is_err(), "{text}");
        }
    }
}

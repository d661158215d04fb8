//! Variables in compose files: `$NAME`, `${NAME:-default}` and the like.

use super::super::fault::Result;
use super::super::markup::{Markup, Node};
use super::Variables;

/// How deep defaults may be in each other.
const DEPTH: usize = 32;

/// A node with the values of variables in all its texts. Names stay what they are.
pub(super) fn node(node: &Node, variables: &Variables<'_>) -> Result<Node> {
    let inner = |one: &Node| self::node(one, variables);
    let value = match &node.value {
        Markup::Scalar { text, .. } if text.contains('$') => {
            let text =
                self::text(text, &|name| variables.value(name)).map_err(|reason| node.fault(reason))?;
            Markup::Scalar { text, plain: false }
        }
        scalar @ Markup::Scalar { .. } => scalar.clone(),
        Markup::List(items) => Markup::List(items.iter().map(inner).collect::<Result<_>>()?),
        Markup::Map(fields) => {
            let fields = fields.iter().map(|(key, value)| Ok((key.clone(), inner(value)?)));
            Markup::Map(fields.collect::<Result<_>>()?)
        }
    };
    Ok(Node { tag: node.tag.clone(), ..node.with(value) })
}

/// A text with the values of variables in it.
pub(super) fn text(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    within(text, lookup, 0)
}

fn within(text: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String, String> {
    if depth > DEPTH {
        return Err(format!("variables are nested deeper than {DEPTH} levels"));
    }
    let mut written = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        written += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            written.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| format!("`${{{after}` has no `}}`"))?;
            written += &expression(&after[..end], lookup, depth)?;
            rest = &after[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                return Err("a `$` that stands for itself is written `$$`".to_owned());
            }
            written += &lookup(&rest[..length]).unwrap_or_default();
            rest = &rest[length..];
        }
    }
    Ok(written + rest)
}

/// Where the brace is that ends an expression.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = character;
    }
    None
}

fn name_length(text: &str) -> usize {
    let first = text.chars().next().is_some_and(|one| one.is_ascii_alphabetic() || one == '_');
    if !first {
        return 0;
    }
    text.len() - text.trim_start_matches(|one: char| one.is_ascii_alphanumeric() || one == '_').len()
}

/// What stands between `${` and `}`.
fn expression(text: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String, String> {
    let length = name_length(text);
    let (name, rest) = text.split_at(length);
    if name.is_empty() {
        return Err(format!("`${{{text}}}` names no variable"));
    }
    let value = lookup(name);
    let set = value.clone().filter(|value| !value.is_empty());
    let more = |text: &str| within(text, lookup, depth + 1);
    let missing = |reason: &str| {
        let reason = more(reason)?;
        Err(if reason.is_empty() {
            format!("the variable `{name}` is needed")
        } else {
            format!("the variable `{name}` is needed: {reason}")
        })
    };
    if rest.is_empty() {
        Ok(value.unwrap_or_default())
    } else if let Some(default) = rest.strip_prefix(":-") {
        set.map_or_else(|| more(default), Ok)
    } else if let Some(default) = rest.strip_prefix('-') {
        value.map_or_else(|| more(default), Ok)
    } else if let Some(other) = rest.strip_prefix(":+") {
        set.map_or_else(|| Ok(String::new()), |_| more(other))
    } else if let Some(other) = rest.strip_prefix('+') {
        value.map_or_else(|| Ok(String::new()), |_| more(other))
    } else if let Some(reason) = rest.strip_prefix(":?") {
        set.map_or_else(|| missing(reason), Ok)
    } else if let Some(reason) = rest.strip_prefix('?') {
        value.map_or_else(|| missing(reason), Ok)
    } else {
        Err(format!("`${{{text}}}` is of no form that is known; an example is `${{{name}:-default}}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (written, wanted) in [
            ("$A-${A}x$$A", "a-ax$A"),
            ("${NO:-d}${EMPTY:-d}${EMPTY-d}${NO-d}", "ddd"),
            ("${NO:-${ALSO:-$A}}", "a"),
            ("${A:+y}${EMPTY:+y}${EMPTY+y}${NO+y}", "yy"),
            ("${A:?needed}", "a"),
            ("$NO", ""),
        ] {
            assert_eq!(text(written, &lookup).as_deref(), Ok(wanted), "{written}");
        }
        assert!(text("${NO:?say it}", &lookup).unwrap_err().contains("say it"));
        for wrong in ["${A", "$", "${}", "$1", "${A!x}", "${EMPTY:?}"] {
            assert!(text(wrong, &lookup).is_err(), "{wrong}");
        }
    }
}

//! Reads values of a compose file.

use std::collections::BTreeMap;

use super::super::entries::Ssh;
use super::super::markup::{Markup, Node};
use super::super::value::Value;
use super::super::{paths, target_name};

/// A text; nothing is an empty one.
pub(super) fn text(node: &Node) -> Result<String, String> {
    node.scalar().map_or_else(
        || Err("a string is needed".to_owned()),
        |value| match value {
            Value::Null => Ok(String::new()),
            value => value.to_text(),
        },
    )
}

/// `true` or `false`.
pub(super) fn flag(node: &Node) -> Result<bool, String> {
    crate::args::kaniko::boolean(&text(node)?)
}

/// The nodes of a list.
pub(super) fn list(node: &Node) -> Result<&[Node], String> {
    match &node.value {
        Markup::List(items) => Ok(items),
        _ => Err("a list is needed".to_owned()),
    }
}

/// The fields of a map.
pub(super) fn map(node: &Node) -> Result<&[(Node, Node)], String> {
    match &node.value {
        Markup::Map(fields) => Ok(fields),
        _ => Err("a map is needed".to_owned()),
    }
}

/// The texts of a list.
pub(super) fn texts(node: &Node) -> Result<Vec<String>, String> {
    list(node)?.iter().map(text).collect()
}

/// A list, or words in one text.
pub(super) fn words(node: &Node) -> Result<Vec<String>, String> {
    match &node.value {
        Markup::Scalar { text, .. } => Ok(text.split_whitespace().map(str::to_owned).collect()),
        _ => texts(node),
    }
}

/// What the texts of a list say.
pub(super) fn each<T>(node: &Node, read: fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for text in texts(node)? {
        all.extend(read(&text)?);
    }
    Ok(all)
}

/// Texts by name; several of one name have commas between them.
pub(super) fn named(node: &Node) -> Result<BTreeMap<String, String>, String> {
    let one = |(key, value): &(Node, Node)| {
        let value = match &value.value {
            Markup::List(_) => texts(value)?.join(","),
            _ => text(value)?,
        };
        Ok((key.name().unwrap_or_default(), value))
    };
    map(node)?.iter().map(one).collect()
}

/// Further contexts; those that are services are targets.
pub(super) fn contexts(node: &Node) -> Result<BTreeMap<String, String>, String> {
    let place = |place: String| match place.split_once(':') {
        Some(("service" | "target", service)) => format!("target:{}", target_name(service)),
        _ if paths::is_remote(&place) || place.contains("://") => place,
        _ => paths::clean(&place),
    };
    Ok(named(node)?.into_iter().map(|(name, text)| (name, place(text))).collect())
}

/// Agents and keys for SSH.
pub(super) fn agents(node: &Node) -> Result<Vec<Ssh>, String> {
    let one = |(key, value): &(Node, Node)| {
        let paths = if value.is_null() { Vec::new() } else { vec![text(value)?] };
        Ok(Ssh { id: key.name().unwrap_or_default(), paths })
    };
    map(node)?.iter().map(one).collect()
}

/// A size in bytes, as Docker writes sizes: `128MiB`.
pub(super) fn size(node: &Node) -> Result<String, String> {
    let text = text(node)?;
    let bytes = crate::settings::bytes(&text).map_err(|failure| failure.to_string())?;
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 1024.0 && unit < UNITS.len() - 1 {
        number /= 1024.0;
        unit += 1;
    }
    // Four digits that say something.
    let whole = if number >= 1.0 { number.log10().floor() as usize + 1 } else { 1 };
    let rounded = format!("{number:.*}", 4_usize.saturating_sub(whole));
    let rounded =
        if rounded.contains('.') { rounded.trim_end_matches('0').trim_end_matches('.') } else { &rounded };
    Ok(format!("{rounded}{}", UNITS[unit]))
}

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Limits of processes, as `--ulimit` has them.
pub(super) fn limits(node: &Node) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for (key, value) in map(node)? {
        let name = key.name().unwrap_or_default();
        let of = |field: &str| match value.field(field) {
            Some(number) => text(number),
            None => text(value),
        };
        all.push(format!("{name}={}:{}", of("soft")?, of("hard")?));
    }
    all.sort();
    Ok(all)
}

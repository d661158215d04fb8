//! Several definitions of a service become one.

use super::super::fault::Result;
use super::super::markup::{Markup, Node};

/// Fields of a build that are maps, and may be written as lists of `name=value`.
const MAPS: [&str; 6] = ["additional_contexts", "args", "environment", "extra_hosts", "labels", "ssh"];

/// Puts in what `<<` takes over.
pub(super) fn keys(node: Node) -> Result<Node> {
    let value = match node.value {
        Markup::List(items) => Markup::List(items.into_iter().map(keys).collect::<Result<_>>()?),
        Markup::Map(fields) => {
            let (mut own, mut taken) = (Vec::new(), Vec::new());
            for (key, value) in fields {
                let value = keys(value)?;
                if !key.is("<<") {
                    own.push((key, value));
                    continue;
                }
                let sources = match value.value {
                    Markup::List(items) => items,
                    _ => vec![value],
                };
                for one in sources {
                    let Markup::Map(fields) = one.value else {
                        return Err(one.fault("`<<` takes a map over"));
                    };
                    taken.extend(fields);
                }
            }
            for (key, value) in taken {
                if own.iter().all(|(known, _)| known.name() != key.name()) {
                    own.push((key, value));
                }
            }
            Markup::Map(own)
        }
        scalar => scalar,
    };
    Ok(Node { value, ..node })
}

/// A service with the short forms of its build written out.
pub(super) fn service(mut node: Node) -> Node {
    let Markup::Map(fields) = &mut node.value else { return node };
    for (key, value) in fields.iter_mut() {
        if key.is("build") {
            if let Markup::Scalar { .. } = value.value
                && !value.is_null()
            {
                let context = Markup::Scalar { text: "context".to_owned(), plain: true };
                value.value = Markup::Map(vec![(value.with(context), value.clone())]);
            }
            *value = service(value.clone());
        } else if key.is("env_file") && !matches!(value.value, Markup::List(_)) {
            value.value = Markup::List(vec![value.clone()]);
        } else if MAPS.iter().any(|name| key.is(name)) {
            written_out(value, key.is("extra_hosts"));
        }
    }
    node
}

/// A list of `name=value` as a map, with `colon` also of `name:value`. Several values of a name become a list.
fn written_out(node: &mut Node, colon: bool) {
    let Markup::List(items) = &node.value else { return };
    let mut fields: Vec<(Node, Node)> = Vec::new();
    for item in items {
        let text = item.name().unwrap_or_default();
        let (name, value) = match text.split_once('=').or_else(|| text.split_once(':').filter(|_| colon)) {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        let scalar = |text: &str, plain| item.with(Markup::Scalar { text: text.to_owned(), plain });
        let value = value.map_or_else(|| scalar("", true), |value| scalar(value, false));
        match fields.iter_mut().find(|(known, _)| known.is(name)) {
            Some((_, known)) => match &mut known.value {
                Markup::List(items) => items.push(value),
                _ => known.value = Markup::List(vec![known.clone(), value]),
            },
            None => fields.push((scalar(name, false), value)),
        }
    }
    node.value = Markup::Map(fields);
}

/// A node that a later one changes: maps by name, lists one after the other, anything else by the later one. `name` is
/// that of the field.
pub(super) fn nodes(earlier: Node, later: Node, name: &str) -> Node {
    match later.tag.as_deref() {
        Some("reset") => {
            return later.with(Markup::Scalar { text: String::new(), plain: true });
        }
        Some("override") => return Node { tag: None, ..later },
        _ => {}
    }
    let place = later.with(Markup::List(Vec::new()));
    let value = match (earlier.value, later.value) {
        (Markup::Map(mut fields), Markup::Map(more)) => {
            for (key, value) in more {
                let name = key.name().unwrap_or_default();
                match fields.iter_mut().find(|(known, _)| known.is(&name)) {
                    Some((_, known)) => *known = nodes(known.clone(), value, &name),
                    None => fields.push((key, value)),
                }
            }
            Markup::Map(fields)
        }
        // A command is not continued by another one.
        (Markup::List(items), Markup::List(more)) if !["command", "entrypoint", "test"].contains(&name) => {
            let fresh = more.into_iter().filter(|one| !items.iter().any(|known| same(known, one)));
            let fresh: Vec<Node> = fresh.collect();
            Markup::List(items.into_iter().chain(fresh).collect())
        }
        (_, later) => later,
    };
    place.with(value)
}

/// A map without a field.
pub(super) fn without(mut node: Node, name: &str) -> Node {
    if let Markup::Map(fields) = &mut node.value {
        fields.retain(|(key, _)| !key.is(name));
    }
    node
}

fn same(one: &Node, other: &Node) -> bool {
    one.to_value() == other.to_value()
}

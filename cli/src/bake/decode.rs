//! From the attributes of a `target` or `group` block to their meaning.

use std::collections::BTreeMap;

use super::body::Attribute;
use super::entries::{self, Entry};
use super::fault::{Fault, Result};
use super::target::{Group, Target};
use super::value::Value;

/// The attributes of a target.
const TARGET: [&str; 31] = [
    "annotations",
    "args",
    "attest",
    "cache-from",
    "cache-to",
    "call",
    "context",
    "contexts",
    "description",
    "dockerfile",
    "dockerfile-inline",
    "entitlements",
    "extra-hosts",
    "inherits",
    "labels",
    "matrix",
    "name",
    "network",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "policy",
    "pull",
    "resources",
    "secret",
    "shm-size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

impl Target {
    /// Takes what an attribute says, given what it came to.
    pub(crate) fn take(&mut self, attribute: &Attribute, value: &Value) -> Result<()> {
        let Some(name) = TARGET.iter().find(|name| **name == attribute.name) else {
            let message = format!("a target has no attribute `{}`", attribute.name);
            return Err(Fault::at(&attribute.source, attribute.span, message).meant(&attribute.name, TARGET));
        };
        let place = super::evaluate::Evaluator::place(&attribute.value);
        self.places.insert(name, (attribute.source.clone(), attribute.span.to(place)));
        if *value == Value::Null {
            return Ok(());
        }
        self.set(name, value)
            .map_err(|reason| Fault::at(&attribute.source, place, format!("`{name}` of a target: {reason}")))
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "annotations" => self.annotations = texts(value)?,
            "args" => self.args = named(value)?,
            "attest" => self.attest = each(value, entries::attestations, entries::entry_of)?,
            "cache-from" => self.cache_from = each(value, entries::caches, entries::entry_of)?,
            "cache-to" => self.cache_to = Some(each(value, entries::caches, entries::entry_of)?),
            "call" => self.call = Some(value.to_text()?),
            "context" => self.context = Some(value.to_text()?),
            "contexts" => self.contexts = named(value)?,
            "description" => self.description = Some(value.to_text()?).filter(|text| !text.is_empty()),
            "dockerfile" => self.dockerfile = Some(value.to_text()?),
            "dockerfile-inline" => self.dockerfile_inline = Some(value.to_text()?),
            "entitlements" => self.entitlements = texts(value)?,
            "extra-hosts" => self.extra_hosts = hosts(value)?,
            "inherits" => self.inherits = texts(value)?,
            "labels" => self.labels = named(value)?,
            "network" => self.network = Some(value.to_text()?),
            "no-cache" => self.no_cache = Some(value.to_bool()?),
            "no-cache-filter" => self.no_cache_filter = texts(value)?,
            "output" => self.outputs = Some(each(value, entries::outputs, entries::entry_of)?),
            "platforms" => self.platforms = Some(texts(value)?),
            "policy" => self.policy = Some(value.to_json()),
            "pull" => self.pull = Some(value.to_bool()?),
            "resources" => self.resources = Some(value.to_json()),
            "secret" => self.secrets = each(value, entries::secrets, entries::secret_of)?,
            "shm-size" => self.shm_size = Some(value.to_text()?),
            "ssh" => self.ssh = each(value, |text| Ok(entries::agents(text)), entries::ssh_of)?,
            "tags" => self.tags = Some(texts(value)?),
            "target" => self.target = Some(value.to_text()?),
            "ulimits" => self.ulimits = texts(value)?,
            // `name` and `matrix` say which targets there are.
            _ => {}
        }
        Ok(())
    }
}

/// The value of a target's attribute as others see it: what may be written as text is an object to them. A value that
/// is wrong stays what it is, and is told of where it stands.
pub(crate) fn referred(name: &str, value: Value) -> Value {
    let object = |fields: Vec<(&str, String)>| {
        Value::Object(fields.into_iter().map(|(key, text)| (key.to_owned(), Value::String(text))).collect())
    };
    let entry = |entry: Entry| {
        Value::Object(entry.into_iter().map(|(key, text)| (key, Value::String(text))).collect())
    };
    let list = match name {
        "cache-from" | "cache-to" => {
            each(&value, entries::caches, entries::entry_of).map(|all| all.into_iter().map(entry).collect())
        }
        "output" => {
            each(&value, entries::outputs, entries::entry_of).map(|all| all.into_iter().map(entry).collect())
        }
        "attest" => each(&value, entries::attestations, entries::entry_of)
            .map(|all| all.into_iter().map(entry).collect()),
        "secret" => each(&value, entries::secrets, entries::secret_of).map(|all| {
            all.into_iter()
                .map(|one| object(vec![("id", one.id), ("src", one.src), ("env", one.env)]))
                .collect()
        }),
        "ssh" => each(&value, |text| Ok(entries::agents(text)), entries::ssh_of).map(|all| {
            let one = |one: entries::Ssh| {
                let paths = Value::List(one.paths.into_iter().map(Value::String).collect());
                Value::Object([("id".to_owned(), Value::String(one.id)), ("paths".to_owned(), paths)].into())
            };
            all.into_iter().map(one).collect()
        }),
        _ => return value,
    };
    list.map_or(value, Value::List)
}

impl Group {
    /// Takes what an attribute says, given what it came to.
    pub(crate) fn take(&mut self, attribute: &Attribute, value: &Value) -> Result<()> {
        let place = super::evaluate::Evaluator::place(&attribute.value);
        let wrong = |reason: String| {
            Fault::at(&attribute.source, place, format!("`{}` of a group: {reason}", attribute.name))
        };
        match attribute.name.as_str() {
            "targets" => {
                self.targets = texts(value).map_err(wrong)?;
                self.place = Some((attribute.source.clone(), place));
            }
            "description" => {
                self.description = Some(value.to_text().map_err(wrong)?).filter(|text| !text.is_empty());
            }
            name @ ("name" | "matrix") => {
                return Err(Fault::at(&attribute.source, attribute.span, format!("a group has no `{name}`"))
                    .help("a target has; a group may name the targets that come of it"));
            }
            name => {
                return Err(Fault::at(
                    &attribute.source,
                    attribute.span,
                    format!("a group has no attribute `{name}`"),
                )
                .meant(name, ["targets", "description"]));
            }
        }
        Ok(())
    }
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::List(items) => items.iter().map(Value::to_text).collect(),
        other => Err(format!("a list of strings is needed, and this is {}", other.kind())),
    }
}

/// Texts by name; one that is null is not said.
fn named(value: &Value) -> Result<BTreeMap<String, String>, String> {
    match value {
        Value::Object(_) => entries::texts_of(value),
        other => Err(format!("an object is needed, and this is {}", other.kind())),
    }
}

/// A list of texts and objects.
fn each<T>(
    value: &Value,
    of_text: impl Fn(&str) -> Result<Vec<T>, String>,
    of_object: impl Fn(&Value) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Value::List(items) = value else {
        return Err(format!("a list is needed, and this is {}", value.kind()));
    };
    let mut all = Vec::new();
    for item in items {
        match item {
            Value::String(text) => all.extend(of_text(text)?),
            Value::Null => {}
            object => all.push(of_object(object)?),
        }
    }
    Ok(all)
}

/// Addresses by name, or `name=address` and `name:address` in a list.
fn hosts(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let Value::List(_) = value else { return named(value) };
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for text in texts(value)? {
        let split = text.split_once('=').or_else(|| text.split_once(':'));
        let (name, address) = split.ok_or_else(|| format!("`{text}` is not of the form HOST=IP"))?;
        hosts
            .entry(name.to_owned())
            .and_modify(|all| *all = format!("{all},{address}"))
            .or_insert_with(|| address.to_owned());
    }
    Ok(hosts)
}

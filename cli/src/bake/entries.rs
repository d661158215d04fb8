//! Values of targets that are written as text or as objects: caches, outputs, secrets, agents, attestations.

use std::collections::BTreeMap;

use serde::Serialize;

use super::value::Value;
use crate::csv;

/// A cache, an output or an attestation: its `type` and what else is said, by name.
pub(crate) type Entry = BTreeMap<String, String>;

/// A secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Secret {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) src: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) env: String,
}

/// Agents or keys for SSH.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Ssh {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) paths: Vec<String>,
}

/// Caches: `type=registry,ref=NAME`, or names with commas between them.
pub(crate) fn caches(text: &str) -> Result<Vec<Entry>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.contains('=') {
        return pairs(text).map(|entry| vec![entry]);
    }
    let registry =
        |name: String| Entry::from([("type".to_owned(), "registry".to_owned()), ("ref".to_owned(), name)]);
    Ok(csv::fields(text)?.into_iter().map(registry).collect())
}

/// An output: `type=oci,dest=FILE`, a directory, or `-`.
pub(crate) fn outputs(text: &str) -> Result<Vec<Entry>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if csv::fields(text)? == [text] && !text.starts_with("type=") {
        let kind = if text == "-" { "tar" } else { "local" };
        return Ok(vec![Entry::from([
            ("type".to_owned(), kind.to_owned()),
            ("dest".to_owned(), text.to_owned()),
        ])]);
    }
    pairs(text).map(|entry| vec![entry])
}

/// An attestation: `type=provenance,mode=max`.
pub(crate) fn attestations(text: &str) -> Result<Vec<Entry>, String> {
    if text.is_empty() { Ok(Vec::new()) } else { pairs(text).map(|entry| vec![entry]) }
}

/// An attestation as its own option and compose files write it: `true`, `false`, or what else is said of it.
pub(crate) fn attestation_of(kind: &str, text: &str) -> String {
    match crate::args::kaniko::boolean(text) {
        Ok(wanted) => format!("type={kind},disabled={}", !wanted),
        Err(_) => format!("type={kind},{text}"),
    }
}

/// A secret: `id=NAME,src=FILE`.
pub(crate) fn secrets(text: &str) -> Result<Vec<Secret>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut secret = Secret::default();
    let mut kind = String::new();
    for field in csv::fields(text)? {
        let (key, value) =
            field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form KEY=VALUE"))?;
        match key.to_lowercase().as_str() {
            "id" => value.clone_into(&mut secret.id),
            "src" | "source" => value.clone_into(&mut secret.src),
            "env" => value.clone_into(&mut secret.env),
            "type" if ["file", "env"].contains(&value) => value.clone_into(&mut kind),
            _ => return Err(format!("`{field}` is not known; fields are id, type, src and env")),
        }
    }
    if kind == "env" && secret.env.is_empty() {
        secret.env = std::mem::take(&mut secret.src);
    }
    Ok(vec![secret])
}

/// Agents: `default`, `NAME=SOCKET`.
pub(crate) fn agents(text: &str) -> Vec<Ssh> {
    if text.is_empty() {
        return Vec::new();
    }
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let paths = paths.split(',').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    vec![Ssh { id: id.to_owned(), paths }]
}

fn pairs(text: &str) -> Result<Entry, String> {
    let mut entry = Entry::new();
    for field in csv::fields(text)? {
        let (key, value) =
            field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form KEY=VALUE"))?;
        entry.insert(key.trim().to_lowercase(), value.to_owned());
    }
    typed(entry)
}

fn typed(entry: Entry) -> Result<Entry, String> {
    if entry.get("type").is_some_and(|kind| !kind.is_empty()) {
        Ok(entry)
    } else {
        Err("it has no `type`".to_owned())
    }
}

/// An object of a bake file as an entry.
pub(crate) fn entry_of(value: &Value) -> Result<Entry, String> {
    typed(texts_of(value)?)
}

/// An object whose fields are texts; those that are null are left out.
pub(crate) fn texts_of(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let Value::Object(fields) = value else {
        return Err(format!("a string or an object is needed, and this is {}", value.kind()));
    };
    let some = fields.iter().filter(|(_, value)| **value != Value::Null);
    some.map(|(name, value)| {
        value.to_text().map(|text| (name.clone(), text)).map_err(|reason| format!("`{name}`: {reason}"))
    })
    .collect()
}

/// An object of a bake file as a secret.
pub(crate) fn secret_of(value: &Value) -> Result<Secret, String> {
    let mut secret = Secret::default();
    for (name, text) in texts_of(value)? {
        match name.as_str() {
            "id" => secret.id = text,
            "src" => secret.src = text,
            "env" => secret.env = text,
            other => return Err(format!("a secret has no field `{other}`")),
        }
    }
    Ok(secret)
}

/// An object of a bake file as agents.
pub(crate) fn ssh_of(value: &Value) -> Result<Ssh, String> {
    let mut ssh = Ssh::default();
    let Value::Object(fields) = value else {
        return Err(format!("a string or an object is needed, and this is {}", value.kind()));
    };
    for (name, value) in fields {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("id", value) => ssh.id = value.to_text()?,
            ("paths", Value::List(items)) => {
                ssh.paths = items.iter().map(Value::to_text).collect::<Result<_, _>>()?;
            }
            (other, _) => return Err(format!("`{other}` is not known here; fields are id and paths")),
        }
    }
    Ok(ssh)
}

/// An entry as an option of a build has it: the type first, where it goes, and the rest by name.
pub(crate) fn written(entry: &Entry) -> String {
    let rest = entry.keys().map(String::as_str).filter(|key| !["type", "dest"].contains(key));
    let field = |key: &str| entry.get(key).map(|value| csv::field(&format!("{key}={value}")));
    ["type", "dest"].into_iter().chain(rest).filter_map(field).collect::<Vec<_>>().join(",")
}

/// Each entry once, in the order that buildx leaves them in: the last takes the place of one that goes.
pub(crate) fn each_once<T: PartialEq>(entries: &mut Vec<T>) {
    for at in (0..entries.len().saturating_sub(1)).rev() {
        if let Some(twin) = (at + 1..entries.len()).find(|other| entries[*other] == entries[at]) {
            entries.swap_remove(twin);
        }
    }
}

/// Each text once, none of them empty.
pub(crate) fn texts_once(texts: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    texts.retain(|text| !text.is_empty() && seen.insert(text.clone()));
}

/// The last value of each name, at the place of the first.
pub(crate) fn last_of_each<T>(values: &mut Vec<T>, name: fn(&T) -> &str) {
    let mut kept: Vec<T> = Vec::new();
    for value in values.drain(..) {
        match kept.iter_mut().find(|other| name(other) == name(&value)) {
            Some(other) => *other = value,
            None => kept.push(value),
        }
    }
    *values = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_buildx_does() {
        assert_eq!(caches("a:1,b:2").unwrap().len(), 2);
        assert_eq!(written(&caches("type=local,src=/c").unwrap()[0]), "type=local,src=/c");
        assert_eq!(written(&outputs("out").unwrap()[0]), "type=local,dest=out");
        assert_eq!(written(&outputs("-").unwrap()[0]), "type=tar,dest=-");
        assert_eq!(
            written(&outputs(r#"type=image,"name=a,b",push=true"#).unwrap()[0]),
            r#"type=image,"name=a,b",push=true"#
        );
        assert_eq!(secrets("type=env,id=a,src=B").unwrap()[0].env, "B");
        assert_eq!(agents("key=/a,/b")[0].paths, ["/a", "/b"]);
        assert!(
            caches("ref=a").is_err() && outputs("dest=a,tar=false").is_err() && secrets("id=a,x=b").is_err()
        );
    }
}

//! `rbuild diff`: what differs between two images, in files and in configuration.

use std::collections::BTreeMap;

use layer_store::index::{Kind, path};
use layer_store::view::Located;
use layer_store::{ImageConfig, Store, View};
use serde::Serialize;
use serde_json::Value;

use super::{Context, engine, inside, ls, print};
use crate::args::look::DiffArgs;
use crate::failure::{Failure, Result};

/// Shows the differences. Contents are compared only where sizes are equal and the layers differ.
pub(super) async fn run(context: &Context, args: &DiffArgs) -> Result<()> {
    let old = inside::open(context, &args.old).await?;
    let new = inside::open(context, &args.new).await?;
    let times = args.times;
    let difference = engine::blocking(move || {
        Ok(Difference {
            files: files(&old.engine.store, &old.view, &new.view, times)?,
            config: config(&old.config, &new.config)?,
        })
    })
    .await?;
    if args.json {
        let json = serde_json::to_string_pretty(&difference).map_err(|error| Failure::of(&error))?;
        return print(&format!("{json}\n"));
    }
    print(&difference.text())
}

/// The fields of `--json`.
#[derive(Serialize)]
struct Difference {
    files: Vec<FileChange>,
    config: Vec<ConfigChange>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct FileChange {
    /// `added`, `deleted` or `changed`.
    change: &'static str,
    path: String,
    /// What is not the same: `type`, `mode`, `owner`, `content`, `target`, `attributes`, `time`.
    what: Vec<&'static str>,
    old_size: Option<u64>,
    new_size: Option<u64>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct ConfigChange {
    /// `Config.Env.PATH`, as in `rbuild inspect`.
    field: String,
    old: Option<Value>,
    new: Option<Value>,
}

impl Difference {
    fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let sign = match file.change {
                "added" => 'A',
                "deleted" => 'D',
                _ => 'C',
            };
            let what =
                if file.what.is_empty() { String::new() } else { format!("  ({})", file.what.join(", ")) };
            text += &format!("{sign} {}{what}\n", file.path);
        }
        let value =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
        for one in &self.config {
            text += &format!("{}: {} -> {}\n", one.field, value(&one.old), value(&one.new));
        }
        text
    }
}

fn files(store: &Store, old: &View, new: &View, times: bool) -> Result<Vec<FileChange>> {
    let by_path = |view: &View| -> BTreeMap<Vec<u8>, ()> {
        view.walk(b"").into_iter().map(|one| (one.entry.path.clone(), ())).collect()
    };
    let mut all = by_path(old);
    all.append(&mut by_path(new));
    let mut changes = Vec::new();
    for name in all.keys() {
        let there = |view: &'_ View| view.lookup(name).is_some();
        let change = |change, what| FileChange {
            change,
            path: format!("/{}", path::printable(name)),
            what,
            old_size: old.lookup(name).map(|one| ls::size(old, one)),
            new_size: new.lookup(name).map(|one| ls::size(new, one)),
        };
        match (old.lookup(name), new.lookup(name)) {
            (Some(before), Some(after)) => {
                let what = what_differs(store, (old, before), (new, after), times)?;
                if !what.is_empty() {
                    changes.push(change("changed", what));
                }
            }
            _ if there(new) => changes.push(change("added", Vec::new())),
            _ => changes.push(change("deleted", Vec::new())),
        }
    }
    Ok(changes)
}

fn what_differs(
    store: &Store,
    (old, before): (&View, Located<'_>),
    (new, after): (&View, Located<'_>),
    times: bool,
) -> Result<Vec<&'static str>> {
    // One entry of one layer is the same in both.
    if before.diff_id == after.diff_id {
        return Ok(Vec::new());
    }
    let (one, other) = (before.entry, after.entry);
    let mut what = Vec::new();
    if ls::kind(one) != ls::kind(other) {
        what.push("type");
    }
    if one.mode != other.mode {
        what.push("mode");
    }
    if (one.uid, one.gid) != (other.uid, other.gid) {
        what.push("owner");
    }
    if one.xattrs != other.xattrs {
        what.push("attributes");
    }
    if times && one.mtime != other.mtime {
        what.push("time");
    }
    match (&one.kind, &other.kind) {
        (Kind::Symlink { target }, Kind::Symlink { target: other }) if target != other => what.push("target"),
        (Kind::File { .. } | Kind::Hardlink { .. }, Kind::File { .. } | Kind::Hardlink { .. })
            if !same_content(store, old.content(before), new.content(after))? =>
        {
            what.push("content");
        }
        _ => {}
    }
    Ok(what)
}

fn same_content(store: &Store, old: Option<Located<'_>>, new: Option<Located<'_>>) -> Result<bool> {
    let (Some(old), Some(new)) = (old, new) else { return Ok(false) };
    let size = |one: Located<'_>| if let Kind::File { size, .. } = one.entry.kind { size } else { 0 };
    if (old.diff_id, &old.entry.path) == (new.diff_id, &new.entry.path) {
        return Ok(true);
    }
    if size(old) != size(new) {
        return Ok(false);
    }
    let digest = |one: Located<'_>| -> Result<layer_store::Digest> {
        let mut reader =
            layer_store::digest::HashingReader::new(store.open_file(&one.diff_id, &one.entry.path)?);
        std::io::copy(&mut reader, &mut std::io::sink())?;
        Ok(reader.finish().1)
    };
    Ok(digest(old)? == digest(new)?)
}

fn config(old: &ImageConfig, new: &ImageConfig) -> Result<Vec<ConfigChange>> {
    let fields = |config: &ImageConfig| -> Result<BTreeMap<String, Value>> {
        let mut value = serde_json::to_value(config).map_err(|error| Failure::of(&error))?;
        // How it was made is another question than what it is.
        if let Some(object) = value.as_object_mut() {
            for name in ["history", "rootfs", "created"] {
                object.remove(name);
            }
        }
        let mut fields = BTreeMap::new();
        flatten("", &value, &mut fields);
        Ok(fields)
    };
    let (old, new) = (fields(old)?, fields(new)?);
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| ConfigChange {
        field: name.clone(),
        old: old.get(name).cloned(),
        new: new.get(name).cloned(),
    };
    Ok(names.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(change).collect())
}

/// Leaves by path. Variables of the environment stand for themselves; other lists are one value.
fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                flatten(&below(name), value, fields);
            }
        }
        Value::Array(list) if path.ends_with("Env") => {
            for variable in list.iter().filter_map(Value::as_str) {
                let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                fields.insert(below(name), Value::from(value));
            }
        }
        value => {
            fields.insert(path.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_differ_by_field() {
        let read = |json: &str| ImageConfig::from_slice(json.as_bytes()).unwrap();
        let old = read(
            r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=1","B=2"],"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[]}}"#,
        );
        let new = read(
            r#"{"architecture":"amd64","os":"linux","config":{"Env":["B=3","A=1"],"User":"app"},"rootfs":{"type":"layers","diff_ids":[]}}"#,
        );
        let changes = config(&old, &new).unwrap();
        let text = Difference { files: Vec::new(), config: changes }.text();
        assert_eq!(
            text,
            "config.Cmd: [\"sh\"] -> (none)\nconfig.Env.B: \"2\" -> \"3\"\nconfig.User: (none) -> \"app\"\n"
        );
    }
}

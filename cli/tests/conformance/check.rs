//! Compares what was built with what a case expects, and fills in what it leaves open.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::case::Section;
use crate::entry::{Entry, Kind, escape};
use crate::image::Image;

/// What differs, one line each: `-` expected, `+` found.
pub(crate) type Differences = Vec<String>;

/// Compares one section; `None` where it says nothing of an image.
pub(crate) fn section(section: &Section, body: &str, image: &Image) -> Result<Differences, String> {
    let mut words = section.head.split(' ');
    let lines: Vec<&str> =
        body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("# ")).collect();
    match (words.next(), words.next()) {
        (Some("files"), None) => entries(&lines, &image.listing(), true),
        (Some("files"), Some("part")) => entries(&lines, &image.listing(), false),
        (Some("layer"), Some(number)) => {
            let layer = layer(image, number)?;
            let listing = layer.iter().map(|entry| (entry.path.clone(), entry.clone())).collect();
            entries(&lines, &listing, true)
        }
        (Some("config"), None) => config(&lines, image, true),
        (Some("config"), Some("part")) => config(&lines, image, false),
        (Some("history"), _) => Ok(history(&lines, image)),
        _ => Ok(Vec::new()),
    }
}

/// The body that the section would have to have.
pub(crate) fn fill(section: &Section, image: &Image) -> Result<String, String> {
    let mut words = section.head.split(' ');
    let print = |entries: &mut dyn Iterator<Item = &Entry>| {
        entries.map(|entry| format!("{entry}\n")).collect::<String>()
    };
    Ok(match (words.next(), words.next()) {
        (Some("files"), None) => print(&mut image.listing().values()),
        (Some("files"), _) => {
            let base = base_layers(image);
            let listing = image.listing();
            // The mount points of RUN, where the base had none, are no subject of most cases.
            let mount_point = |path: &str| ["/dev", "/proc", "/sys"].contains(&path);
            let fresh = |entry: &&Entry| image.files[&entry.path].layer >= base && !mount_point(&entry.path);
            print(&mut listing.values().filter(fresh))
        }
        (Some("layer"), Some(number)) => {
            let mut entries = layer(image, number)?.to_vec();
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            print(&mut entries.iter())
        }
        (Some("config"), _) => {
            actual_config(image).iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
        }
        (Some("history"), _) => actual_history(image).iter().map(|line| format!("{line}\n")).collect(),
        _ => return Err(format!("`{}` cannot be filled in", section.head)),
    })
}

fn layer<'a>(image: &'a Image, number: &str) -> Result<&'a [Entry], String> {
    let number: usize = number.parse().map_err(|_| "layers are counted from 1")?;
    let layer = number.checked_sub(1).and_then(|at| image.layers.get(at));
    layer.map(Vec::as_slice).ok_or_else(|| format!("there are {} layers", image.layers.len()))
}

/// Layers of base images, which the tests make by hand.
fn base_layers(image: &Image) -> usize {
    let history = image.config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    history.iter().filter(|step| step["created_by"] == "made by hand").count()
}

fn entries(lines: &[&str], actual: &BTreeMap<String, Entry>, exact: bool) -> Result<Differences, String> {
    let mut differences = Vec::new();
    let mut named = BTreeMap::new();
    for line in lines {
        let expected = Entry::parse(line)?;
        let found = actual.get(&expected.path);
        let same = match found {
            Some(found) => expected.allows(found),
            None => expected.kind == Kind::Gone,
        };
        if !same {
            differences.push(format!("- {line}"));
            let mtime = found.and_then(|found| found.mtime).filter(|_| expected.mtime.is_some());
            differences.extend(found.map(|found| match mtime {
                Some(mtime) => format!("+ {found} mtime={mtime}"),
                None => format!("+ {found}"),
            }));
        }
        named.insert(expected.path.clone(), ());
    }
    if exact {
        let more = actual.values().filter(|entry| !named.contains_key(&entry.path));
        differences.extend(more.map(|entry| format!("+ {entry}")));
    }
    Ok(differences)
}

/// The `config` object without what is empty, and below it, in lower case, what the image says of itself.
fn actual_config(image: &Image) -> BTreeMap<String, Value> {
    let empty = Map::new();
    let config = image.config["config"].as_object().unwrap_or(&empty);
    let said = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
        _ => true,
    };
    // ArgsEscaped matters to Windows alone.
    config
        .iter()
        .filter(|(key, value)| said(value) && *key != "ArgsEscaped")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn config(lines: &[&str], image: &Image, exact: bool) -> Result<Differences, String> {
    let mut differences = Vec::new();
    let mut actual = actual_config(image);
    for line in lines {
        let (key, value) =
            line.split_once(" = ").ok_or_else(|| format!("`KEY = JSON` is missing: {line}"))?;
        let expected: Value = serde_json::from_str(value).map_err(|error| format!("{error}: {line}"))?;
        let found = if key == "layers" {
            Value::from(image.layers.len())
        } else if key.starts_with(char::is_lowercase) {
            image.config[key].clone()
        } else {
            actual.remove(key).unwrap_or(Value::Null)
        };
        if found != expected {
            differences.push(format!("- {line}"));
            differences.push(format!("+ {key} = {found}"));
        }
    }
    if exact {
        differences.extend(actual.iter().map(|(key, value)| format!("+ {key} = {value}")));
    }
    Ok(differences)
}

fn actual_history(image: &Image) -> Vec<String> {
    let history = image.config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    history
        .iter()
        .map(|step| {
            let kind = if step["empty_layer"] == true { "empty" } else { "layer" };
            let text = escape(step["created_by"].as_str().unwrap_or_default().as_bytes());
            format!("{kind} {}", text.replace("\\\"", "\""))
        })
        .collect()
}

fn history(lines: &[&str], image: &Image) -> Differences {
    let actual = actual_history(image);
    let mut differences = Vec::new();
    for at in 0..lines.len().max(actual.len()) {
        let (expected, found) = (lines.get(at).copied(), actual.get(at).map(|line| line.trim()));
        if expected != found {
            differences.extend(expected.map(|line| format!("- {line}")));
            differences.extend(found.map(|line| format!("+ {line}")));
        }
    }
    differences
}

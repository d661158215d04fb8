//! `--list targets` and `--list variables`

use serde::Serialize;

use super::Read;
use super::fault::{Fault, Result};
use crate::table;

/// What there is, as a table or as JSON.
pub(crate) fn list(what: &str, read: &Read) -> Result<String> {
    let (mut kind, mut format) = (what.to_owned(), "table".to_owned());
    if what.contains('=') {
        kind.clear();
        for field in what.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => value.clone_into(&mut kind),
                Some(("format", value)) => value.clone_into(&mut format),
                _ => {
                    return Err(Fault::new(format!(
                        "`--list {what}`: `{field}` is neither `type=` nor `format=`"
                    )));
                }
            }
        }
    }
    match (kind.as_str(), format.as_str()) {
        ("targets", "table") => Ok(targets_table(read)),
        ("targets", "json") => Ok(json(&targets(read))),
        ("variables", "table") => Ok(variables_table(read)),
        ("variables", "json") => Ok(json(&read.variables)),
        ("targets" | "variables", other) => {
            Err(Fault::new(format!("`--list` has no format `{other}`")).help("formats are table and json"))
        }
        (other, _) => {
            Err(Fault::new(format!("`--list` lists no `{other}`")).help("it lists `targets` or `variables`"))
        }
    }
}

#[derive(Serialize)]
struct Listed {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    group: bool,
}

/// Targets and groups by name. Those whose name begins with `_` are for others to inherit.
fn targets(read: &Read) -> Vec<Listed> {
    let mut all: Vec<Listed> = Vec::new();
    for target in &read.config.targets {
        let description = target.description.clone().unwrap_or_default();
        all.push(Listed { name: target.name.clone(), description, group: false });
    }
    for group in &read.config.groups {
        let mut names = group.targets.clone();
        names.sort();
        let names = names.join(", ");
        let description = match &group.description {
            Some(text) if !names.is_empty() => format!("{text} ({names})"),
            Some(text) => text.clone(),
            None => names,
        };
        all.push(Listed { name: group.name.clone(), description, group: true });
    }
    all.retain(|one| !one.name.starts_with('_'));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn targets_table(read: &Read) -> String {
    let rows: Vec<[String; 2]> = targets(read).into_iter().map(|one| [one.name, one.description]).collect();
    table::columns(["TARGET", "DESCRIPTION"], &rows)
}

fn variables_table(read: &Read) -> String {
    let row = |one: &super::variable::Listed| {
        let value = one.value.clone().unwrap_or_else(|| "<null>".to_owned());
        [one.name.clone(), one.kind.clone(), value, one.description.clone()]
    };
    let rows: Vec<[String; 4]> = read.variables.iter().map(row).collect();
    table::columns(["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"], &rows)
}

fn json<T: Serialize>(value: &T) -> String {
    super::print::for_html(&serde_json::to_string_pretty(value).unwrap_or_default()) + "\n"
}

//! `rbuild build --call outline` and `--call targets`: what a Dockerfile offers, with BuildKit's fields.

use builder::dockerfile::Source;
use builder::outline::{Outline, OutlineMount, Target};
use serde_json::{Map, Value, json};

use super::{Context, build_failure, read};
use crate::args::build::BuildArgs;
use crate::args::call::Format;
use crate::failure::Result;
use crate::findings::{location, source_data};
use crate::table;

/// Lists the stages.
pub(super) async fn targets(context: &Context, args: &BuildArgs, format: Format) -> Result<String> {
    let request = read::request(context, args).await?;
    let source = &request.dockerfile;
    let targets =
        builder::outline::targets(&request).map_err(|error| build_failure::explain(&error, source))?;
    Ok(match format {
        Format::Json => {
            let list: Vec<Value> = targets.iter().map(|target| target_json(target, source)).collect();
            format!("{:#}\n", json!({"targets": list, "sources": [source_data(source)]}))
        }
        Format::Text | Format::Sarif => {
            let row = |target: &Target| {
                let name = match (&target.name, target.default) {
                    (Some(name), true) => format!("{name} (default)"),
                    (Some(name), false) => name.clone(),
                    (None, true) => "(default)".to_owned(),
                    (None, false) => String::new(),
                };
                [name, target.description.clone().unwrap_or_default()]
            };
            table::columns(["TARGET", "DESCRIPTION"], &targets.iter().map(row).collect::<Vec<_>>())
        }
    })
}

/// Lists what the target can be given.
pub(super) async fn outline(context: &Context, args: &BuildArgs, format: Format) -> Result<String> {
    let request = read::request(context, args).await?;
    let source = &request.dockerfile;
    let outline =
        builder::outline::outline(&request).map_err(|error| build_failure::explain(&error, source))?;
    Ok(match format {
        Format::Json => format!("{:#}\n", outline_json(&outline, source)),
        Format::Text | Format::Sarif => outline_text(&outline),
    })
}

/// An object without the fields that have nothing to say.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let said = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| said(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn target_json(target: &Target, source: &Source) -> Value {
    object([
        ("name", json!(target.name)),
        ("default", json!(target.default)),
        ("description", json!(target.description)),
        ("base", json!(target.base)),
        ("platform", json!(target.platform)),
        ("location", location(source, target.span)),
    ])
}

fn outline_json(outline: &Outline, source: &Source) -> Value {
    let args = outline.args.iter().map(|arg| {
        object([
            ("name", json!(arg.name)),
            ("description", json!(arg.description)),
            ("value", json!(arg.value)),
            ("location", location(source, arg.span)),
        ])
    });
    let mounts = |list: &[OutlineMount]| -> Vec<Value> {
        let one = |mount: &OutlineMount| {
            object([
                ("name", json!(mount.id)),
                ("required", json!(mount.required)),
                ("location", location(source, mount.span)),
            ])
        };
        list.iter().map(one).collect()
    };
    object([
        ("name", json!(outline.name)),
        ("description", json!(outline.description)),
        ("args", args.collect::<Vec<_>>().into()),
        ("secrets", mounts(&outline.secrets).into()),
        ("ssh", mounts(&outline.agents).into()),
        ("sources", json!([source_data(source)])),
    ])
}

fn outline_text(outline: &Outline) -> String {
    let mut parts = Vec::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.as_deref().unwrap_or("(default)");
        let mut text = format!("TARGET:      {name}\n");
        if let Some(description) = &outline.description {
            text.push_str(&format!("DESCRIPTION: {description}\n"));
        }
        parts.push(text);
    }
    if !outline.args.is_empty() {
        let row = |arg: &builder::outline::OutlineArg| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            [arg.name.clone(), text(&arg.value), text(&arg.description)]
        };
        let rows: Vec<_> = outline.args.iter().map(row).collect();
        parts.push(table::columns(["BUILD ARG", "VALUE", "DESCRIPTION"], &rows));
    }
    for (header, list) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        if !list.is_empty() {
            let required = |mount: &OutlineMount| if mount.required { "true" } else { "" }.to_owned();
            let rows: Vec<_> = list.iter().map(|mount| [mount.id.clone(), required(mount)]).collect();
            parts.push(table::columns([header, "REQUIRED"], &rows));
        }
    }
    parts.join("\n")
}

//! `rbuild inspect`

use layer_store::Store;
use serde_json::{Map, Value, json};

use super::{Context, print};
use crate::args::image::InspectArgs;
use crate::catalog::{self, Image};
use crate::failure::{Failure, Result};
use crate::template::Template;

/// Prints all that is known of images, as an array in Docker's field names. Those that are found are printed even where
/// another is not.
pub(super) fn run(context: &Context, args: &InspectArgs) -> Result<()> {
    let store = context.store()?;
    let mut values = Vec::new();
    let mut failure = None;
    for name in &args.images {
        match catalog::find(&store, name) {
            Ok(image) => values.push(describe(&image, &store)),
            Err(error) => failure = Some(error),
        }
    }
    match args.format.as_deref() {
        None | Some("json") => {
            let text = serde_json::to_string_pretty(&values).map_err(|error| Failure::of(&error))?;
            print(&format!("{text}\n"))?;
        }
        Some(format) => {
            let template = Template::parse(format)?;
            for value in &values {
                print(&format!("{}\n", template.fill(value)?))?;
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

fn describe(image: &Image, store: &Store) -> Value {
    let config = &image.config;
    let mut value = json!({
        "Id": image.id,
        "RepoTags": image.names(),
        "RepoDigests": image.repository_digests(),
        "Parent": "",
        "Comment": config.history.last().and_then(|last| last.comment.clone()).unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_default(),
        "DockerVersion": "",
        "Author": config.author.clone().unwrap_or_default(),
        "Config": container(image),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size(store),
        "RootFS": {"Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": image.records.iter().map(|record| record.tagged.as_str()).max()},
    });
    if let Some(variant) = &config.variant {
        value["Variant"] = json!(variant);
    }
    if let Some(version) = &config.os_version {
        value["OsVersion"] = json!(version);
    }
    // As Docker has it: what the name stands for, which of several platforms is their index.
    let index = image.records.iter().find_map(|record| record.index.as_ref());
    if let Some(top) = index.or(image.platform.manifest.as_ref()) {
        value["Descriptor"] = json!(top);
    }
    value
}

/// The `Config` object with the fields that scripts ask for always there.
fn container(image: &Image) -> Value {
    let mut fields = Map::new();
    for name in ["Env", "Cmd", "Entrypoint", "Volumes", "ExposedPorts", "Labels", "OnBuild"] {
        fields.insert(name.to_owned(), Value::Null);
    }
    for name in ["User", "WorkingDir"] {
        fields.insert(name.to_owned(), json!(""));
    }
    if let Ok(Value::Object(known)) = serde_json::to_value(&image.config.config) {
        fields.extend(known);
    }
    Value::Object(fields)
}

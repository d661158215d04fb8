//! `--iidfile` and `--metadata-file`: what a build made, for scripts.

use std::path::Path;

use builder::Built;
use registry_client::Reference;
use serde_json::{Map, Value, json};

use crate::args::build::BuildArgs;
use crate::failure::{Failure, Result};

/// Writes the files that were asked for. `build` is the name of the build's log, where it has one.
pub(super) fn write(args: &BuildArgs, built: &Built, build: Option<&str>) -> Result<()> {
    if let Some(path) = &args.iidfile {
        write_file(path, &built.id.to_string())?;
    }
    if let Some(path) = &args.metadata_file {
        let text =
            serde_json::to_string_pretty(&metadata(built, build)).map_err(|error| Failure::of(&error))?;
        write_file(path, &format!("{text}\n"))?;
    }
    Ok(())
}

/// What the build made, in buildx's field names.
pub(super) fn metadata(built: &Built, build: Option<&str>) -> Value {
    let mut fields = Map::new();
    for (platform, provenance) in &built.provenance {
        // One stands alone, several under their platforms, as in buildx.
        let name = match built.provenance.len() {
            1 => "buildx.build.provenance".to_owned(),
            _ => format!("buildx.build.provenance/{platform}"),
        };
        fields.insert(name, provenance.clone());
    }
    if let Some(build) = build {
        // Builder, node and build there; there is one builder here.
        fields.insert("buildx.build.ref".to_owned(), json!(format!("rbuild/rbuild0/{build}")));
    }
    if let Some(manifest) = &built.manifest {
        let mut descriptor = manifest.clone();
        if let [image] = built.images.as_slice()
            && image.id == built.id
        {
            descriptor.platform = Some(image.config.platform());
        }
        fields.insert("containerimage.digest".to_owned(), json!(manifest.digest));
        fields.insert("containerimage.descriptor".to_owned(), json!(descriptor));
    }
    // An index has no configuration of its own.
    if let [image] = built.images.as_slice() {
        fields.insert("containerimage.config.digest".to_owned(), json!(image.id));
    }
    let names: Vec<String> = built.names.iter().map(|name| canonical(name)).collect();
    fields.insert("image.name".to_owned(), json!(names.join(",")));
    Value::Object(fields)
}

fn canonical(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.canonical())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| {
        Failure::new(format!("the image is built, but `{}` cannot be written: {error}", path.display()))
    })
}

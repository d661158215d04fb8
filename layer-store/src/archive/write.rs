//! Writes what `docker load` reads.

use std::io::Write;

use super::Item;
use crate::layout::write::{blob_name, write_plan};
use crate::layout::{ExportImage, Plan};
use crate::manifest::ManifestContent;
use crate::{Descriptor, Error, Manifest, Platform, Result, Store};

/// Writes `images` as one archive. `manifest.json` can name one platform only: of an image for several, the one that
/// this machine runs, or else the first; the OCI part of the archive has them all.
///
/// # Errors
///
/// As [`crate::layout::write_tar`].
pub fn write(store: &Store, images: &[ExportImage], output: &mut dyn Write) -> Result<()> {
    let plan = Plan::new(store, images)?;
    let items = images.iter().map(|image| item(store, image)).collect::<Result<Vec<_>>>()?;
    // Strings only, which serde_json cannot refuse.
    let bytes = serde_json::to_vec(&items).unwrap_or_default();
    write_plan(store, &plan, &[("manifest.json", &bytes)], output)
}

fn item(store: &Store, image: &ExportImage) -> Result<Item> {
    let (config, layers) = match &image.manifest.content {
        ManifestContent::Image { config, layers, .. } => (config.clone(), layers.clone()),
        ManifestContent::Index { manifests, .. } => of_index(store, &image.manifest, manifests)?,
    };
    Ok(Item {
        config: blob_name(&config),
        repo_tags: Some(image.names.iter().map(|name| familiar(name).to_owned()).collect()),
        layers: Some(layers.iter().map(blob_name).collect()),
    })
}

fn of_index(store: &Store, index: &Manifest, list: &[Descriptor]) -> Result<(Descriptor, Vec<Descriptor>)> {
    let host = Platform::host();
    let distance = |one: &Descriptor| {
        one.platform.as_ref().and_then(|platform| platform.distance(&host)).unwrap_or(usize::MAX)
    };
    let nearest = list.iter().min_by_key(|one| distance(one)).map(|one| store.manifest(one)).transpose()?;
    match nearest.map(|manifest| manifest.content) {
        Some(ManifestContent::Image { config, layers, .. }) => Ok((config, layers)),
        _ => {
            let reason = format!("{} names no image that an archive could hold", index.digest());
            Err(Error::Malformed { what: "image index", reason })
        }
    }
}

/// The name as people write it, which is what Docker puts into its archives.
fn familiar(name: &str) -> &str {
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    short.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(short)
}

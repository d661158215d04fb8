//! A layout as a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::read::read_index;
use super::write::blob_name;
use super::{ExportImage, Plan, copy_verified};
use crate::error::IoContext as _;
use crate::manifest::{ManifestContent, annotation};
use crate::store::root_layout::LAYOUT_FILE;
use crate::{Descriptor, Manifest, Result, Store};

/// Writes `images` as an OCI layout at `path`. A layout that is there already keeps its other images; one that has
/// the name of a new one loses it. Every file is renamed into place and `index.json` comes last, so that a reader sees
/// the layout before or after.
///
/// # Errors
///
/// As [`super::write_tar`]; also when `path` holds something that is not an OCI layout of version 1.0.0.
pub fn write_directory(store: &Store, images: &[ExportImage], path: &Path) -> Result<()> {
    let plan = Plan::new(store, images)?;
    let index = merge(path, &plan.index)?;
    let blobs = path.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).context("create", &blobs)?;
    for blob in &plan.blobs {
        let target = path.join(blob_name(blob));
        // By size alone: whoever reads a layout verifies what it takes.
        if std::fs::metadata(&target).is_ok_and(|found| found.is_file() && found.len() == blob.size) {
            continue;
        }
        replace(&target, |file| copy_verified(store, blob, file))?;
    }
    put(&path.join("oci-layout"), LAYOUT_FILE)?;
    put(&path.join("index.json"), &index.raw)
}

/// Makes an empty layout at `path`, unless one is there.
///
/// # Errors
///
/// `path` holds something that is not an OCI layout of version 1.0.0.
pub fn create_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path.join("blobs/sha256")).context("create", path)?;
    if read_index(path)?.is_none() {
        put(&path.join("index.json"), &Manifest::index(Vec::new(), BTreeMap::new()).raw)?;
        put(&path.join("oci-layout"), LAYOUT_FILE)?;
    }
    Ok(())
}

pub(super) fn put(target: &Path, bytes: &[u8]) -> Result<()> {
    replace(target, |file| io::Write::write_all(file, bytes).context("write", target))
}

/// The new index with what the layout has already.
pub(super) fn merge(path: &Path, new: &Manifest) -> Result<Manifest> {
    let old = read_index(path)?;
    let ManifestContent::Index { manifests: added, .. } = &new.content else { return Ok(new.clone()) };
    let Some(Manifest { content: ManifestContent::Index { manifests: mut list, annotations }, .. }) = old
    else {
        return Ok(new.clone());
    };
    let name = |one: &Descriptor| one.annotations.get(annotation::REF_NAME).cloned();
    list.retain(|old| {
        !added.iter().any(|new| name(new) == name(old) && (name(new).is_some() || new.digest == old.digest))
    });
    list.extend(added.iter().cloned());
    Ok(Manifest::index(list, annotations))
}

/// Writes a file beside `target` and renames it there.
fn replace(target: &Path, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let beside = target.with_extension(format!("partial-{}", std::process::id()));
    let written = File::create(&beside)
        .context("create", &beside)
        .and_then(|mut file| fill(&mut file))
        .and_then(|()| std::fs::rename(&beside, target).context("rename", target));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

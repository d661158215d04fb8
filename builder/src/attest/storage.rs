//! How attestations stand beside images: as manifests in the index, or as artifacts that refer to an image.

use std::collections::BTreeMap;

use layer_store::manifest::{ManifestContent, media_type};
use layer_store::{Descriptor, Digest, Manifest, Platform, Store};
use registry_client::{Artifact, Reference};
use serde_json::json;

use super::Storage;
use super::statement::{IN_TOTO, PREDICATE_TYPE, Statements};
use crate::error::{Error, Result};
use crate::output::Packed;

/// What BuildKit calls an attestation that is an artifact.
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// What a manifest of an index is, beside an image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The manifest that one of an index is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// An artifact, and the manifest that it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    /// The manifest.
    pub(crate) subject: Descriptor,
    /// The artifact. Its files are in the store.
    pub(crate) artifact: Artifact,
}

/// Puts what is said of each image beside it. `statements` has one entry for each image of `packed`, in order, with the
/// platform that the image says it is for.
pub(crate) fn attached(
    store: &Store,
    packed: Packed,
    statements: &[(Platform, Statements)],
    names: &[Reference],
    storage: Storage,
) -> Result<Packed> {
    let (images, annotations) = match &packed.manifest.content {
        ManifestContent::Index { manifests, annotations } => (manifests.clone(), annotations.clone()),
        ManifestContent::Image { .. } => (vec![packed.manifest.descriptor()], BTreeMap::new()),
    };
    let mut listed = Vec::new();
    let mut made = Vec::new();
    let mut attached = Vec::new();
    for (mut image, (platform, statements)) in images.into_iter().zip(statements) {
        let files = statements.keep(store, &image.digest, names, platform)?;
        image.platform.get_or_insert_with(|| platform.clone());
        match storage {
            Storage::Referrers => {
                let subject = image.clone();
                attached.extend(files.into_iter().map(|file| Attached {
                    subject: subject.clone(),
                    artifact: Artifact {
                        artifact_type: IN_TOTO.to_owned(),
                        annotations: kind_of(&file),
                        files: vec![file],
                    },
                }));
            }
            Storage::Index => made.push((image.digest, as_image(store, files)?)),
            Storage::Artifact => {
                let artifact =
                    Artifact { artifact_type: ARTIFACT.to_owned(), files, annotations: BTreeMap::new() };
                made.push((image.digest, manifest_of(store, &artifact, &image)?));
            }
        }
        listed.push(image);
    }
    if storage == Storage::Referrers {
        for one in &attached {
            one.manifest(store)?;
        }
        return Ok(Packed { attached, ..packed });
    }
    let mut children = packed.children;
    if children.is_empty() {
        store.put_blob(&packed.manifest.raw)?;
        children.push(packed.manifest);
    }
    for (about, manifest) in made {
        store.put_blob(&manifest.raw)?;
        let mut entry = manifest.descriptor();
        entry.platform = Some(Platform {
            os: "unknown".to_owned(),
            architecture: "unknown".to_owned(),
            variant: None,
            os_version: None,
        });
        entry.annotations = BTreeMap::from([
            (REFERENCE_DIGEST.to_owned(), about.to_string()),
            (REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned()),
        ]);
        entry.artifact_type = (storage == Storage::Artifact).then(|| ARTIFACT.to_owned());
        listed.push(entry);
        children.push(manifest);
    }
    Ok(Packed { children, manifest: Manifest::index(listed, annotations), origins: packed.origins, attached })
}

impl Attached {
    /// The manifest of the artifact, which is put into the store with its configuration.
    pub(crate) fn manifest(&self, store: &Store) -> Result<Manifest> {
        manifest_of(store, &self.artifact, &self.subject)
    }
}

fn manifest_of(store: &Store, artifact: &Artifact, subject: &Descriptor) -> Result<Manifest> {
    store.put_blob(registry_client::EMPTY)?;
    let manifest = artifact.manifest(subject).map_err(|error| Error::Internal(error.to_string()))?;
    store.put_blob(&manifest.raw)?;
    Ok(manifest)
}

/// A manifest in the shape of an image that runs nowhere: registries that know no artifacts take it.
fn as_image(store: &Store, files: Vec<Descriptor>) -> Result<Manifest> {
    let digests: Vec<Digest> = files.iter().map(|file| file.digest).collect();
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    let bytes = config.to_string().into_bytes();
    let config = Descriptor::new(media_type::OCI_CONFIG, store.put_blob(&bytes)?, bytes.len() as u64);
    Ok(Manifest::image(config, files, BTreeMap::new()))
}

/// What a list of referrers says of a statement.
fn kind_of(file: &Descriptor) -> BTreeMap<String, String> {
    file.annotations
        .iter()
        .filter(|(key, _)| *key == PREDICATE_TYPE)
        .map(|(key, kind)| (key.clone(), kind.clone()))
        .collect()
}

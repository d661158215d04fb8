//! Changes to finished images, without building: the configuration, the layers, the base.
//!
//! Every change works on a whole [`Tree`]: an index is changed for each of its platforms and stays an index. Layers that
//! stay are neither fetched nor sent; only their descriptors move into the new manifest.

mod append;
mod config;
mod flatten;
mod index;
mod rebase;

use std::collections::BTreeMap;

use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent, media_type};
use layer_store::{Descriptor, Digest, ImageConfig, Manifest};
use registry_client::{Repository, Supply, Tree};

pub use append::NewLayer;
pub use config::{ConfigEdit, split_words};
pub use index::Entries;
pub use rebase::Base;

use crate::Engine;
use crate::error::{Error, Result};
use crate::exchange::is_image;

/// One image on its way from what it was to what it will be.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What it was.
    pub manifest: Manifest,
    /// Its configuration; the layers in it follow `layers`.
    pub config: ImageConfig,
    /// Its layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// The configuration as it was, to tell whether it has changed.
    was: ImageConfig,
}

/// A tree with its images changed.
#[derive(Debug, Clone)]
pub struct Reworked {
    /// The new manifests. Configurations and new layers are in the store.
    pub tree: Tree,
    /// How many attestations were left out: they are about images that are no more.
    pub left_out: usize,
}

impl Engine {
    /// Changes each image of `tree`. Manifests that are no images (artifacts) stay as they are, and attestations about
    /// changed images are left out.
    pub async fn rework(
        &self,
        tree: &Tree,
        supply: &Supply,
        change: impl AsyncFn(&Self, &mut Draft) -> Result<()>,
        on_index: impl Fn(&mut BTreeMap<String, String>),
    ) -> Result<Reworked> {
        let mut renamed: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        let mut manifests = Vec::new();
        let mut left_out = 0;
        for manifest in tree.manifests() {
            let new = match &manifest.content {
                ManifestContent::Index { manifests: entries, annotations } => {
                    let mut annotations = annotations.clone();
                    on_index(&mut annotations);
                    let (entries, gone) = follow(entries, &renamed);
                    left_out += gone;
                    if manifest.content
                        == (ManifestContent::Index {
                            manifests: entries.clone(),
                            annotations: annotations.clone(),
                        })
                    {
                        manifest.clone()
                    } else {
                        manifest.with_entries(&entries, &annotations)?
                    }
                }
                ManifestContent::Image { .. } if is_image(manifest) => {
                    let mut draft = self.draft(manifest, supply).await?;
                    change(self, &mut draft).await?;
                    self.finish_draft(draft)?
                }
                ManifestContent::Image { .. } => manifest.clone(),
            };
            renamed.insert(manifest.digest(), new.descriptor());
            manifests.push(new);
        }
        let top = manifests.pop().ok_or_else(|| Error::Internal("an image without manifests".to_owned()))?;
        let kept = reachable(&manifests, &top);
        manifests.retain(|manifest| kept.contains(&manifest.digest()));
        Ok(Reworked { tree: Tree::of(manifests, top), left_out })
    }

    /// An image as it is.
    pub(crate) async fn draft(&self, manifest: &Manifest, supply: &Supply) -> Result<Draft> {
        let ManifestContent::Image { config, layers, annotations } = &manifest.content else {
            return Err(Error::invalid("an index is no image"));
        };
        let bytes = self.client.small_blob(supply, config, DOCUMENT_LIMIT).await?;
        let config = ImageConfig::from_slice(&bytes).map_err(|error| Error::BadImage {
            name: manifest.digest().short(),
            reason: format!("its configuration cannot be read: {error}"),
        })?;
        if config.rootfs.diff_ids.len() != layers.len() {
            return Err(Error::BadImage {
                name: manifest.digest().short(),
                reason: "its configuration has another number of layers".to_owned(),
            });
        }
        let (layers, annotations) = (layers.clone(), annotations.clone());
        Ok(Draft { manifest: manifest.clone(), was: config.clone(), config, layers, annotations })
    }

    /// The manifest of a draft. An image that was not changed keeps its bytes.
    fn finish_draft(&self, draft: Draft) -> Result<Manifest> {
        let ManifestContent::Image { config: old, layers, annotations } = &draft.manifest.content else {
            return Err(Error::invalid("an index is no image"));
        };
        if draft.config == draft.was && draft.layers == *layers && draft.annotations == *annotations {
            return Ok(draft.manifest);
        }
        let is_docker = draft.manifest.media_type == media_type::DOCKER_MANIFEST;
        let bytes = draft.config.to_bytes();
        let digest = self.store.put_blob(&bytes)?;
        let config = Descriptor { digest, size: bytes.len() as u64, ..old.clone() };
        let mut layers = draft.layers;
        for layer in &mut layers {
            // A manifest keeps to one family of types; the bytes are the same.
            let kind = &layer.media_type;
            let kind = if is_docker { media_type::docker(kind) } else { media_type::oci(kind) };
            layer.media_type = kind.to_owned();
        }
        Ok(draft.manifest.with_parts(&config, &layers, &draft.annotations)?)
    }

    /// Where the parts of a changed image are: in the store what is new, else where they were.
    #[must_use]
    pub fn with_store(&self, supply: &Supply) -> Supply {
        let mut supply = supply.clone();
        supply.repositories.insert(0, Repository::Local(self.store.clone()));
        supply
    }
}

/// Entries of an index with their new digests, and how many attestations fell away.
fn follow(entries: &[Descriptor], renamed: &BTreeMap<Digest, Descriptor>) -> (Vec<Descriptor>, usize) {
    const ABOUT: &str = "vnd.docker.reference.digest";
    let changed = |digest: &Digest| renamed.get(digest).is_some_and(|new| new.digest != *digest);
    let is_stale = |entry: &Descriptor| {
        let about = entry.annotations.get(ABOUT).and_then(|text| text.parse().ok());
        about.is_some_and(|about: Digest| changed(&about))
    };
    let kept: Vec<Descriptor> = entries
        .iter()
        .filter(|entry| !is_stale(entry))
        .map(|entry| match renamed.get(&entry.digest) {
            Some(new) => Descriptor { digest: new.digest, size: new.size, ..entry.clone() },
            None => entry.clone(),
        })
        .collect();
    let gone = entries.len() - kept.len();
    (kept, gone)
}

/// The digests of all manifests that `top` leads to.
fn reachable(children: &[Manifest], top: &Manifest) -> std::collections::BTreeSet<Digest> {
    let mut found = std::collections::BTreeSet::new();
    let mut open = vec![top];
    while let Some(manifest) = open.pop() {
        let ManifestContent::Index { manifests, .. } = &manifest.content else { continue };
        for entry in manifests {
            if found.insert(entry.digest) {
                open.extend(children.iter().filter(|child| child.digest() == entry.digest));
            }
        }
    }
    found
}

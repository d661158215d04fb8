//! Indexes made of images, and indexes with entries more or less.

use std::collections::BTreeMap;

use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent};
use layer_store::{Descriptor, ImageConfig, Manifest, Platform};
use registry_client::{Platforms, Supply, Tree};

use crate::Engine;
use crate::error::{Error, Result};
use crate::exchange::{Opened, is_image};

/// Entries of an index that is being made, and the manifests that they name.
#[derive(Default)]
pub struct Entries {
    descriptors: Vec<Descriptor>,
    manifests: Vec<Manifest>,
    /// Where everything is.
    pub supply: Supply,
}

impl Engine {
    /// Adds an image, or every entry of an index. An entry of a platform that is there already takes its place.
    pub async fn add_entries(
        &self,
        entries: &mut Entries,
        opened: &Opened,
        platforms: &Platforms,
    ) -> Result<()> {
        let repositories = &opened.supply.repositories;
        for image in &opened.images {
            let tree = self.client.tree(repositories, image.top.clone(), platforms).await?;
            let new = match &tree.top().content {
                ManifestContent::Index { manifests, .. } => manifests.clone(),
                ManifestContent::Image { .. } => vec![self.entry(tree.top(), &opened.supply).await?],
            };
            for descriptor in new {
                entries.put(descriptor);
            }
            let is_index = matches!(tree.top().content, ManifestContent::Index { .. });
            let count = tree.manifests().len() - usize::from(is_index);
            entries.manifests.extend_from_slice(&tree.manifests()[..count]);
        }
        entries.supply.repositories.extend(repositories.iter().cloned());
        let origins = opened.supply.origins.iter().map(|(digest, origin)| (*digest, origin.clone()));
        entries.supply.origins.extend(origins);
        Ok(())
    }

    /// What an index says of an image: its descriptor with its platform.
    async fn entry(&self, manifest: &Manifest, supply: &Supply) -> Result<Descriptor> {
        let mut descriptor = manifest.descriptor();
        let ManifestContent::Image { config, annotations, .. } = &manifest.content else {
            return Ok(descriptor);
        };
        if is_image(manifest) {
            let bytes = self.client.small_blob(supply, config, DOCUMENT_LIMIT).await?;
            let config = ImageConfig::from_slice(&bytes).ok();
            descriptor.platform =
                config.filter(|config| !config.architecture.is_empty()).map(|config| config.platform());
        } else {
            descriptor.annotations.clone_from(annotations);
        }
        Ok(descriptor)
    }
}

impl Entries {
    fn put(&mut self, descriptor: Descriptor) {
        let is_same = |one: &Descriptor| {
            one.digest == descriptor.digest
                || (one.platform.is_some()
                    && one.platform == descriptor.platform
                    && one.platform.as_ref().is_some_and(|platform| platform.os != "unknown"))
        };
        match self.descriptors.iter_mut().find(|one| is_same(one)) {
            Some(old) => *old = descriptor,
            None => self.descriptors.push(descriptor),
        }
    }

    /// Takes out entries by digest or platform, and attestations about them.
    ///
    /// # Errors
    ///
    /// Nothing is left, or something that was named is not there.
    pub fn remove(&mut self, what: &[String]) -> Result<()> {
        for text in what {
            let platform = text.parse::<Platform>().ok().filter(|_| text.contains('/'));
            let is_meant = |one: &Descriptor| {
                one.digest.to_string() == *text
                    || (platform.is_some()
                        && one.platform.as_ref().zip(platform.as_ref()).is_some_and(|(its, wanted)| {
                            (&its.os, &its.architecture, &its.variant)
                                == (&wanted.os, &wanted.architecture, &wanted.variant)
                        }))
            };
            let gone: Vec<String> = self
                .descriptors
                .iter()
                .filter(|one| is_meant(one))
                .map(|one| one.digest.to_string())
                .collect();
            if gone.is_empty() {
                let there = self.descriptors.iter().map(|one| match &one.platform {
                    Some(platform) => platform.to_string(),
                    None => one.digest.to_string(),
                });
                return Err(Error::invalid_but(
                    format!("the index has no entry `{text}`"),
                    format!("it has {}", there.collect::<Vec<_>>().join(", ")),
                ));
            }
            let about = |one: &Descriptor| one.annotations.get("vnd.docker.reference.digest").cloned();
            self.descriptors
                .retain(|one| !is_meant(one) && about(one).is_none_or(|digest| !gone.contains(&digest)));
        }
        if self.descriptors.is_empty() {
            return Err(Error::invalid_but(
                "nothing would be left of the index",
                "`rbuild delete` removes it",
            ));
        }
        Ok(())
    }

    /// The index: `old` with these entries, or a new one. Entries come in the order in which they were added.
    pub fn finish(&self, old: Option<&Manifest>, annotations: &BTreeMap<String, String>) -> Result<Tree> {
        let top = match old {
            Some(old) => {
                let mut all = match &old.content {
                    ManifestContent::Index { annotations, .. } => annotations.clone(),
                    ManifestContent::Image { .. } => BTreeMap::new(),
                };
                all.extend(annotations.clone());
                match old.content {
                    ManifestContent::Index { .. } => old.with_entries(&self.descriptors, &all)?,
                    ManifestContent::Image { .. } => Manifest::index(self.descriptors.clone(), all),
                }
            }
            None => Manifest::index(self.descriptors.clone(), annotations.clone()),
        };
        let mut children: Vec<Manifest> = Vec::new();
        let kept = super::reachable(&self.manifests, &top);
        for manifest in &self.manifests {
            let digest = manifest.digest();
            if kept.contains(&digest) && !children.iter().any(|one| one.digest() == digest) {
                children.push(manifest.clone());
            }
        }
        Ok(Tree::of(children, top))
    }
}

//! What an image shows: its layers merged.

use std::sync::Arc;

use layer_store::manifest::ManifestContent;
use layer_store::{ImageConfig, Manifest, View};
use registry_client::{Repository, Supply, Tree};

use crate::Engine;
use crate::error::{Error, Result};
use crate::resolve::Resolved;
use crate::stored::take_in;
use crate::task;

impl Engine {
    /// The files of an image, merged. Its layers are fetched into the store, where they are not there, and indexed; none
    /// is extracted.
    pub async fn image_view(&self, manifest: &Manifest, supply: &Supply) -> Result<(ImageConfig, View)> {
        let tree = Tree::of(Vec::new(), manifest.clone());
        self.client.copy(&tree, supply, &Repository::Local(self.store.clone()), &self.store).await?;
        let (store, manifest) = (Arc::clone(&self.store), manifest.clone());
        task::blocking(move || {
            if matches!(manifest.content, ManifestContent::Index { .. }) {
                return Err(Error::invalid(
                    "an index has no files; choose one of its images with --platform",
                ));
            }
            let Resolved { config, .. } = take_in(&store, &manifest.digest().short(), &manifest)?;
            let view = store.view(&config.rootfs.diff_ids)?;
            Ok((config, view))
        })
        .await
    }
}

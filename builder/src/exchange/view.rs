//! What an image shows: its layers merged.

use std::sync::Arc;

use layer_store::layer::Form;
use layer_store::manifest::ManifestContent;
use layer_store::{ImageConfig, Manifest, View};
use registry_client::{Repository, Supply, Tree};

use crate::Engine;
use crate::error::{Error, Result};
use crate::solve::Solver;

const LARGEST_CONFIG: u64 = 16 << 20;

impl Engine {
    /// The files of an image, merged. Its layers are fetched into the store, where they are not there, and indexed; none
    /// is extracted.
    pub async fn image_view(&self, manifest: &Manifest, supply: &Supply) -> Result<(ImageConfig, View)> {
        let tree = Tree::of(Vec::new(), manifest.clone());
        self.client.copy(&tree, supply, &Repository::Local(self.store.clone()), &self.store).await?;
        let (store, manifest) = (Arc::clone(&self.store), manifest.clone());
        Solver::blocking(move || {
            let ManifestContent::Image { config, layers, .. } = &manifest.content else {
                return Err(Error::invalid(
                    "an index has no files; choose one of its images with --platform",
                ));
            };
            let config = ImageConfig::from_slice(&store.read_blob(&config.digest, LARGEST_CONFIG)?);
            let config = config.map_err(|error| malformed(&manifest, &error.to_string()))?;
            let diff_ids = &config.rootfs.diff_ids;
            if diff_ids.len() != layers.len() {
                return Err(malformed(&manifest, "its configuration has another number of layers"));
            }
            for (layer, diff_id) in layers.iter().zip(diff_ids) {
                store.apply(&mut store.open_blob(&layer.digest)?, diff_id, Form::Index)?;
                store.remember_blob(diff_id, layer)?;
            }
            let view = store.view(diff_ids)?;
            Ok((config, view))
        })
        .await
    }
}

fn malformed(manifest: &Manifest, reason: &str) -> Error {
    Error::BadImage { name: manifest.digest().short(), reason: reason.to_owned() }
}

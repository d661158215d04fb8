//! Whole images into a store.

use std::sync::Arc;

use futures_util::future::try_join_all;
use layer_store::manifest::ManifestContent;
use layer_store::{Descriptor, Platform, Store};

use crate::client::{Client, Resolved};
use crate::error::Error;
use crate::known;
use crate::reference::Reference;

impl Client {
    /// Manifest, index, configuration and all layer blobs of the image of `platform` into the store. What is there is
    /// not asked for again; blobs come several at a time. Idempotent; a part that is cut off stays and is gone on from.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        store: &Arc<Store>,
    ) -> Result<Resolved, Error> {
        let resolved = self.pull_manifest(reference, platform, store).await?;
        let ManifestContent::Image { layers, .. } = &resolved.manifest.content else { return Ok(resolved) };
        let mut blobs: Vec<&Descriptor> = Vec::new();
        for layer in layers {
            // One layer may stand twice in an image.
            if !blobs.iter().any(|other| other.digest == layer.digest) {
                blobs.push(layer);
            }
        }
        try_join_all(blobs.iter().map(|layer| self.fetch(&resolved.reference, layer, store, |_| {}))).await?;
        Ok(resolved)
    }

    /// As [`Client::pull`] without the layers: index, manifest and configuration are stored, and it is remembered where
    /// the layers can be had.
    pub async fn pull_manifest(
        &self,
        reference: &Reference,
        platform: &Platform,
        store: &Arc<Store>,
    ) -> Result<Resolved, Error> {
        let resolved = self.resolve_with(reference, platform, Some(store)).await?;
        if let ManifestContent::Image { config, layers, .. } = &resolved.manifest.content {
            let blobs = layers.iter().chain([config]).map(|one| one.digest).collect();
            known::remember(store, &resolved.reference, blobs).await?;
        }
        Ok(resolved)
    }
}

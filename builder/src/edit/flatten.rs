//! All layers of an image as one.

use std::sync::Arc;

use layer_store::config::History;
use layer_store::layer::Form;
use registry_client::Supply;

use super::Draft;
use crate::Engine;
use crate::error::Result;
use crate::output::{Output, Packing, flat, write_filesystems};
use crate::task;

impl Engine {
    /// Makes one layer of all: what was removed on the way is gone. Layers are fetched and read, and nothing is extracted.
    pub async fn flatten(&self, draft: &mut Draft, supply: &Supply, packing: Packing) -> Result<()> {
        let (_, view) = self.image_view(&draft.manifest, supply).await?;
        let store = Arc::clone(&self.store);
        let (diff_id, blob) = task::blocking(move || {
            let diff_id = store.write_layer(flat::entries(&view, b"", None), Form::Tar)?;
            let blob = store.layer_blob(&diff_id, packing.compression, false)?;
            Ok((diff_id, blob))
        })
        .await?;
        draft.config.rootfs.diff_ids = vec![diff_id];
        draft.config.history = vec![History {
            created: draft.config.created.clone(),
            created_by: Some(format!("rbuild flatten {}", draft.manifest.digest())),
            ..History::default()
        }];
        draft.layers = vec![blob];
        Ok(())
    }

    /// Writes the files of an image as a tar or into a directory.
    pub async fn export_files(
        &self,
        manifest: &layer_store::Manifest,
        supply: &Supply,
        output: &Output,
    ) -> Result<()> {
        let (config, view) = self.image_view(manifest, supply).await?;
        let (store, output) = (Arc::clone(&self.store), output.clone());
        task::blocking(move || write_filesystems(&store, &[(config.platform(), view)], &output, None)).await
    }
}

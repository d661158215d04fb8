//! Sends images to registries.

use std::sync::Arc;

use registry_client::{Client, PushRequest, Pushed, Reference};

use super::Packed;
use crate::error::{Error, Result};
use layer_store::Store;

/// Sends an image to `target`, which gets the name, and what refers to it. Layers that are there already do not move.
pub async fn push(client: &Client, store: &Arc<Store>, packed: Packed, target: &Reference) -> Result<Pushed> {
    let manifests = packed.children.into_iter().chain([packed.manifest]).collect();
    let request = PushRequest { manifests, origins: packed.origins, ..PushRequest::default() };
    let failed = |source| Error::Push { target: target.familiar(), source: Arc::new(source) };
    let pushed = client.push(target, store, request).await.map_err(failed)?;
    for one in &packed.attached {
        client.attach(target, &one.subject, &one.artifact, store).await.map_err(failed)?;
    }
    Ok(pushed)
}

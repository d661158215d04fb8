//! Further layers on top of an image.

use std::io::Read;
use std::sync::Arc;

use layer_store::config::History;
use layer_store::digest::Hasher;
use layer_store::layer::{Form, Limits, decompress};
use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, Store};

use super::Draft;
use crate::Engine;
use crate::error::{Error, Result};
use crate::output::Packing;
use crate::task;

/// A layer that was taken in.
#[derive(Debug, Clone)]
pub struct NewLayer {
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
    /// Its blob, in the store.
    pub blob: Descriptor,
    /// What the history says about it.
    pub created_by: String,
}

impl Engine {
    /// Takes a layer's tar in, plain or compressed with gzip or zstd, and checks that it is one. What is compressed stays
    /// as it is, byte for byte; a plain tar is compressed as `packing` says. `name` is for people.
    pub async fn take_layer(
        &self,
        mut input: impl Read + Send + 'static,
        name: &str,
        packing: Packing,
    ) -> Result<NewLayer> {
        let store = Arc::clone(&self.store);
        let (name, created_by) = (name.to_owned(), format!("rbuild append {name}"));
        task::blocking(move || {
            let mut blob = store.put_stream(&mut input)?;
            let checked = diff_id(&store, &blob).and_then(|diff_id| {
                store.apply(&mut store.open_blob(&blob.digest)?, &diff_id, Form::Index)?;
                Ok(diff_id)
            });
            let diff_id = checked
                .map_err(|error| Error::invalid(format!("`{name}` is not the tar of a layer: {error}")))?;
            kind(&store, &blob, &diff_id)?.clone_into(&mut blob.media_type);
            store.remember_blob(&diff_id, &blob)?;
            if diff_id == blob.digest {
                blob = store.layer_blob(&diff_id, packing.compression, true)?;
            }
            Ok(NewLayer { diff_id, blob, created_by })
        })
        .await
    }
}

impl Draft {
    /// Puts a layer on top. The image is as new as it was: nothing depends on the moment.
    pub fn append(&mut self, layer: &NewLayer) {
        self.layers.push(layer.blob.clone());
        self.config.rootfs.diff_ids.push(layer.diff_id);
        self.config.history.push(History {
            created: self.config.created.clone(),
            created_by: Some(layer.created_by.clone()),
            ..History::default()
        });
    }
}

/// The digest of what the blob inflates to.
fn diff_id(store: &Store, blob: &Descriptor) -> Result<Digest> {
    let unreadable = |source| Error::from(layer_store::Error::Read { source });
    let file = store.open_blob(&blob.digest)?;
    let mut input = decompress(file, Limits::default()).map_err(unreadable)?;
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; 256 << 10]);
    loop {
        match input.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        };
    }
}

/// The media type of a layer's blob, by how it begins.
fn kind(store: &Store, blob: &Descriptor, diff_id: &Digest) -> Result<&'static str> {
    if *diff_id == blob.digest {
        return Ok(media_type::OCI_LAYER);
    }
    let mut magic = [0; 2];
    let mut file = store.open_blob(&blob.digest)?;
    file.read_exact(&mut magic).map_err(|source| Error::from(layer_store::Error::Read { source }))?;
    Ok(if magic == [0x1f, 0x8b] { media_type::OCI_LAYER_GZIP } else { media_type::OCI_LAYER_ZSTD })
}

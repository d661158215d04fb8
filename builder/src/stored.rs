//! Images of the store: taking them in, and bringing their layers where only their names are here.

use std::sync::Arc;

use layer_store::layer::Form;
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent};
use layer_store::store::{ImageRecord, PlatformImage};
use layer_store::{Descriptor, Digest, ImageConfig, Manifest, Store, View};
use registry_client::Reference;

use crate::engine::Engine;
use crate::error::Result;
use crate::exchange::is_image;
use crate::output::{self, ImageLayers, Packed, Packing, remember_remote};
use crate::resolve::{RemoteBlob, Resolved, assemble, parse_config};
use crate::solve::Layers;
use crate::task;

/// Gives an image a name and notes which blobs hold its layers. `manifest` may be an index, whose images that are here
/// all become known. `origin` is the repository that it came from, `docker.io/library/debian`; `None` for one that came as
/// a file. Documents have to be in the store; layers need not be.
///
/// # Errors
///
/// [`crate::Error::BadImage`] where configuration and manifest contradict each other.
pub fn adopt(store: &Store, name: &str, manifest: &Manifest, origin: Option<&str>) -> Result<ImageRecord> {
    let mut record = ImageRecord {
        name: name.to_owned(),
        platforms: Vec::new(),
        index: None,
        tagged: crate::image::now(),
    };
    match &manifest.content {
        ManifestContent::Image { .. } => record.platforms.push(known(store, name, manifest, origin)?),
        ManifestContent::Index { manifests, .. } => {
            record.index = Some(manifest.descriptor());
            for child in manifests {
                // An index may name images that did not come along, and attestations that are no images.
                let Ok(raw) = store.read_blob(&child.digest, DOCUMENT_LIMIT) else { continue };
                let child = Manifest::parse(raw, Some(&child.media_type))?;
                let ManifestContent::Image { config, .. } = &child.content else { continue };
                if is_image(&child) && store.blob_size(&config.digest)?.is_some() {
                    record.platforms.push(known(store, name, &child, origin)?);
                }
            }
        }
    }
    store.tag(&record)?;
    Ok(record)
}

/// Gives an image that was made here its names. Without one it keeps a name that nobody types, so that it is listed and
/// collected as untagged.
pub(crate) fn name(
    store: &Store,
    tags: &[Reference],
    id: Digest,
    platforms: &[PlatformImage],
    index: Option<&Descriptor>,
) -> Result<()> {
    let names: Vec<String> = match tags {
        [] => vec![format!("<none>@{id}")],
        tags => tags.iter().map(Reference::canonical).collect(),
    };
    for name in names {
        let (platforms, index) = (platforms.to_vec(), index.cloned());
        store.tag(&ImageRecord { name, platforms, index, tagged: crate::image::now() })?;
    }
    Ok(())
}

/// Whether the store has all manifests of the record's index, so that the image goes as a whole: several platforms that
/// were built or copied here, or one with its attestations. Of an image that was pulled for one platform it has not.
pub fn is_whole(store: &Store, record: &ImageRecord) -> Result<bool> {
    let Some(index) = &record.index else { return Ok(record.platforms.len() > 1) };
    let ManifestContent::Index { manifests, .. } = store.manifest(index)?.content else { return Ok(false) };
    let mut sizes = manifests.iter().map(|manifest| store.blob_size(&manifest.digest));
    Ok(sizes.try_fold(true, |whole, size| size.map(|size| whole && size.is_some()))?)
}

/// One image of a record; the blobs of its layers are remembered.
fn known(store: &Store, name: &str, manifest: &Manifest, origin: Option<&str>) -> Result<PlatformImage> {
    let ManifestContent::Image { config: descriptor, .. } = &manifest.content else {
        return Err(crate::Error::BadImage { name: name.to_owned(), reason: "it is an index".to_owned() });
    };
    let bytes = store.read_blob(&descriptor.digest, DOCUMENT_LIMIT)?;
    let config = parse_config(name, &bytes)?;
    note_blobs(store, name, config, manifest, origin)?;
    Ok(PlatformImage {
        config: descriptor.clone(),
        manifest: Some(manifest.descriptor()),
        origin: origin.map(str::to_owned),
    })
}

fn note_blobs(
    store: &Store,
    name: &str,
    config: ImageConfig,
    manifest: &Manifest,
    origin: Option<&str>,
) -> Result<()> {
    // Checks that both name as many layers.
    let resolved = assemble(name, config, Some(manifest), origin, manifest.digest())?;
    let ManifestContent::Image { layers: blobs, .. } = &manifest.content else { return Ok(()) };
    for (layer, blob) in resolved.base.layers.iter().zip(blobs) {
        match &layer.remote {
            Some(remote) => remember_remote(store, &layer.diff_id, remote)?,
            None => store.claim_blob(&layer.diff_id, blob)?,
        }
    }
    Ok(())
}

/// Takes in an image whose documents and blobs are in the store: every layer is checked and indexed, and its blob
/// remembered. Blocks.
///
/// # Errors
///
/// [`crate::Error::BadImage`] for an index, and where configuration and manifest contradict each other.
pub(crate) fn take_in(store: &Store, name: &str, manifest: &Manifest) -> Result<Resolved> {
    let ManifestContent::Image { config, layers, .. } = &manifest.content else {
        return Err(crate::Error::BadImage { name: name.to_owned(), reason: "it is an index".to_owned() });
    };
    let config = parse_config(name, &store.read_blob(&config.digest, DOCUMENT_LIMIT)?)?;
    let resolved = assemble(name, config, Some(manifest), None, manifest.digest())?;
    for (layer, blob) in resolved.base.layers.iter().zip(layers) {
        store.take_blob(&layer.diff_id, blob, Form::Index)?;
    }
    Ok(resolved)
}

/// Where a layer may be fetched from, as far as the store remembers; what was found true before comes first.
pub(crate) fn remotes(store: &Store, diff_id: &Digest) -> Result<Vec<RemoteBlob>> {
    let blobs = store.known_blobs(diff_id)?;
    let remotes = blobs.iter().filter_map(|blob| {
        let repository = output::origin(blob)?.name();
        let (media_type, digest, size) = (blob.media_type.clone(), blob.digest, blob.size);
        Some(RemoteBlob { media_type, digest, size, repository })
    });
    Ok(remotes.collect())
}

impl Engine {
    /// The filesystem of an image of the store. Layers are fetched where they never were; nothing is extracted.
    pub async fn view(&self, config: &ImageConfig) -> Result<View> {
        self.layers().view(&config.rootfs.diff_ids).await
    }

    /// The manifest of an image of the store. `local` asks that every blob that it leads to is here: fetched or
    /// compressed now, where that was not needed before. Otherwise one that a registry is known to have stays there.
    pub async fn pack(&self, config_bytes: Vec<u8>, packing: Packing, local: bool) -> Result<Packed> {
        let image = ImageLayers::of(config_bytes)?;
        self.layers().for_packing(&image.diff_ids, local).await?;
        let store = self.store.clone();
        task::blocking(move || output::pack(&store, &image, packing, local)).await
    }

    fn layers(&self) -> Layers {
        Layers::of_store(Arc::clone(&self.store), Arc::clone(&self.client))
    }
}

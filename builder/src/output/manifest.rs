//! From an image in the store to its manifest: layers are compressed now, if they never were.

use std::collections::BTreeMap;
use std::sync::Arc;

use layer_store::layer::{KnownBlob, Origin};
use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, ImageConfig, Manifest, Platform, Store};
use registry_client::Reference;

use super::Packing;
use crate::attest::Attached;
use crate::cache::{self, CachePlace, Exported, Offer, Record};
use crate::error::{Error, Result};
use crate::resolve::RemoteBlob;

/// The annotation that names a repository which has a blob: `containerd.io/distribution.source.<registry>`. It is
/// kept in the store beside the blob's descriptor and never leaves it.
const SOURCE: &str = "containerd.io/distribution.source.";

/// A configuration and the layers that it names.
#[derive(Debug, Clone)]
pub struct ImageLayers {
    /// The exact bytes of the configuration.
    pub config_bytes: Vec<u8>,
    /// The diffIDs, bottom first.
    pub diff_ids: Vec<Digest>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Results of steps whose keys the manifest carries for later builds.
    pub(crate) carried: Vec<Exported>,
    /// Layers that are not here, and the shared caches that have them.
    pub(crate) offers: BTreeMap<Digest, Offer>,
}

impl ImageLayers {
    /// Of a configuration.
    pub fn of(config_bytes: Vec<u8>) -> Result<Self> {
        let config = ImageConfig::from_slice(&config_bytes)
            .map_err(|error| Error::Internal(format!("image configuration: {error}")))?;
        Ok(Self::new(config_bytes, config.rootfs.diff_ids))
    }

    /// Of a configuration and the layers that it names.
    pub(crate) fn new(config_bytes: Vec<u8>, diff_ids: Vec<Digest>) -> Self {
        let (annotations, carried, offers) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { config_bytes, diff_ids, annotations, carried, offers }
    }

    /// The configuration.
    pub fn config(&self) -> Result<ImageConfig> {
        ImageConfig::from_slice(&self.config_bytes)
            .map_err(|error| Error::Internal(format!("image configuration: {error}")))
    }
}

/// A manifest that can be sent.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The manifests that an index names; none for a single image. They and all configurations are in the store.
    pub children: Vec<Manifest>,
    /// The manifest, or an index of several.
    pub manifest: Manifest,
    /// Blobs that another repository is known to have: they can be mounted or fetched from there.
    pub origins: BTreeMap<Digest, Reference>,
    /// Artifacts that refer to the manifests.
    pub(crate) attached: Vec<Attached>,
}

/// Remembers where the blob of a base layer is, without fetching it.
pub(crate) fn remember_remote(store: &Store, layer: &Digest, remote: &RemoteBlob) -> Result<()> {
    let mut descriptor = remote.descriptor();
    if let Some((registry, repository)) = remote.repository.split_once('/') {
        descriptor.annotations.insert(format!("{SOURCE}{registry}"), repository.to_owned());
    }
    Ok(store.claim_blob(layer, &descriptor)?)
}

/// A blob of the layer that a registry has. One that nobody has read here is good enough while the layer is not here
/// and nobody claims another one: whoever names the layer means it. Two that differ have to be told apart by reading.
pub(crate) fn elsewhere(store: &Store, layer: &Digest, known: Vec<KnownBlob>) -> Option<Descriptor> {
    let (claims, checked): (Vec<_>, Vec<_>) = known
        .into_iter()
        .filter(|known| origin(&known.descriptor).is_some())
        .partition(|known| known.made_by == Origin::Claimed);
    if let Some(known) = checked.into_iter().next_back() {
        return Some(known.descriptor);
    }
    match <[_; 1]>::try_from(claims) {
        Ok([claim]) if !store.has_bytes(layer) => Some(claim.descriptor),
        _ => None,
    }
}

/// Makes the manifest of an image. `local` asks that every layer's blob is in the store; otherwise one that a
/// registry is known to have may stay there. Blocks while layers are compressed.
pub(crate) fn pack(store: &Arc<Store>, image: &ImageLayers, packing: Packing, local: bool) -> Result<Packed> {
    let config = store.put_blob(&image.config_bytes)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, config, image.config_bytes.len() as u64);
    let mut origins = BTreeMap::new();
    let mut layers = Vec::with_capacity(image.diff_ids.len());
    for diff_id in &image.diff_ids {
        let known = store.blob_records(diff_id)?;
        for KnownBlob { descriptor, .. } in &known {
            origins.extend(origin(descriptor).map(|origin| (descriptor.digest, origin)));
        }
        let mut remote = elsewhere(store, diff_id, known);
        if let Some(Offer { place: CachePlace::Registry(place), record, .. }) = image.offers.get(diff_id)
            && remote.is_none()
        {
            origins.insert(record.blob.digest, place.clone());
            remote = Some(record.blob.clone());
        }
        let mut layer = match remote {
            Some(blob) if !local && !packing.force => blob,
            _ => store.layer_blob(diff_id, packing.compression, packing.force)?,
        };
        // A manifest keeps to one family of types; the bytes are the same.
        layer.media_type = media_type::oci(&layer.media_type).to_owned();
        layer.annotations.clear();
        layers.push(layer);
    }
    let mut annotations = image.annotations.clone();
    let carried = image.carried.iter().filter_map(|step| {
        let at = image.diff_ids.iter().position(|diff_id| *diff_id == step.diff_id)?;
        let Exported { key, diff_id, created, name, .. } = step.clone();
        Some(Record { key, diff_id, created, name, blob: layers[at].clone() })
    });
    let carried: Vec<Record> = carried.collect();
    if !carried.is_empty() {
        annotations.insert(cache::INLINE.to_owned(), cache::inline(carried));
    }
    let manifest = Manifest::image(config, layers, annotations);
    Ok(Packed { children: Vec::new(), manifest, origins, attached: Vec::new() })
}

/// Makes the manifests of the images of several platforms, under one index with these annotations; of one image just its
/// manifest.
pub(crate) fn pack_all(
    store: &Arc<Store>,
    images: &[(Platform, ImageLayers)],
    annotations: BTreeMap<String, String>,
    packing: Packing,
    local: bool,
) -> Result<Packed> {
    if let [(_, image)] = images {
        return pack(store, image, packing, local);
    }
    let (mut children, mut listed, mut origins) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (platform, image) in images {
        let packed = pack(store, image, packing, local)?;
        store.put_blob(&packed.manifest.raw)?;
        let mut descriptor = packed.manifest.descriptor();
        descriptor.platform = Some(platform.clone());
        listed.push(descriptor);
        children.push(packed.manifest);
        origins.extend(packed.origins);
    }
    let manifest = Manifest::index(listed, annotations);
    Ok(Packed { children, manifest, origins, attached: Vec::new() })
}

/// The repository that is known to have a blob.
pub(crate) fn origin(blob: &Descriptor) -> Option<Reference> {
    let (key, repository) = blob.annotations.iter().find(|(key, _)| key.starts_with(SOURCE))?;
    let registry = key.strip_prefix(SOURCE)?;
    Reference::parse(&format!("{registry}/{repository}")).ok()
}

//! The images of the store as people look at them: by name, id or the beginning of an id.

use std::collections::BTreeMap;

use layer_store::index::Kind;
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent};
use layer_store::store::{ImageRecord, PlatformImage};
use layer_store::{Digest, ImageConfig, Manifest, Platform, Store};
use registry_client::Reference;

use crate::failure::{Failure, Result};

/// An image with all names that it has.
pub(crate) struct Image {
    /// The digest of its configuration.
    pub(crate) id: Digest,
    /// Its configuration.
    pub(crate) config: ImageConfig,
    /// The records that name it, by name.
    pub(crate) records: Vec<ImageRecord>,
    /// The forms that the store knows it in.
    pub(crate) platform: PlatformImage,
}

impl Image {
    /// Its names as Docker writes them. An image that was built without one has none.
    pub(crate) fn names(&self) -> Vec<String> {
        let references = self.records.iter().filter_map(|record| Reference::parse(&record.name).ok());
        references.map(|reference| reference.familiar()).collect()
    }

    /// `repository@digest` of each repository that it was pulled from or pushed to.
    pub(crate) fn repository_digests(&self) -> Vec<String> {
        let mut digests: Vec<String> = self
            .records
            .iter()
            .filter_map(|record| {
                let reference = Reference::parse(&record.name).ok()?;
                let known = record.platforms.iter().find(|one| one.config.digest == self.id)?;
                // What was built here and never left has no digest in any repository; an index has one that it keeps.
                if record.index.is_none() {
                    known.origin.as_ref()?;
                }
                let digest = record.index.as_ref().or(known.manifest.as_ref())?.digest;
                Some(repository(&reference) + &format!("@{digest}"))
            })
            .collect();
        digests.dedup();
        digests
    }

    /// The bytes of its files, or of its compressed layers where only those are known.
    pub(crate) fn size(&self, store: &Store) -> u64 {
        let layers = &self.config.rootfs.diff_ids;
        let blobs = self.manifest(store).map(|manifest| match manifest.content {
            ManifestContent::Image { layers, .. } => layers,
            ManifestContent::Index { .. } => Vec::new(),
        });
        let blob = |at: usize| blobs.as_ref().and_then(|blobs| blobs.get(at)).map_or(0, |blob| blob.size);
        layers
            .iter()
            .enumerate()
            .map(|(at, diff_id)| layer_size(store, diff_id).unwrap_or_else(|| blob(at)))
            .sum()
    }

    /// Its manifest, if it has one.
    pub(crate) fn manifest(&self, store: &Store) -> Option<Manifest> {
        let descriptor = self.platform.manifest.as_ref()?;
        let raw = store.read_blob(&descriptor.digest, DOCUMENT_LIMIT).ok()?;
        Manifest::parse(raw, Some(&descriptor.media_type)).ok()
    }
}

/// The bytes of a layer's files, if the layer is here.
pub(crate) fn layer_size(store: &Store, diff_id: &Digest) -> Option<u64> {
    if !store.has_layer(diff_id) {
        return None;
    }
    let index = store.index(diff_id).ok()?;
    let size = |kind: &Kind| if let Kind::File { size, .. } = kind { *size } else { 0 };
    Some(index.entries().iter().map(|entry| size(&entry.kind)).sum())
}

/// All images, the newest first.
pub(crate) fn all(store: &Store) -> Result<Vec<Image>> {
    let mut images: BTreeMap<Digest, Image> = BTreeMap::new();
    for record in store.images()? {
        for platform in &record.platforms {
            let id = platform.config.digest;
            if let Some(image) = images.get_mut(&id) {
                image.records.push(record.clone());
                if image.platform.manifest.is_none() {
                    image.platform = platform.clone();
                }
                continue;
            }
            let bytes = store.read_blob(&id, DOCUMENT_LIMIT)?;
            let config = ImageConfig::from_slice(&bytes).map_err(|error| {
                Failure::new(format!(
                    "the configuration of `{}` cannot be read: {error}",
                    familiar(&record.name)
                ))
            })?;
            images
                .insert(id, Image { id, config, records: vec![record.clone()], platform: platform.clone() });
        }
    }
    let mut images: Vec<Image> = images.into_values().collect();
    images.sort_by(|one, other| {
        other.config.created.cmp(&one.config.created).then_with(|| one.id.cmp(&other.id))
    });
    Ok(images)
}

/// The image of a name, an id, or the beginning of an id, in that order as Docker does. The digest of an index is an id
/// too; of several platforms it means the one that suits this machine best.
pub(crate) fn find(store: &Store, text: &str) -> Result<Image> {
    let images = all(store)?;
    let Some(record) = whole(store, text)? else { return by_id(images, text) };
    let host = Platform::host();
    let best = images
        .into_iter()
        .filter(|image| record.platforms.iter().any(|one| one.config.digest == image.id))
        .min_by_key(|image| image.config.platform().distance(&host).unwrap_or(usize::MAX));
    best.ok_or_else(|| missing(text))
}

/// What stands under a name, or has an index of that digest (or the beginning of it).
pub(crate) fn whole(store: &Store, text: &str) -> Result<Option<ImageRecord>> {
    if let Ok(reference) = Reference::parse(text)
        && let Some(record) = store.image(&reference.canonical())?
    {
        return Ok(Some(record));
    }
    let Some(hex) = hex(text) else { return Ok(None) };
    let begins = |digest: &Digest| digest.hex().starts_with(hex);
    let records = store.images()?;
    if records.iter().flat_map(|record| &record.platforms).any(|image| begins(&image.config.digest)) {
        return Ok(None);
    }
    let has_it = |record: &ImageRecord| record.index.as_ref().is_some_and(|index| begins(&index.digest));
    let mut found: Vec<ImageRecord> = records.into_iter().filter(has_it).collect();
    found.dedup_by_key(|record| record.index.as_ref().map(|index| index.digest));
    if found.len() > 1 {
        return Err(several(text));
    }
    Ok(found.pop())
}

/// The name of an image as the store knows it, where `text` is one.
pub(crate) fn name(store: &Store, text: &str) -> Result<Option<String>> {
    let Ok(reference) = Reference::parse(text) else { return Ok(None) };
    Ok(store.image(&reference.canonical())?.map(|record| record.name))
}

fn by_id(images: Vec<Image>, text: &str) -> Result<Image> {
    let hex = hex(text);
    let mut found = images.into_iter().filter(|image| hex.is_some_and(|hex| image.id.hex().starts_with(hex)));
    let first = found.next().ok_or_else(|| missing(text))?;
    if found.next().is_some() {
        return Err(several(text));
    }
    Ok(first)
}

/// The digits of an id, or of the beginning of one.
fn hex(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id =
        !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_id.then_some(hex)
}

fn several(text: &str) -> Failure {
    Failure::new(format!("`{text}` is the beginning of several image ids"))
        .hint("`rbuild images --no-trunc` shows whole ids")
}

fn missing(text: &str) -> Failure {
    Failure::new(format!("there is no image `{text}` here"))
        .hint(format!("`rbuild images` lists what there is; `rbuild pull {text}` asks a registry"))
}

/// A canonical name as people write it.
pub(crate) fn familiar(canonical: &str) -> String {
    Reference::parse(canonical).map_or_else(|_| canonical.to_owned(), |reference| reference.familiar())
}

/// The repository of a name as Docker's REPOSITORY column has it.
pub(crate) fn repository(reference: &Reference) -> String {
    let familiar = reference.familiar();
    let without_digest = familiar.split('@').next().unwrap_or(&familiar);
    match reference.tag() {
        Some(tag) => without_digest.strip_suffix(&format!(":{tag}")).unwrap_or(without_digest).to_owned(),
        None => without_digest.to_owned(),
    }
}

//! The images that are at a location.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use layer_store::layout::LayoutDirectory;
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent, annotation, media_type};
use layer_store::store::ImageRecord;
use layer_store::{Descriptor, Digest, Manifest, Store, archive};
use registry_client::{Reference, Repository, Supply};

use super::Location;
use crate::Engine;
use crate::error::{Error, Result};
use crate::output::{ImageLayers, Packing, origin};
use crate::task;

/// Images, and where their parts are.
#[derive(Clone)]
pub struct Opened {
    /// Where manifests and blobs are.
    pub supply: Supply,
    /// The images.
    pub images: Vec<OpenedImage>,
}

/// One image of a location.
#[derive(Debug, Clone)]
pub struct OpenedImage {
    /// Its manifest or index.
    pub top: Manifest,
    /// The name that it has there: canonical where it is a whole name, else what the place calls it (a tag).
    pub name: Option<String>,
}

impl OpenedImage {
    /// The tag of its name.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        let name = self.name.as_deref()?;
        let last = name.rsplit('/').next().unwrap_or(name);
        let last = last.split('@').next().unwrap_or(last);
        match last.split_once(':') {
            Some((_, tag)) => Some(tag),
            None => (last == name).then_some(name),
        }
    }
}

impl Opened {
    /// The only image that was opened.
    pub fn only(&self) -> Result<&OpenedImage> {
        match self.images.as_slice() {
            [only] => Ok(only),
            _ => Err(Error::Internal("one image was asked for and several were opened".to_owned())),
        }
    }
}

impl Engine {
    /// The image at `location`, or with `all` every image that its repository, layout or archive has. Manifests only:
    /// no layer is read, but for archives, which are taken into the store as they come. `packing` says how layers that
    /// were never compressed are.
    pub async fn open_images(&self, location: &Location, all: bool, packing: Packing) -> Result<Opened> {
        match location {
            Location::Registry(reference) => self.open_registry(reference, all).await,
            Location::Store(name) => self.open_stored(name, packing).await,
            Location::Layout { path, name } => {
                let (path, name) = (path.clone(), name.clone());
                task::blocking(move || open_layout(&path, name.as_deref(), all)).await
            }
            Location::OciArchive { path, name } | Location::DockerArchive { path, name } => {
                let (store, path, name) = (Arc::clone(&self.store), path.clone(), name.clone());
                task::blocking(move || open_archive(&store, &path, name.as_deref(), all, packing)).await
            }
        }
    }

    async fn open_registry(&self, reference: &Reference, all: bool) -> Result<Opened> {
        let mut images = Vec::new();
        let names = if all {
            let tags = self.client.tags(reference).await?;
            // The tags that stand in for a list of referrers are no images.
            let tags = tags.iter().filter(|tag| !is_fallback_tag(tag));
            tags.map(|tag| reference.with_tag(tag)).collect::<Result<Vec<_>, _>>()?
        } else {
            vec![reference.clone()]
        };
        for name in names {
            let top = self.client.manifest(&name).await?;
            images.push(OpenedImage { top, name: Some(name.canonical()) });
        }
        Ok(Opened { supply: Repository::Remote(reference.clone()).into(), images })
    }

    /// An image of the store. One that was built here gets its manifest now.
    async fn open_stored(&self, text: &str, packing: Packing) -> Result<Opened> {
        let store = &self.store;
        let record = find(store, text)?;
        let mut supply: Supply = Repository::Local(store.clone()).into();
        let origins = record.platforms.iter().filter_map(|image| image.origin.as_deref()?.parse().ok());
        let known: Vec<Reference> = origins.collect();
        let top = match &record.index {
            Some(index) => {
                for image in &record.platforms {
                    supply.origins.extend(origins_of(store, &image.config.digest)?);
                }
                store.manifest(index)?
            }
            None => {
                let mut manifests = Vec::new();
                for image in &record.platforms {
                    let config = store.read_blob(&image.config.digest, DOCUMENT_LIMIT)?;
                    let layers = ImageLayers::of(config.clone())?;
                    let manifest = match &image.manifest {
                        Some(manifest) => store.manifest(manifest)?,
                        None => {
                            let packed = self.pack(config, packing, false).await?;
                            supply.origins.extend(packed.origins);
                            packed.manifest
                        }
                    };
                    store.put_blob(&manifest.raw)?;
                    manifests.push((manifest, layers));
                }
                one_of(manifests)?
            }
        };
        supply.repositories.extend(known.into_iter().map(Repository::Remote));
        let name = Some(record.name).filter(|name| !name.is_empty());
        Ok(Opened { supply, images: vec![OpenedImage { top, name }] })
    }
}

/// The repositories that are known to have the layers of an image, by blob.
fn origins_of(store: &Store, config: &Digest) -> Result<BTreeMap<Digest, Reference>> {
    let mut origins = BTreeMap::new();
    for diff_id in ImageLayers::of(store.read_blob(config, DOCUMENT_LIMIT)?)?.diff_ids {
        for blob in store.known_blobs(&diff_id)? {
            origins.extend(origin(&blob).map(|place| (blob.digest, place)));
        }
    }
    Ok(origins)
}

/// The only manifest, or an index of several.
fn one_of(mut manifests: Vec<(Manifest, ImageLayers)>) -> Result<Manifest> {
    if manifests.len() == 1
        && let Some((only, _)) = manifests.pop()
    {
        return Ok(only);
    }
    let entries = manifests.iter().map(|(manifest, layers)| {
        let config = layers.config()?;
        Ok(Descriptor { platform: Some(config.platform()), ..manifest.descriptor() })
    });
    Ok(Manifest::index(entries.collect::<Result<_>>()?, BTreeMap::new()))
}

/// The record of a name, or one made up for an id or the beginning of one.
fn find(store: &Store, text: &str) -> Result<ImageRecord> {
    if let Ok(reference) = Reference::parse(text)
        && let Some(record) = store.image(&reference.canonical())?
    {
        return Ok(record);
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let mut found: BTreeMap<Digest, ImageRecord> = BTreeMap::new();
    for record in store.images()? {
        if let Some(index) = &record.index
            && hex.len() >= 4
            && index.digest.hex().starts_with(hex)
        {
            found.entry(index.digest).or_insert_with(|| record.clone());
        }
        for image in &record.platforms {
            if hex.len() >= 4 && image.config.digest.hex().starts_with(hex) {
                let one = ImageRecord { platforms: vec![image.clone()], index: None, ..record.clone() };
                found.entry(image.config.digest).or_insert(one);
            }
        }
    }
    match found.pop_first() {
        Some((_, record)) if found.is_empty() => Ok(record),
        Some(_) => Err(Error::invalid(format!("`{text}` is the beginning of several image ids"))),
        None => Err(Error::ImageNotHere { name: text.to_owned() }),
    }
}

fn open_layout(path: &Path, name: Option<&str>, all: bool) -> Result<Opened> {
    let layout = LayoutDirectory::open(path)?;
    let named: Vec<(Option<String>, Descriptor)> = layout
        .descriptors()
        .iter()
        .map(|one| (name_of(one), one.clone()))
        // What refers to an image lies beside it, and is not meant unless its digest is named.
        .filter(|(own, one)| name.is_some() || own.is_some() || one.artifact_type.is_none())
        .collect();
    let chosen = choose(named, name, all, path, |(name, descriptor)| (name.as_deref(), descriptor.digest))?;
    let mut images = Vec::new();
    for (name, descriptor) in chosen {
        let raw = layer_store::Blobs::read_blob(&layout, &descriptor.digest, DOCUMENT_LIMIT)?;
        let top = Manifest::parse(raw, Some(&descriptor.media_type))?;
        images.push(OpenedImage { top, name });
    }
    Ok(Opened { supply: Repository::Local(Arc::new(layout)).into(), images })
}

/// The name of an entry: whole where the layout says it whole.
fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotations = &descriptor.annotations;
    annotations.get(annotation::IMAGE_NAME).or_else(|| annotations.get(annotation::REF_NAME)).cloned()
}

fn open_archive(
    store: &Arc<Store>,
    path: &Path,
    name: Option<&str>,
    all: bool,
    packing: Packing,
) -> Result<Opened> {
    let file = File::open(path).map_err(|error| Error::File {
        action: "open",
        path: path.display().to_string(),
        source: Arc::new(error),
    })?;
    let loaded = archive::read(store, &mut std::io::BufReader::with_capacity(1 << 20, file))?;
    let mut named = Vec::new();
    for image in loaded {
        let top = compressed(store, image.manifest, packing)?;
        let mut names = image.names.into_iter().map(|name| match Reference::parse(&name) {
            Ok(reference) if name.contains([':', '/']) => Some(reference.canonical()),
            _ => Some(name),
        });
        named.push(OpenedImage { top: top.clone(), name: names.next().flatten() });
        named.extend(names.map(|name| OpenedImage { top: top.clone(), name }));
    }
    let images = choose(named, name, all, path, |image| (image.name.as_deref(), image.top.digest()))?;
    Ok(Opened { supply: Repository::Local(store.clone()).into(), images })
}

/// The manifest with its uncompressed layers compressed: archives of Docker hold them bare, and nobody wants to send them
/// like that.
fn compressed(store: &Arc<Store>, manifest: Manifest, packing: Packing) -> Result<Manifest> {
    let ManifestContent::Image { config, layers, annotations } = &manifest.content else {
        return Ok(manifest);
    };
    let is_bare = |layer: &Descriptor| media_type::oci(&layer.media_type) == media_type::OCI_LAYER;
    if !layers.iter().any(is_bare) {
        return Ok(manifest);
    }
    let mut packed = Vec::new();
    for layer in layers {
        if is_bare(layer) {
            store.remember_blob(&layer.digest, layer)?;
            packed.push(store.layer_blob(&layer.digest, packing.compression, true)?);
        } else {
            packed.push(layer.clone());
        }
    }
    let packed = manifest.with_parts(config, &packed, annotations)?;
    store.put_blob(&packed.raw)?;
    Ok(packed)
}

/// The image of that name or digest; all; or the only one.
fn choose<T>(
    images: Vec<T>,
    name: Option<&str>,
    all: bool,
    path: &Path,
    facts: impl Fn(&T) -> (Option<&str>, Digest),
) -> Result<Vec<T>> {
    if all {
        return Ok(images);
    }
    let names: Vec<String> = images.iter().filter_map(|one| Some(facts(one).0?.to_owned())).collect();
    let is_meant = |one: &T, wanted: &str| {
        let (name, digest) = facts(one);
        let canonical = Reference::parse(wanted).map(|reference| reference.canonical()).ok();
        let tag = name.and_then(|name| name.rsplit('/').next()).and_then(|last| last.split_once(':'));
        name == Some(wanted)
            || (canonical.is_some() && canonical.as_deref() == name)
            || tag.is_some_and(|(_, tag)| tag == wanted)
            || digest.to_string() == wanted.trim_start_matches('@')
    };
    let listed = || if names.is_empty() { "no name".to_owned() } else { format!("`{}`", names.join("`, `")) };
    match name {
        Some(wanted) => {
            let found = images.into_iter().find(|one| is_meant(one, wanted));
            found.map(|one| vec![one]).ok_or_else(|| {
                Error::invalid_but(
                    format!("there is no image `{wanted}` in `{}`", path.display()),
                    format!("it has {}", listed()),
                )
            })
        }
        None if images.is_empty() => {
            Err(Error::invalid(format!("there is no image in `{}`", path.display())))
        }
        None => {
            let first = images.first().map(|one| facts(one).1);
            if images.iter().any(|one| Some(facts(one).1) != first) {
                return Err(Error::invalid_but(
                    format!("there are several images in `{}`", path.display()),
                    format!(
                        "add the name of one after a colon, or take them all with --all-tags; it has {}",
                        listed()
                    ),
                ));
            }
            Ok(images.into_iter().take(1).collect())
        }
    }
}

/// Whether a tag stands in for a list of referrers: `sha256-<64 hex digits>`, with whatever a signer hangs on.
fn is_fallback_tag(tag: &str) -> bool {
    tag.strip_prefix("sha256-")
        .is_some_and(|rest| rest.len() >= 64 && rest.bytes().take(64).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_names() {
        let top = Manifest::index(Vec::new(), BTreeMap::new());
        for (name, tag) in [
            ("docker.io/library/debian:12", Some("12")),
            ("127.0.0.1:5000/a", None),
            ("v1", Some("v1")),
            ("app:1", Some("1")),
            ("docker.io/a/b@sha256:00", None),
        ] {
            let image = OpenedImage { top: top.clone(), name: Some(name.to_owned()) };
            assert_eq!(image.tag(), tag, "{name}");
        }
        assert!(is_fallback_tag(&format!("sha256-{}", "a".repeat(64))));
        assert!(is_fallback_tag(&format!("sha256-{}.sig", "a".repeat(64))));
        assert!(!is_fallback_tag("sha256-1"));
    }
}

//! From an image name to its configuration and the list of its layers. No layer is fetched here.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent, media_type};
use layer_store::store::{ImageRecord, PlatformImage};
use layer_store::{Descriptor, Digest, ImageConfig, Manifest, Platform, Store};
use registry_client::{Client, Reference};

use crate::context::layout::LayoutSource;
use crate::error::{Error, Result};
use crate::stored::adopt;
use crate::task;

/// The layers of an image, and where those that are not in the store can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseImage {
    /// The name as people know it.
    pub name: String,
    /// Bottom first.
    pub layers: Vec<BaseLayer>,
}

/// A layer of a base image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseLayer {
    /// What it is.
    pub diff_id: Digest,
    /// The blob that holds it and the repository that has the blob; `None` for a layer that was made here.
    pub remote: Option<RemoteBlob>,
}

/// A blob in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteBlob {
    /// Media type.
    pub media_type: String,
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// `docker.io/library/debian`.
    pub repository: String,
}

impl RemoteBlob {
    /// The descriptor of the blob.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.size)
    }
}

/// A resolved base image.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its layers.
    pub base: BaseImage,
    /// Its configuration.
    pub config: ImageConfig,
    /// The digest that the name stood for, for reports.
    pub digest: Digest,
    /// The index that it was chosen from, if it was one.
    pub index: Option<Digest>,
}

/// An image that a build used, as provenance names it.
#[derive(Debug, Clone)]
pub(crate) struct UsedBase {
    /// The name, as it was written.
    pub(crate) name: String,
    /// The platform that was asked for.
    pub(crate) platform: Platform,
    /// What it was.
    pub(crate) image: BaseImage,
    /// The digest that the name stood for: that of the index where there is one.
    pub(crate) digest: Digest,
}

/// When a registry is asked although the image is known here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pull {
    /// Only when the image is not here.
    #[default]
    Missing,
    /// Always; the registry has to answer.
    Always,
    /// Always, and what is here is used where the registry cannot be asked.
    Newer,
    /// Never; an unknown image is an error.
    Never,
}

/// Resolves each image name once.
pub struct Resolver {
    store: Arc<Store>,
    client: Arc<Client>,
    pull: Pull,
    keeps: bool,
    known: std::sync::Mutex<HashMap<(ImageSource, Platform), Pending>>,
}

/// What an image is resolved from: a name can only be that of an image, however it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ImageSource {
    Name(String),
    Layout(LayoutSource),
    Stored(Vec<Digest>),
}

type Pending = Shared<BoxFuture<'static, Result<Arc<Resolved>>>>;

impl Resolver {
    /// A resolver that looks into `store` first and asks registries through `client`.
    #[must_use]
    pub fn new(store: Arc<Store>, client: Arc<Client>, pull: Pull) -> Self {
        Self { store, client, pull, keeps: true, known: std::sync::Mutex::default() }
    }

    /// The same, but what a registry answers is not kept in the store.
    #[must_use]
    pub fn keeping_nothing(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Resolves `name` (as in FROM) for `platform`. Asks a registry at most once for each name.
    pub fn resolve(&self, name: &str, platform: &Platform) -> Pending {
        self.once(ImageSource::Name(name.to_owned()), platform, || {
            let (store, client) = (self.store.clone(), self.client.clone());
            let (pull, keeps) = (self.pull, self.keeps);
            let (name, platform) = (name.to_owned(), platform.clone());
            async move { resolve(&store, &client, pull, keeps, &name, &platform).await.map(Arc::new) }.boxed()
        })
    }

    /// Takes in the image of a layout, once.
    pub fn resolve_layout(&self, layout: &LayoutSource, platform: &Platform) -> Pending {
        self.once(ImageSource::Layout(layout.clone()), platform, || {
            let (store, layout, platform) = (self.store.clone(), layout.clone(), platform.clone());
            async move { task::blocking(move || layout.resolve(&store, &platform).map(Arc::new)).await }
                .boxed()
        })
    }

    /// Finds the image of the store that runs on `platform` among those with these configurations. Asks no registry.
    pub fn resolve_stored(&self, name: &str, configs: &[Digest], platform: &Platform) -> Pending {
        self.once(ImageSource::Stored(configs.to_vec()), platform, || {
            let (store, name, platform) = (self.store.clone(), name.to_owned(), platform.clone());
            let images = configs.iter().map(|config| PlatformImage {
                config: Descriptor::new(media_type::OCI_CONFIG, *config, 0),
                manifest: None,
                origin: None,
            });
            let (platforms, tagged) = (images.collect(), String::new());
            let record = ImageRecord { name: name.clone(), platforms, index: None, tagged };
            async move {
                let found = from_store(&store, &name, &record, &platform)?;
                found.map(Arc::new).ok_or(Error::ImageNotHere { name })
            }
            .boxed()
        })
    }

    fn once(
        &self,
        source: ImageSource,
        platform: &Platform,
        resolve: impl FnOnce() -> BoxFuture<'static, Result<Arc<Resolved>>>,
    ) -> Pending {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.entry((source, platform.clone())).or_insert_with(|| resolve().shared()).clone()
    }
}

impl Resolver {
    /// The configuration of an image that was resolved before; asks nobody.
    pub(crate) fn known(&self, name: &str, platform: &Platform) -> Option<ImageConfig> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pending = known.get(&(ImageSource::Name(name.to_owned()), platform.clone()))?;
        Some(pending.peek()?.as_ref().ok()?.config.clone())
    }

    /// The images that names stood for so far.
    pub(crate) fn used(&self) -> Vec<UsedBase> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let used = known.iter().filter_map(|((source, platform), pending)| {
            let resolved = pending.peek()?.as_ref().ok()?;
            let name = match source {
                ImageSource::Name(name) => name.clone(),
                ImageSource::Layout(_) => resolved.base.name.clone(),
                // Nobody else can have it: what it is made of is said of it.
                ImageSource::Stored(_) => return None,
            };
            let digest = resolved.index.unwrap_or(resolved.digest);
            Some(UsedBase { name, platform: platform.clone(), image: resolved.base.clone(), digest })
        });
        used.collect()
    }
}

async fn resolve(
    store: &Store,
    client: &Client,
    pull: Pull,
    keeps: bool,
    name: &str,
    platform: &Platform,
) -> Result<Resolved> {
    let reference = Reference::parse(name)
        .map_err(|error| Error::ImageName { name: name.to_owned(), reason: error.to_string() })?;
    let here = || match store.image(&reference.canonical())? {
        Some(record) => from_store(store, name, &record, platform),
        None => Ok(None),
    };
    if matches!(pull, Pull::Missing | Pull::Never)
        && let Some(resolved) = here()?
    {
        store.used_image(&reference.canonical());
        return Ok(resolved);
    }
    if pull == Pull::Never {
        return Err(Error::ImageNotHere { name: name.to_owned() });
    }
    let remote = match client.resolve(&reference, platform).await {
        Ok(remote) => remote,
        Err(source) => {
            // Whoever asks for a newer image is content with the one that is here.
            if pull == Pull::Newer
                && let Some(resolved) = here()?
            {
                return Ok(resolved);
            }
            return Err(Error::Registry { what: name.to_owned(), source: Arc::new(source) });
        }
    };
    let repository = reference.name();
    if keeps {
        store.put_blob(&remote.config_bytes)?;
        store.put_blob(&remote.manifest.raw)?;
        if let Some(index) = &remote.index {
            store.put_blob(&index.raw)?;
        }
        let top = remote.index.as_ref().unwrap_or(&remote.manifest);
        adopt(store, &reference.canonical(), top, Some(&repository))?;
    }
    let digest = remote.manifest.digest();
    let resolved = assemble(name, remote.config, Some(&remote.manifest), Some(&repository), digest)?;
    Ok(Resolved { index: remote.index.as_ref().map(Manifest::digest), ..resolved })
}

/// The configuration of an image that is in the store: the one that runs on `platform`, else any. Asks no registry.
pub(crate) fn config_in_store(store: &Store, name: &str, platform: &Platform) -> Option<ImageConfig> {
    let reference = Reference::parse(name).ok()?;
    let record = store.image(&reference.canonical()).ok()??;
    let configs = record.platforms.iter().filter_map(|image| {
        let bytes = store.read_blob(&image.config.digest, DOCUMENT_LIMIT).ok()?;
        parse_config(name, &bytes).ok()
    });
    configs.min_by_key(|config| config.platform().distance(platform).unwrap_or(usize::MAX))
}

/// The image of `record` for `platform`, if it has one that runs there.
fn from_store(
    store: &Store,
    name: &str,
    record: &ImageRecord,
    platform: &Platform,
) -> Result<Option<Resolved>> {
    let mut best: Option<(usize, Resolved)> = None;
    for image in &record.platforms {
        let Ok(bytes) = store.read_blob(&image.config.digest, DOCUMENT_LIMIT) else { continue };
        let config = parse_config(name, &bytes)?;
        let Some(distance) = config.platform().distance(platform) else { continue };
        if best.as_ref().is_some_and(|(nearest, _)| *nearest <= distance) {
            continue;
        }
        let manifest = match &image.manifest {
            Some(manifest) => store
                .read_blob(&manifest.digest, DOCUMENT_LIMIT)
                .ok()
                .map(|raw| Manifest::parse(raw, Some(&manifest.media_type)))
                .transpose()?,
            None => None,
        };
        let digest = manifest.as_ref().map_or(image.config.digest, Manifest::digest);
        let mut resolved = assemble(name, config, manifest.as_ref(), image.origin.as_deref(), digest)?;
        resolved.index = record.index.as_ref().map(|index| index.digest);
        let whole =
            resolved.base.layers.iter().all(|layer| layer.remote.is_some() || is_here(store, &layer.diff_id));
        if whole {
            best = Some((distance, resolved));
        }
    }
    // An index may have an image that serves the platform better and did not come along yet.
    let nearest = record.index.as_ref().and_then(|index| nearest_in(store, index, platform));
    let best = best.filter(|(distance, _)| nearest.is_none_or(|nearest| *distance <= nearest));
    Ok(best.map(|(_, resolved)| resolved))
}

/// How well the best image of an index serves the platform; `None` where the index is not here or has none.
fn nearest_in(store: &Store, index: &Descriptor, platform: &Platform) -> Option<usize> {
    let raw = store.read_blob(&index.digest, DOCUMENT_LIMIT).ok()?;
    let manifest = Manifest::parse(raw, Some(&index.media_type)).ok()?;
    let ManifestContent::Index { manifests, .. } = &manifest.content else { return None };
    manifests.iter().filter_map(|entry| entry.platform.as_ref()?.distance(platform)).min()
}

/// Whether a layer can be had without a registry: as one of its forms, or as a blob that came with an archive.
fn is_here(store: &Store, diff_id: &Digest) -> bool {
    let blob_is_here = |blob: &Descriptor| matches!(store.blob_size(&blob.digest), Ok(Some(_)));
    store.has_layer(diff_id) || store.known_blobs(diff_id).is_ok_and(|blobs| blobs.iter().any(blob_is_here))
}

pub(crate) fn assemble(
    name: &str,
    config: ImageConfig,
    manifest: Option<&Manifest>,
    repository: Option<&str>,
    digest: Digest,
) -> Result<Resolved> {
    let diff_ids = &config.rootfs.diff_ids;
    let blobs = match manifest.map(|manifest| &manifest.content) {
        Some(ManifestContent::Image { layers, .. }) => layers.as_slice(),
        _ => &[],
    };
    if !blobs.is_empty() && blobs.len() != diff_ids.len() {
        return Err(Error::BadImage {
            name: name.to_owned(),
            reason: format!("its manifest has {} layers, its configuration {}", blobs.len(), diff_ids.len()),
        });
    }
    let layers = diff_ids
        .iter()
        .enumerate()
        .map(|(at, diff_id)| BaseLayer {
            diff_id: *diff_id,
            remote: blobs.get(at).zip(repository).map(|(blob, repository)| RemoteBlob {
                media_type: blob.media_type.clone(),
                digest: blob.digest,
                size: blob.size,
                repository: repository.to_owned(),
            }),
        })
        .collect();
    Ok(Resolved { base: BaseImage { name: name.to_owned(), layers }, config, digest, index: None })
}

pub(crate) fn parse_config(name: &str, bytes: &[u8]) -> Result<ImageConfig> {
    ImageConfig::from_slice(bytes).map_err(|error| Error::BadImage {
        name: name.to_owned(),
        reason: format!("its configuration cannot be read: {error}"),
    })
}

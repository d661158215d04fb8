//! Looking for results in shared caches. Whatever goes wrong costs the build a warning and that cache.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use layer_store::error::chain;
use layer_store::layout::LayoutDirectory;
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent, annotation};
use layer_store::{Digest, Manifest};
use registry_client::{Client, Reference};
use tokio::sync::OnceCell;

use super::format::{self, Record};
use super::{CachePlace, CacheSettings, record_tag, within};
use crate::error;
use crate::event::{Event, Reporter};
use crate::task;

/// The most manifests of an image index that are looked at for records.
const MOST_PLATFORMS: usize = 16;

/// The shared caches that a build reads.
pub(crate) struct SharedCaches {
    sources: Vec<Source>,
    client: Arc<Client>,
    reporter: Arc<dyn Reporter>,
    patience: Duration,
}

/// One cache.
struct Source {
    place: CachePlace,
    /// What its index has; read at the first question.
    index: OnceCell<Index>,
    /// Set when it failed: it is not asked again in this build.
    given_up: AtomicBool,
}

/// What is known of a cache after its first answer.
#[derive(Default)]
struct Index {
    records: HashMap<Digest, Record>,
    /// Whether records that are not in the index may stand under tags of their own.
    has_tags: bool,
}

/// A layer that a shared cache has.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// Which cache has it.
    pub(crate) place: CachePlace,
    /// The record.
    pub(crate) record: Record,
    /// How long the cache may take.
    patience: Duration,
}

impl Offer {
    /// What comes of bringing the layer, unless it comes too slowly.
    pub(crate) async fn in_time<T>(&self, bring: impl Future<Output = error::Result<T>>) -> error::Result<T> {
        let brought = within(self.patience, self.record.blob.size, bring).await;
        brought.map_err(error::Error::invalid)?
    }
}

impl SharedCaches {
    pub(crate) fn new(settings: &CacheSettings, client: Arc<Client>, reporter: Arc<dyn Reporter>) -> Self {
        let source = |place: &CachePlace| Source {
            place: place.clone(),
            index: OnceCell::new(),
            given_up: AtomicBool::new(false),
        };
        let sources = settings.from.iter().map(source).collect();
        Self { sources, client, reporter, patience: settings.patience }
    }

    /// The record of a key, from the first cache that has one. No layer moves. Costs one question to a registry for a
    /// key that no index has, and nothing for one that an index has.
    pub(crate) async fn find(&self, key: &Digest) -> Option<Offer> {
        for source in &self.sources {
            if source.given_up.load(Ordering::Relaxed) {
                continue;
            }
            let patience = self.patience;
            match within(patience, 0, self.ask(source, key)).await {
                Ok(Ok(Some(record))) => return Some(Offer { place: source.place.clone(), record, patience }),
                Ok(Ok(None)) => {}
                Ok(Err(reason)) | Err(reason) => self.give_up(source, &reason),
            }
        }
        None
    }

    /// Does not ask the cache at `place` again: what it promised it did not have.
    pub(crate) fn distrust(&self, place: &str, reason: &str) {
        for source in self.sources.iter().filter(|source| source.place.to_string() == place) {
            self.give_up(source, reason);
        }
    }

    fn give_up(&self, source: &Source, reason: &str) {
        if !source.given_up.swap(true, Ordering::Relaxed) {
            let message = format!("the cache `{}` is not used: {reason}", source.place);
            self.reporter.event(Event::Warning { message });
        }
    }

    async fn ask(&self, source: &Source, key: &Digest) -> Result<Option<Record>, String> {
        let index = source.index.get_or_try_init(|| self.index(&source.place)).await?;
        if let Some(record) = index.records.get(key) {
            return Ok(Some(record.clone()));
        }
        if !index.has_tags {
            return Ok(None);
        }
        let found = match &source.place {
            CachePlace::Registry(reference) => {
                let tag = record_tag(reference.tag().unwrap_or("latest"), key);
                let reference = reference.with_tag(&tag).map_err(|error| error.to_string())?;
                self.tagged(&reference).await?
            }
            CachePlace::Directory { .. } => Vec::new(),
        };
        Ok(found.into_iter().find(|record| record.key == *key))
    }

    async fn index(&self, place: &CachePlace) -> Result<Index, String> {
        match place {
            CachePlace::Registry(reference) => {
                let index = read_registry(&self.client, reference).await?;
                if index.is_none() {
                    let message = format!("the cache `{place}` has nothing yet");
                    self.reporter.event(Event::Warning { message });
                }
                let (records, has_tags) = index.unwrap_or((Vec::new(), true));
                Ok(Index { records: by_key(records), has_tags })
            }
            CachePlace::Directory { path, tag } => {
                let (path, tag) = (path.clone(), tag.clone());
                let read = task::blocking(move || Ok(read_directory(&path, &tag))).await;
                let records = read.map_err(|error| error.to_string())??;
                Ok(Index { records: by_key(records), has_tags: false })
            }
        }
    }

    /// The records under a tag; none where there is no such tag.
    async fn tagged(&self, reference: &Reference) -> Result<Vec<Record>, String> {
        Ok(read_registry(&self.client, reference).await?.map(|(records, _)| records).unwrap_or_default())
    }
}

fn by_key(records: Vec<Record>) -> HashMap<Digest, Record> {
    records.into_iter().map(|record| (record.key, record)).collect()
}

/// The records that a tag leads to, and whether it is a cache (which may have more of them) and no image. `None` where
/// there is no such tag.
pub(super) async fn read_registry(
    client: &Client,
    reference: &Reference,
) -> Result<Option<(Vec<Record>, bool)>, String> {
    let manifest = match client.manifest(reference).await {
        Ok(manifest) => manifest,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(chain(&error)),
    };
    match &manifest.content {
        ManifestContent::Image { config, .. } if config.media_type == format::CONFIG => {
            let pinned = reference.with_digest(manifest.digest());
            let bytes = client.blob(&pinned, config, DOCUMENT_LIMIT).await.map_err(|error| chain(&error))?;
            Ok(Some((format::records(&bytes), true)))
        }
        ManifestContent::Image { .. } => Ok(Some((format::carried(&manifest), false))),
        ManifestContent::Index { manifests, .. } => {
            let mut records = Vec::new();
            for child in manifests.iter().take(MOST_PLATFORMS) {
                let child = client.manifest(&reference.with_digest(child.digest)).await;
                records.extend(format::carried(&child.map_err(|error| chain(&error))?));
            }
            Ok(Some((records, false)))
        }
    }
}

/// The records of a cache in a directory; none where there is no directory yet.
fn read_directory(path: &std::path::Path, tag: &str) -> Result<Vec<Record>, String> {
    if !path.exists() {
        return Err("there is no such directory yet".to_owned());
    }
    let text = |error: layer_store::Error| error.to_string();
    let layout = LayoutDirectory::open(path).map_err(text)?;
    let begin = record_tag(tag, &Digest::from_bytes([0; 32]));
    let begin = begin.trim_end_matches('0');
    let mut records = Vec::new();
    for descriptor in layout.descriptors() {
        let name = descriptor.annotations.get(annotation::REF_NAME).map_or("", String::as_str);
        if !name.starts_with(begin) {
            continue;
        }
        let Some(raw) = layout.read(descriptor, DOCUMENT_LIMIT).map_err(text)? else { continue };
        let manifest = Manifest::parse(raw, Some(&descriptor.media_type)).map_err(text)?;
        if let ManifestContent::Image { config, .. } = &manifest.content
            && config.media_type == format::CONFIG
            && let Some(bytes) = layout.read(config, DOCUMENT_LIMIT).map_err(text)?
        {
            records.extend(format::records(&bytes));
        }
    }
    Ok(records)
}

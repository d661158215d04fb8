//! Writing results to shared caches, beside the build: each result is on its way as soon as it is known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layer_store::error::chain;
use layer_store::layout::{self, ExportImage};
use layer_store::manifest::{ManifestContent, media_type};
use layer_store::{Descriptor, Digest, Manifest, Platform, Store};
use registry_client::{Client, PushRequest, Reference};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::format::{self, Record};
use super::read::read_registry;
use super::{CachePlace, CacheSettings, CacheTarget, Offer, record_tag, within};
use crate::error::{Error, Result};
use crate::graph::NodeId;
use crate::output::Packing;
use crate::solve::Layers;
use crate::task;

/// A result that may be written to caches.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    /// The node that made it; `None` for what belongs to no step, as a cache mount.
    pub(crate) node: Option<NodeId>,
    /// Its key.
    pub(crate) key: Digest,
    /// The layer.
    pub(crate) diff_id: Digest,
    /// When it was made, RFC 3339.
    pub(crate) created: String,
    /// As people read it.
    pub(crate) name: String,
}

/// Writes results to the caches of a build while it runs.
pub(crate) struct Exporter {
    writers: Mutex<Vec<Running>>,
}

/// A writer at work on one cache.
struct Running {
    place: CachePlace,
    sender: mpsc::UnboundedSender<Exported>,
    task: JoinHandle<std::result::Result<usize, String>>,
}

impl Exporter {
    /// An exporter to `targets`; nothing where none is a cache of its own. `in_image` are the nodes whose layers are part
    /// of an image.
    pub(crate) fn start(
        settings: &CacheSettings,
        in_image: &HashSet<NodeId>,
        store: &Arc<Store>,
        client: &Arc<Client>,
        packing: Packing,
        layers: &Layers,
    ) -> Self {
        let mut writers = Vec::new();
        for target in &settings.to {
            let CacheTarget::Place { place, all_steps } = target else { continue };
            let (sender, receiver) = mpsc::unbounded_channel();
            let writer = Writer {
                store: store.clone(),
                client: client.clone(),
                layers: layers.clone(),
                packing,
                patience: settings.patience,
                only: (!all_steps).then(|| in_image.clone()),
            };
            let task = tokio::spawn(writer.run(place.clone(), receiver));
            writers.push(Running { place: place.clone(), sender, task });
        }
        Self { writers: Mutex::new(writers) }
    }

    /// Sends a result on its way.
    pub(crate) fn add(&self, exported: &Exported) {
        for writer in self.writers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A writer that has given up reports that at the end.
            let _ = writer.sender.send(exported.clone());
        }
    }

    /// Waits until all is written. For each cache: how many results are new in it, or why it could not be written.
    pub(crate) async fn finish(&self) -> Vec<(CachePlace, std::result::Result<usize, String>)> {
        let writers = std::mem::take(&mut *self.writers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ends = Vec::new();
        for Running { place, sender, task } in writers {
            drop(sender);
            ends.push((place, task.await.unwrap_or_else(|error| Err(error.to_string()))));
        }
        ends
    }
}

struct Writer {
    store: Arc<Store>,
    client: Arc<Client>,
    layers: Layers,
    packing: Packing,
    patience: Duration,
    only: Option<HashSet<NodeId>>,
}

impl Writer {
    async fn run(
        self,
        place: CachePlace,
        receiver: mpsc::UnboundedReceiver<Exported>,
    ) -> std::result::Result<usize, String> {
        match place {
            CachePlace::Registry(reference) => self.to_registry(&reference, receiver).await,
            CachePlace::Directory { path, tag } => self.to_directory(&path, &tag, receiver).await,
        }
    }

    /// Whether this cache takes the result.
    fn takes(&self, exported: &Exported) -> bool {
        match (&self.only, exported.node) {
            (Some(only), Some(node)) => only.contains(&node),
            _ => true,
        }
    }

    async fn to_registry(
        &self,
        reference: &Reference,
        mut receiver: mpsc::UnboundedReceiver<Exported>,
    ) -> std::result::Result<usize, String> {
        let tag = reference.tag().unwrap_or("latest").to_owned();
        let known = self.read(reference).await?;
        if let Some((_, false)) = known {
            return Err("an image has that name; a cache needs one of its own".to_owned());
        }
        let mut all: BTreeMap<Digest, Record> = BTreeMap::new();
        for record in known.map(|(records, _)| records).unwrap_or_default() {
            all.insert(record.key, record);
        }
        let mut own = Vec::new();
        while let Some(exported) = receiver.recv().await {
            let same = |known: &Record| known.diff_id == exported.diff_id;
            if !self.takes(&exported) || all.get(&exported.key).is_some_and(same) {
                continue;
            }
            let (record, origins) = self.record(exported, Some(reference)).await?;
            let (manifest, config) = format::manifest(vec![record.clone()]);
            let tagged =
                reference.with_tag(&record_tag(&tag, &record.key)).map_err(|error| error.to_string())?;
            self.push(&tagged, manifest, config, origins).await?;
            all.insert(record.key, record.clone());
            own.push(record);
        }
        if own.is_empty() {
            return Ok(0);
        }
        // Others may have written meanwhile; what two writers overlook of each other stands under its own tag.
        if let Ok(Some((records, true))) = self.read(reference).await {
            for record in records {
                all.entry(record.key).or_insert(record);
            }
        }
        let (manifest, config) = format::manifest(all.into_values().collect());
        if self.push(reference, manifest, config, BTreeMap::new()).await.is_err() {
            // The registry may have lost blobs of others since.
            let (manifest, config) = format::manifest(own.clone());
            self.push(reference, manifest, config, BTreeMap::new()).await?;
        }
        Ok(own.len())
    }

    /// As [`read_registry`], from a registry that answers in time.
    async fn read(&self, reference: &Reference) -> std::result::Result<Option<(Vec<Record>, bool)>, String> {
        within(self.patience, 0, read_registry(&self.client, reference)).await?
    }

    async fn push(
        &self,
        reference: &Reference,
        manifest: Manifest,
        config: Vec<u8>,
        origins: BTreeMap<Digest, Reference>,
    ) -> std::result::Result<(), String> {
        let store = self.store.clone();
        let put = task::blocking(move || Ok(store.put_blob(&config)?));
        put.await.map_err(|error| chain(&error))?;
        let blobs = match &manifest.content {
            ManifestContent::Image { layers, .. } => layers.iter().map(|layer| layer.size).sum(),
            ManifestContent::Index { .. } => 0,
        };
        let request = PushRequest { manifests: vec![manifest], origins, ..PushRequest::default() };
        let push = self.client.push(reference, &self.store, request);
        within(self.patience, blobs, push).await?.map_err(|error| chain(&error))?;
        Ok(())
    }

    /// The record of a result: its layer is compressed now, unless a registry has a blob of it.
    async fn record(
        &self,
        exported: Exported,
        target: Option<&Reference>,
    ) -> std::result::Result<(Record, BTreeMap<Digest, Reference>), String> {
        let (store, packing, diff_id) = (self.store.clone(), self.packing, exported.diff_id);
        let (blob, origins) = if let Some(Offer { place, record, .. }) = self.layers.offered(&diff_id) {
            let mut origins = BTreeMap::new();
            if let (CachePlace::Registry(from), Some(_)) = (&place, target) {
                origins.insert(record.blob.digest, from.clone());
            } else {
                self.layers.bytes(&[diff_id]).await.map_err(|error| chain(&error))?;
            }
            (record.blob, origins)
        } else {
            let compress = move || Ok(store.layer_blob(&diff_id, packing.compression, packing.force)?);
            let blob = task::blocking(compress).await.map_err(|error| chain(&error))?;
            (blob, BTreeMap::new())
        };
        let mut blob = Descriptor::new(media_type::oci(&blob.media_type), blob.digest, blob.size);
        blob.annotations.clear();
        let Exported { key, diff_id, created, name, .. } = exported;
        Ok((Record { key, diff_id, created, name, blob }, origins))
    }

    async fn to_directory(
        &self,
        path: &Path,
        tag: &str,
        mut receiver: mpsc::UnboundedReceiver<Exported>,
    ) -> std::result::Result<usize, String> {
        let mut records: HashMap<Digest, Record> = HashMap::new();
        while let Some(exported) = receiver.recv().await {
            if self.takes(&exported) {
                let (record, _) = self.record(exported, None).await?;
                records.insert(record.key, record);
            }
        }
        let (store, path, tag) = (self.store.clone(), path.to_owned(), tag.to_owned());
        let write = move || write_directory(&store, &path, &tag, records.into_values().collect());
        task::blocking(write).await.map_err(|error| chain(&error))
    }
}

/// Adds records to the layout at `path`; one writer after the other.
fn write_directory(store: &Store, path: &Path, tag: &str, records: Vec<Record>) -> Result<usize> {
    let failed = |action: &'static str, source: std::io::Error| Error::File {
        action,
        path: path.display().to_string(),
        source: Arc::new(source),
    };
    std::fs::create_dir_all(path).map_err(|error| failed("create", error))?;
    let directory = File::open(path).map_err(|error| failed("open", error))?;
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed("lock", error.into()))?;
    let mut images = Vec::with_capacity(records.len());
    for record in records {
        let names = vec![format!("rbuild.local/cache:{}", record_tag(tag, &record.key))];
        let (manifest, config) = format::manifest(vec![record]);
        store.put_blob(&config)?;
        images.push(ExportImage { manifest, platform: None::<Platform>, names });
    }
    if !images.is_empty() {
        layout::write_directory(store, &images, path)?;
    }
    Ok(images.len())
}

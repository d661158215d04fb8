//! Makes the forms of layers present that a step needs, and nothing more.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use layer_store::layer::Form;
use layer_store::layout::LayoutDirectory;
use layer_store::{Descriptor, Digest, Store, View};
use registry_client::{Client, Reference};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cache::{CachePlace, Offer};
use crate::error::{Error, Result};
use crate::graph::{Graph, Op};
use crate::resolve::RemoteBlob;
use crate::task::{self, Awaited};

/// Brings layers from registries and from one form into another, each at most once. When its last clone is dropped,
/// what is still on its way is stopped.
#[derive(Clone)]
pub struct Layers {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

struct Inner {
    store: Arc<Store>,
    client: Arc<Client>,
    remote: HashMap<Digest, RemoteBlob>,
    /// Layers that shared caches have.
    offers: Mutex<HashMap<Digest, Offer>>,
    pending: Mutex<HashMap<(Digest, Want), Awaited<()>>>,
    /// Who brings a layer holds its turn: another one who wants another form of it finds that done.
    turns: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    stop: CancellationToken,
}

/// What of a layer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Want {
    Index,
    Bytes,
    Tar,
    Tree,
}

impl Layers {
    pub(crate) fn new(store: Arc<Store>, client: Arc<Client>, graph: &Graph) -> Self {
        let remote = graph
            .nodes()
            .filter_map(|(_, node)| match &node.op {
                Op::Image(base) => Some(base),
                _ => None,
            })
            .flat_map(|base| &base.layers)
            .filter_map(|layer| layer.remote.clone().map(|remote| (layer.diff_id, remote)))
            .collect();
        Self::with(store, client, remote)
    }

    fn with(store: Arc<Store>, client: Arc<Client>, remote: HashMap<Digest, RemoteBlob>) -> Self {
        let (offers, pending, turns) = (Mutex::default(), Mutex::default(), Mutex::default());
        let stop = CancellationToken::new();
        let guard = Arc::new(stop.clone().drop_guard());
        Self { inner: Arc::new(Inner { store, client, remote, offers, pending, turns, stop }), _stop: guard }
    }

    /// Takes note of a layer that a shared cache has. Nothing moves.
    pub(crate) fn offer(&self, offer: Offer) {
        self.inner.offers().entry(offer.record.diff_id).or_insert(offer);
    }

    /// The shared cache that offered a layer which is not here; `None` for one that is.
    pub(crate) fn offered(&self, layer: &Digest) -> Option<Offer> {
        let offer = self.inner.offers().get(layer).cloned()?;
        let here = self.inner.store.has_layer(layer) && self.inner.store.has_bytes(layer);
        (!here && !self.inner.remote.contains_key(layer)).then_some(offer)
    }

    /// For images of the store: what is not here is fetched from where the store knows it to be.
    pub(crate) fn of_store(store: Arc<Store>, client: Arc<Client>) -> Self {
        Self::with(store, client, HashMap::new())
    }

    /// The filesystem that a stack of layers makes. Fetches layers whose index is not here.
    pub async fn view(&self, layers: &[Digest]) -> Result<View> {
        self.all(layers, Want::Index).await?;
        let (store, layers) = (self.inner.store.clone(), layers.to_vec());
        task::blocking(move || Ok(store.view(&layers)?)).await
    }

    /// The trees of a stack of layers, bottom first, each once, all made side by side.
    pub async fn trees(&self, layers: &[Digest]) -> Result<Vec<PathBuf>> {
        self.all(layers, Want::Tree).await?;
        let (store, layers) = (self.inner.store.clone(), layers.to_vec());
        task::blocking(move || Ok(each_once(store.trees(&store.view(&layers)?)?))).await
    }

    /// Makes the bytes of these layers present in some form.
    pub async fn bytes(&self, layers: &[Digest]) -> Result<()> {
        self.all(layers, Want::Bytes).await
    }

    /// Makes these layers present so that they can be written out as they travel.
    pub async fn tars(&self, layers: &[Digest]) -> Result<()> {
        self.all(layers, Want::Tar).await
    }

    /// Makes these layers present as far as [`crate::output::pack`] needs it: all of them if they shall be `local`, else
    /// those of which nobody knows for sure where they are.
    pub(crate) async fn for_packing(&self, layers: &[Digest], local: bool) -> Result<()> {
        if local {
            return self.tars(layers).await;
        }
        let (store, mut wanted) = (&self.inner.store, Vec::new());
        for layer in layers {
            if self.offered(layer).is_none()
                && crate::output::elsewhere(store, layer, store.blob_records(layer)?).is_none()
            {
                wanted.push(*layer);
            }
        }
        self.tars(&wanted).await
    }

    async fn all(&self, layers: &[Digest], want: Want) -> Result<()> {
        try_join_all(layers.iter().map(|layer| self.one(*layer, want))).await.map(|_| ())
    }

    fn one(&self, layer: Digest, want: Want) -> Awaited<()> {
        let mut pending = self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending
            .entry((layer, want))
            .or_insert_with(|| {
                let inner = self.inner.clone();
                task::start(async move {
                    tokio::select! {
                        biased;
                        () = inner.stop.cancelled() => Err(Error::Cancelled),
                        made = inner.make(layer, want) => made,
                    }
                })
            })
            .clone()
    }
}

impl Inner {
    fn offers(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, layer: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(layer).or_default().clone()
    }

    async fn make(&self, layer: Digest, want: Want) -> Result<()> {
        let store = self.store.clone();
        let form = if want == Want::Tree { Form::Tree } else { Form::Index };
        let turn = self.turn(layer);
        let _turn = turn.lock().await;
        let here = task::blocking(move || {
            let known = store.has_layer(&layer);
            let bytes = known
                && match want {
                    Want::Index => true,
                    Want::Tar => store.has_tar_source(&layer),
                    Want::Bytes | Want::Tree => store.has_bytes(&layer),
                };
            if bytes && want == Want::Tree {
                store.tree(&layer)?;
            }
            Ok(bytes || apply_known_blob(&store, &layer, form)?)
        })
        .await?;
        if here {
            return Ok(());
        }
        let offer = self.offers().get(&layer).cloned();
        match (self.remote.get(&layer), offer) {
            (Some(remote), _) => self.fetch(layer, remote, form).await,
            (None, Some(offer)) => self.take_offer(layer, offer, form).await,
            (None, None) => {
                let mut result = Err(Error::LostLayer { diff_id: layer });
                for remote in crate::stored::remotes(&self.store, &layer)? {
                    result = self.fetch(layer, &remote, form).await;
                    if result.is_ok() {
                        break;
                    }
                }
                result
            }
        }
    }

    /// Brings a layer from the shared cache that has it.
    async fn take_offer(&self, layer: Digest, offer: Offer, form: Form) -> Result<()> {
        let (place, blob) = (offer.place.clone(), offer.record.blob.clone());
        let taken = match &place {
            CachePlace::Registry(reference) => {
                let Descriptor { media_type, digest, size, .. } = blob;
                let remote = RemoteBlob { media_type, digest, size, repository: reference.name() };
                offer.in_time(self.fetch(layer, &remote, form)).await
            }
            CachePlace::Directory { path, .. } => {
                let (store, path) = (self.store.clone(), path.clone());
                task::blocking(move || {
                    if !LayoutDirectory::open(&path)?.take(&store, &blob)? {
                        return Err(Error::LostLayer { diff_id: layer });
                    }
                    Ok(store.take_blob(&layer, &blob, form)?)
                })
                .await
            }
        };
        taken.map_err(|error| match error {
            Error::Cancelled => Error::Cancelled,
            error => Error::SharedCache { cache: place.to_string(), source: Arc::new(error) },
        })
    }

    /// Downloads, inflates, checks and extracts in one pipeline.
    async fn fetch(&self, layer: Digest, remote: &RemoteBlob, form: Form) -> Result<()> {
        let store = &self.store;
        let reference = Reference::parse(&remote.repository).map_err(|error| Error::ImageName {
            name: remote.repository.clone(),
            reason: error.to_string(),
        })?;
        let descriptor: Descriptor = remote.descriptor();
        let mut applying = None;
        let fetched = self
            .client
            .fetch(&reference, &descriptor, store, |ingest| {
                // If the pipe cannot be had, the layer is read from the finished blob below.
                applying = ingest.follow().ok().map(|mut reader| {
                    let store = store.clone();
                    tokio::task::spawn_blocking(move || store.apply(&mut reader, &layer, form))
                });
            })
            .await;
        let applied = match applying {
            Some(work) => Some(work.await.map_err(|error| task::lost(&error))?),
            None => None,
        };
        fetched.map_err(|source| Error::Registry {
            what: format!("layer {} of {}", remote.digest.short(), remote.repository),
            source: Arc::new(source),
        })?;
        let store = store.clone();
        task::blocking(move || {
            // Only what was read is certain to hold this layer.
            match applied.transpose()? {
                Some(true) => Ok(store.remember_blob(&layer, &descriptor)?),
                Some(false) | None => Ok(store.take_blob(&layer, &descriptor, form)?),
            }
        })
        .await
    }
}

/// Makes a layer of a blob that is here already, as it came with an archive. Whether there was one.
fn apply_known_blob(store: &Store, layer: &Digest, form: Form) -> Result<bool> {
    for blob in store.known_blobs(layer)? {
        if store.blob_size(&blob.digest)?.is_none() {
            continue;
        }
        match store.take_blob(layer, &blob, form) {
            Ok(()) => return Ok(true),
            Err(error @ layer_store::Error::Io { .. }) => return Err(error.into()),
            // It does not hold the layer, whoever said so.
            Err(_) => {}
        }
    }
    Ok(false)
}

/// Leaves out trees that occur again further up: overlayfs takes none twice, and the upper one shows and hides all that
/// the lower one does.
fn each_once(trees: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let mut kept: Vec<PathBuf> = trees.into_iter().rev().filter(|tree| seen.insert(tree.clone())).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_one_of_two_stays() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(each_once(paths(&["a", "b", "a", "c", "b"])), paths(&["a", "c", "b"]));
    }
}

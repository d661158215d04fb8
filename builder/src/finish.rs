//! From solved filesystems to finished images: configurations, names and outputs.

use std::collections::HashMap;
use std::sync::Arc;

use layer_store::manifest::media_type;
use layer_store::store::PlatformImage;
use layer_store::{Descriptor, Digest, ImageConfig, Manifest, Store};

use crate::attest::{Said, Story};
use crate::build::{BuildRequest, Built, BuiltImage};
use crate::cache::{CachePlace, CacheTarget};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::event::{Event, Outcome};
use crate::graph::NodeId;
use crate::image;
use crate::lower::{HistoryEntry, TargetImage};
use crate::output::{self, ImageLayers, Output, Packed};
use crate::resolve::RemoteBlob;
use crate::solve::Solver;
use crate::stored;
use crate::task;

/// An image whose layers are known.
pub(crate) struct FinishedImage {
    /// Its filesystem in the graph.
    pub(crate) node: NodeId,
    /// What the caller learns.
    pub(crate) built: BuiltImage,
    /// What outputs need.
    pub(crate) layers: ImageLayers,
}

impl Engine {
    /// Solves the filesystem of an image, asks each step of its history when it was made, and puts the configuration
    /// into the store.
    pub(crate) async fn solve_target(
        &self,
        solver: &Solver,
        request: &BuildRequest,
        target: &TargetImage,
    ) -> Result<FinishedImage> {
        let filesystem = solver.solve(target.node).await?;
        let mut times = HashMap::new();
        for entry in &target.history {
            if let HistoryEntry::Layer { node, .. } = entry
                && let Some(created) = solver.solve(*node).await?.created.clone()
            {
                times.insert(*node, image::StepTime { created, name: solver.step_name(*node) });
            }
        }
        let mut layers = filesystem.layers.clone();
        let mut target = target.clone();
        if request.squash {
            layers = self.squash(solver, &mut target, layers).await?;
        }
        target.config.config.labels.extend(request.labels.clone());
        let fallback = first_seen(&self.store, &target.config, &layers)?;
        let time = |node| times.get(&node).cloned();
        let config = image::finish(&target, &layers, &time, &fallback, request.epoch);
        let config_bytes = config.to_bytes();
        let id = self.store.put_blob(&config_bytes)?;
        let size = config_bytes.len() as u64;
        let image_layers = self.image_layers(solver, request, &target, config_bytes, &layers);
        Ok(FinishedImage {
            node: target.node,
            built: BuiltImage { platform: target.platform, id, size, config },
            layers: image_layers,
        })
    }

    /// Makes one layer of all that the build made, on top of the base image's. The history keeps its lines; the last one
    /// of a step has the layer.
    async fn squash(
        &self,
        solver: &Solver,
        target: &mut TargetImage,
        layers: Vec<Digest>,
    ) -> Result<Vec<Digest>> {
        let own = target.history.iter().filter(|entry| matches!(entry, HistoryEntry::Layer { .. })).count();
        if own < 2 {
            return Ok(layers);
        }
        let base = layers[..layers.len() - own.min(layers.len())].to_vec();
        solver.layers().bytes(&layers[base.len()..]).await?;
        let (below, whole) = tokio::try_join!(solver.layers().view(&base), solver.layers().view(&layers))?;
        let store = self.store.clone();
        let one = task::blocking(move || output::flat::squashed(&store, &below, &whole)).await?;
        let steps =
            target.history.iter_mut().rev().filter(|entry| matches!(entry, HistoryEntry::Layer { .. }));
        for entry in steps.skip(1) {
            if let HistoryEntry::Layer { created_by, .. } = entry {
                *entry = HistoryEntry::Empty { created_by: std::mem::take(created_by) };
            }
        }
        Ok(base.into_iter().chain([one]).collect())
    }

    /// What outputs need of an image: its layers, where those are that are not here, and what its manifest carries.
    fn image_layers(
        &self,
        solver: &Solver,
        request: &BuildRequest,
        target: &TargetImage,
        config_bytes: Vec<u8>,
        layers: &[Digest],
    ) -> ImageLayers {
        let TargetImage { node, platform, .. } = target;
        let mut image = ImageLayers::new(config_bytes, layers.to_vec());
        let of_manifest = request
            .annotations
            .iter()
            .filter(|one| one.manifest && one.platform.as_ref().is_none_or(|wanted| wanted == platform));
        image.annotations = of_manifest.map(|one| (one.key.clone(), one.value.clone())).collect();
        image.offers =
            layers.iter().filter_map(|layer| Some((*layer, solver.layers().offered(layer)?))).collect();
        if request.cache.to.contains(&CacheTarget::Inline) {
            let chain = solver.chain(*node);
            image.carried = solver
                .exported()
                .into_iter()
                .filter(|step| step.node.is_some_and(|node| chain.contains(&node)))
                .collect();
        }
        image
    }

    /// Brings layers that stay out of reach otherwise: a directory may be gone when the image is used.
    async fn settle(&self, solver: &Solver, images: &[FinishedImage]) -> Result<()> {
        for (layer, offer) in images.iter().flat_map(|image| &image.layers.offers) {
            if let CachePlace::Directory { .. } = &offer.place {
                solver.layers().bytes(&[*layer]).await?;
            }
        }
        Ok(())
    }

    /// Remembers where the layers of the images are, so that they can be fetched when they are needed. A cache adds
    /// nothing to what is known of a layer.
    fn remember(&self, images: &[FinishedImage]) -> Result<()> {
        for (layer, offer) in images.iter().flat_map(|image| &image.layers.offers) {
            if let CachePlace::Registry(reference) = &offer.place
                && self.store.known_blobs(layer)?.is_empty()
            {
                let Descriptor { media_type, digest, size, .. } = offer.record.blob.clone();
                let remote = RemoteBlob { media_type, digest, size, repository: reference.name() };
                output::remember_remote(&self.store, layer, &remote)?;
            }
        }
        Ok(())
    }

    /// Gives the images their names and writes the outputs.
    pub(crate) async fn finish(
        &self,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        story: &Story,
        built: &mut Built,
    ) -> Result<()> {
        self.settle(solver, images).await?;
        let said = self.statements(request, images, solver, story).await?;
        if request.describe {
            self.describe(request, images, solver, story, built);
        }
        let is_named = request.outputs.is_empty() || !request.tags.is_empty();
        // An index has to be made for its digest, which is the id of what it names.
        let has_index = images.len() > 1 || request.attestations.is_in_index();
        let packed = if request.describe || (is_named && has_index) {
            let packed = self.pack_images(request, images, solver, &said, false).await?;
            note(&packed, built);
            Some(packed)
        } else {
            None
        };
        if is_named {
            self.name(request, built, packed.as_ref().filter(|_| has_index))?;
        }
        let written = self.outputs(request, images, solver, &said, built).await;
        // What a cache did not give is made here in the next go.
        if !matches!(written, Err(Error::SharedCache { .. })) {
            self.remember(images)?;
        }
        written
    }

    async fn outputs(
        &self,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        said: &Said,
        built: &mut Built,
    ) -> Result<()> {
        for output in &request.outputs {
            let step = solver.next_step();
            let name = match output {
                Output::Oci { .. } => "exporting to OCI layout",
                Output::Docker { .. } => "exporting to Docker archive",
                Output::Tar { .. } => "exporting the filesystem as tar",
                Output::Local { .. } => "exporting the filesystem",
                Output::Registry => "pushing",
            };
            let begun = std::time::Instant::now();
            self.reporter.event(Event::StepStarted { step, name: name.to_owned() });
            if request.attestations.is_wanted() && !output.holds_attestations() {
                let message = format!("{name} leaves the attestations out: it has no place for them");
                self.reporter.event(Event::Warning { message });
            }
            let result = self.produce(output, request, images, solver, said, built).await;
            let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
            self.reporter.event(Event::StepFinished { step, outcome, elapsed: begun.elapsed() });
            result?;
        }
        Ok(())
    }

    /// Gives the images their names; with `packed` they have manifests, below an index.
    fn name(&self, request: &BuildRequest, built: &Built, packed: Option<&Packed>) -> Result<()> {
        let platforms = built.images.iter().enumerate().map(|(at, image)| PlatformImage {
            config: Descriptor::new(media_type::OCI_CONFIG, image.id, image.size),
            manifest: packed.and_then(|packed| packed.children.get(at)).map(Manifest::descriptor),
            origin: None,
        });
        let index = packed.map(|packed| packed.manifest.descriptor());
        if let Some(packed) = packed {
            self.store.put_blob(&packed.manifest.raw)?;
        }
        stored::name(&self.store, &request.tags, built.id, &platforms.collect::<Vec<_>>(), index.as_ref())
    }

    async fn produce(
        &self,
        output: &Output,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        said: &Said,
        built: &mut Built,
    ) -> Result<()> {
        let local = !matches!(output, Output::Registry);
        if matches!(output, Output::Tar { .. } | Output::Local { .. }) {
            let mut views = Vec::with_capacity(images.len());
            for image in images {
                solver.layers().bytes(&image.layers.diff_ids).await?;
                let view = solver.layers().view(&image.layers.diff_ids).await?;
                views.push((image.built.platform.clone(), view));
            }
            let (store, output, epoch) = (self.store.clone(), output.clone(), request.epoch);
            return task::blocking(move || output::write_filesystems(&store, &views, &output, epoch)).await;
        }
        // An archive of Docker has one image and nothing beside it.
        let nothing = Said::new();
        let said = if matches!(output, Output::Docker { .. }) { &nothing } else { said };
        let packed = self.pack_images(request, images, solver, said, local).await?;
        if !matches!(output, Output::Docker { .. }) || !request.attestations.is_in_index() {
            note(&packed, built);
        }
        if local {
            let (store, output, tags) = (self.store.clone(), output.clone(), request.tags.clone());
            let platform = match images {
                [one] if packed.children.is_empty() => Some(one.built.config.platform()),
                _ => None,
            };
            return task::blocking(move || output::write(&store, &packed, platform, &tags, &output)).await;
        }
        if request.tags.is_empty() {
            return Err(Error::Invalid {
                message: "there is no name to push to".to_owned(),
                help: Some("pass `-t REGISTRY/NAME:TAG`".to_owned()),
            });
        }
        for target in &request.tags {
            let pushed = output::push(&self.client, &self.store, packed.clone(), target).await;
            if let Err(error) = pushed {
                // It may have been the cache that did not give a layer; without it, it is seen who failed.
                let offer = images.iter().flat_map(|image| image.layers.offers.values()).next();
                return Err(match offer {
                    Some(offer) => {
                        Error::SharedCache { cache: offer.place.to_string(), source: Arc::new(error) }
                    }
                    None => error,
                });
            }
        }
        Ok(())
    }

    /// The manifests of the images, under an index if there are several, with what was said of them.
    async fn pack_images(
        &self,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        said: &Said,
        local: bool,
    ) -> Result<Packed> {
        // What is compressed anew has to be here, too.
        for image in images {
            solver.layers().for_packing(&image.layers.diff_ids, local || request.packing.force).await?;
        }
        let layers: Vec<_> =
            images.iter().map(|image| (image.built.config.platform(), image.layers.clone())).collect();
        let (store, packing): (Arc<Store>, _) = (self.store.clone(), request.packing);
        let of_index = request.annotations.iter().filter(|one| one.index);
        let annotations = of_index.map(|one| (one.key.clone(), one.value.clone())).collect();
        let pack = move || output::pack_all(&store, &layers, annotations, packing, local);
        let packed = task::blocking(pack).await?;
        self.attach(request, packed, said).await
    }
}

/// Remembers what the image is called outside: several, or one with attestations, go by the digest of their index.
fn note(packed: &Packed, built: &mut Built) {
    built.manifest = Some(packed.manifest.descriptor());
    if !packed.children.is_empty() {
        built.id = packed.manifest.digest();
    }
}

/// When an image of this configuration and these layers was first made here: so that an image that has no step of
/// its own is the same image when it is built again.
fn first_seen(store: &Store, config: &ImageConfig, layers: &[Digest]) -> Result<String> {
    let mut hasher = layer_store::digest::Hasher::default();
    hasher.field("image").field(config.to_bytes());
    for layer in layers {
        hasher.field(layer.as_bytes());
    }
    let key = hasher.finish();
    if let Some(time) = store.record("images-made", &key)?.and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(time);
    }
    let now = image::now();
    store.put_record("images-made", &key, now.as_bytes())?;
    Ok(now)
}

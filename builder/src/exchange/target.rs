//! Images to a location.

use std::path::Path;
use std::sync::Arc;

use layer_store::layout::{ExportImage, LayoutDirectory, create_directory};
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent};
use layer_store::{Blobs, Digest, ImageConfig, Manifest, archive, layout};
use registry_client::{Copied, Plan, Platforms, Reference, Repository, Supply, Tree};

use super::{Location, Opened, OpenedImage};
use crate::Engine;
use crate::error::{Error, Result};
use crate::output::{Destination, to};
use crate::task;

/// What is wished of a delivery.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Which platforms.
    pub platforms: Platforms,
    /// Whether nothing is to be moved, but the plan made.
    pub dry_run: bool,
}

/// One image that was delivered, or would be.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Where it is now, with its name.
    pub target: String,
    /// Its digest.
    pub digest: Digest,
    /// What moved.
    pub copied: Copied,
    /// What would move, of a dry run.
    pub plan: Option<Plan>,
}

impl Engine {
    /// Brings images to `target`. A registry gets each as its last part is there; layouts, archives and the store get
    /// their names when all are complete. What a delivery that failed has moved is not moved again.
    pub async fn deliver(&self, opened: &Opened, target: &Location, wish: &Wish) -> Result<Vec<Delivered>> {
        let mut trees = Vec::new();
        for image in &opened.images {
            let top = image.top.clone();
            trees.push(self.client.tree(&opened.supply.repositories, top, &wish.platforms).await?);
        }
        self.deliver_trees(opened, trees, target, wish.dry_run).await
    }

    /// As [`Engine::deliver`], of images whose manifests were read or made: one tree for each.
    pub async fn deliver_trees(
        &self,
        opened: &Opened,
        trees: Vec<Tree>,
        target: &Location,
        dry_run: bool,
    ) -> Result<Vec<Delivered>> {
        let many = opened.images.len() > 1;
        let mut delivered = Vec::new();
        let mut named = Vec::new();
        for (image, tree) in opened.images.iter().zip(&trees) {
            let name = name_at(target, image, many)?;
            let place = self.place(target, name.as_deref(), tree, dry_run).await?;
            let (plan, copied) = if dry_run {
                (Some(self.client.plan(tree, &opened.supply, &place, &self.store).await?), Copied::default())
            } else {
                (None, self.client.copy(tree, &opened.supply, &place, &self.store).await?)
            };
            let shown = match (target, &name) {
                (Location::Registry(_), Some(name)) => {
                    Reference::parse(name).map_or_else(|_| name.clone(), |reference| reference.familiar())
                }
                _ => target.to_string(),
            };
            delivered.push(Delivered { target: shown, digest: tree.top().digest(), copied, plan });
            named.push((tree.clone(), name));
        }
        if !dry_run {
            self.name_there(target, named, &opened.supply).await?;
        }
        Ok(delivered)
    }

    /// Where blobs go. What ends in an archive gathers in the store.
    async fn place(
        &self,
        target: &Location,
        name: Option<&str>,
        tree: &Tree,
        dry_run: bool,
    ) -> Result<Repository> {
        Ok(match target {
            Location::Registry(reference) => {
                let name = name.map_or_else(|| Ok(reference.clone()), Reference::parse)?;
                if let Some(digest) = name.digest().filter(|digest| *digest != tree.top().digest()) {
                    return Err(Error::invalid(format!(
                        "the image is {}, and cannot be put at {digest}",
                        tree.top().digest()
                    )));
                }
                Repository::Remote(name)
            }
            Location::Layout { path, .. } => {
                let path = path.clone();
                let store: Arc<dyn Blobs> = self.store.clone();
                task::blocking(move || {
                    if dry_run && !path.join("oci-layout").exists() {
                        // Nothing is made for a plan; a layout that is not there has as little as an empty store.
                        return Ok(Repository::Local(Arc::new(Nothing(store))));
                    }
                    create_directory(&path)?;
                    Ok(Repository::Local(Arc::new(LayoutDirectory::open(&path)?)))
                })
                .await?
            }
            Location::Store(_) | Location::OciArchive { .. } | Location::DockerArchive { .. } => {
                Repository::Local(self.store.clone())
            }
        })
    }

    /// Gives the images their names, where that is not done with the last manifest.
    async fn name_there(
        &self,
        target: &Location,
        images: Vec<(Tree, Option<String>)>,
        supply: &Supply,
    ) -> Result<()> {
        let store = Arc::clone(&self.store);
        let target = target.clone();
        let origin = supply.repositories.iter().find_map(|one| match one {
            Repository::Remote(reference) => Some(reference.name()),
            Repository::Local(_) => None,
        });
        task::blocking(move || {
            let exports = |images: &[(Tree, Option<String>)]| -> Vec<ExportImage> {
                images.iter().map(|(tree, name)| export(tree, name.as_ref(), &store)).collect()
            };
            match &target {
                Location::Registry(_) => Ok(()),
                Location::Layout { path, .. } => Ok(LayoutDirectory::open(path)?.list(&exports(&images))?),
                Location::OciArchive { path, .. } => {
                    write_file(path, |file| Ok(layout::write_tar(&store, &exports(&images), file)?))
                }
                Location::DockerArchive { path, .. } => {
                    write_file(path, |file| Ok(archive::write(&store, &exports(&images), file)?))
                }
                Location::Store(_) => {
                    for (tree, name) in &images {
                        let name = name.as_deref().unwrap_or_default();
                        if !tree.images().any(is_image) {
                            return Err(Error::invalid(format!(
                                "`{name}` is an artifact, and the store keeps images"
                            )));
                        }
                        crate::stored::adopt(&store, name, tree.top(), origin.as_deref())?;
                    }
                    Ok(())
                }
            }
        })
        .await
    }
}

/// A directory that has nothing, for plans about one that is still to be made.
struct Nothing(Arc<dyn Blobs>);

impl Blobs for Nothing {
    fn blob_size(&self, _digest: &Digest) -> layer_store::Result<Option<u64>> {
        Ok(None)
    }

    fn open_blob(&self, digest: &Digest) -> layer_store::Result<std::fs::File> {
        Err(layer_store::Error::Missing { what: "blob", digest: *digest })
    }

    fn read_blob(&self, digest: &Digest, _limit: u64) -> layer_store::Result<Vec<u8>> {
        Err(layer_store::Error::Missing { what: "blob", digest: *digest })
    }

    fn ingest(&self, digest: &Digest, size: u64) -> layer_store::Result<Option<layer_store::store::Ingest>> {
        self.0.ingest(digest, size)
    }

    fn put_blob(&self, bytes: &[u8]) -> layer_store::Result<Digest> {
        self.0.put_blob(bytes)
    }
}

/// The name that an image gets at `target`: the one that was written there, or what it had.
fn name_at(target: &Location, image: &OpenedImage, many: bool) -> Result<Option<String>> {
    Ok(match target {
        Location::Registry(reference) if many => {
            let tag = image
                .tag()
                .ok_or_else(|| Error::invalid("an image without a tag cannot be copied with all tags"))?;
            Some(reference.with_tag(tag)?.canonical())
        }
        // Without tag and digest the canonical name has the tag `latest`.
        Location::Registry(reference) => Some(reference.canonical()),
        Location::Store(name) => {
            let reference = Reference::parse(name)?;
            match (many, image.tag()) {
                (true, Some(tag)) => Some(reference.with_tag(tag)?.canonical()),
                _ => Some(reference.canonical()),
            }
        }
        Location::Layout { name, .. } | Location::OciArchive { name, .. } if !many => {
            name.clone().or_else(|| image.name.clone())
        }
        Location::DockerArchive { name, .. } if !many => {
            let name = name.clone().or_else(|| image.name.clone());
            name.map(|name| Reference::parse(&name).map_or(name, |reference| reference.canonical()))
        }
        _ => image.name.clone(),
    })
}

fn export(tree: &Tree, name: Option<&String>, store: &layer_store::Store) -> ExportImage {
    let manifest = tree.top().clone();
    let platform = match &manifest.content {
        ManifestContent::Image { config, .. } => store
            .read_blob(&config.digest, DOCUMENT_LIMIT)
            .ok()
            .and_then(|bytes| ImageConfig::from_slice(&bytes).ok())
            .filter(|config| !config.architecture.is_empty())
            .map(|config| config.platform()),
        ManifestContent::Index { .. } => None,
    };
    ExportImage { manifest, platform, names: name.into_iter().cloned().collect() }
}

/// Whether a manifest is that of an image, and neither an artifact nor an attestation.
pub(crate) fn is_image(manifest: &Manifest) -> bool {
    let ManifestContent::Image { config, layers, .. } = &manifest.content else { return false };
    let config = layer_store::manifest::media_type::oci(&config.media_type);
    config == layer_store::manifest::media_type::OCI_CONFIG
        && !layers.iter().any(|layer| layer.media_type.contains("in-toto"))
}

/// A file that appears when it is complete; `-` is standard output.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn std::io::Write) -> Result<()>) -> Result<()> {
    let destination =
        if path == Path::new("-") { Destination::Stdout } else { Destination::File(path.to_owned()) };
    to(&destination, write)
}

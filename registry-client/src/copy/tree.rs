//! All manifests of an image, and which platforms of it are meant.

use std::collections::HashSet;

use layer_store::manifest::{ManifestContent, media_type};
use layer_store::{Descriptor, Digest, Manifest, Platform};

use super::Repository;
use crate::client::Client;
use crate::error::Error;
use crate::select;

/// A manifest is at most this long, in bytes.
pub(super) const LARGEST_MANIFEST: u64 = 8 << 20;
/// Indexes inside indexes are legal; more than this is a trick.
const DEEPEST: usize = 4;
/// The annotation by which BuildKit's attestations name the manifest that they are about.
const ABOUT: &str = "vnd.docker.reference.digest";

/// Which platforms of an index are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Platforms {
    /// All of them, and everything else in the index.
    #[default]
    All,
    /// One or more. One: its manifest alone; several: an index of those, with the attestations about them.
    Only(Vec<Platform>),
}

/// The manifests of an image. Never empty.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Children before the indexes that name them.
    manifests: Vec<Manifest>,
}

impl Tree {
    /// A tree of these manifests, children before the indexes that name them; `top` comes last.
    #[must_use]
    pub fn of(children: Vec<Manifest>, top: Manifest) -> Self {
        let mut manifests = children;
        manifests.push(top);
        Self { manifests }
    }

    /// All manifests, children before the indexes that name them.
    #[must_use]
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The manifest that gets the name.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a tree has a manifest from its making on")]
    pub fn top(&self) -> &Manifest {
        self.manifests.last().expect("a tree is never empty")
    }

    /// The manifests of images and artifacts.
    pub fn images(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.iter().filter(|one| matches!(one.content, ManifestContent::Image { .. }))
    }

    /// The blobs that the manifests name, each once. Layers that may not be distributed stay where they are.
    #[must_use]
    pub fn blobs(&self) -> Vec<Descriptor> {
        blobs_of(self.manifests.iter()).into_iter().cloned().collect()
    }
}

/// The blobs that the manifests name, each once. Layers that may not be distributed stay where they are.
pub(crate) fn blobs_of<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Vec<&'a Descriptor> {
    let mut blobs: Vec<&Descriptor> = Vec::new();
    let mut seen = HashSet::new();
    for manifest in manifests {
        let ManifestContent::Image { config, layers, .. } = &manifest.content else { continue };
        for blob in layers.iter().chain([config]) {
            if !media_type::is_foreign(&blob.media_type) && seen.insert(blob.digest) {
                blobs.push(blob);
            }
        }
    }
    blobs
}

impl Client {
    /// Reads the manifests below `top`. One request for each that is not on this machine.
    ///
    /// # Errors
    ///
    /// Also [`Error::NoPlatform`] when a platform that was asked for is not there, and [`Error::NowhereToBeHad`] when the
    /// index names something that no place has (an image of which only one platform was pulled, for instance).
    pub async fn tree(
        &self,
        repositories: &[Repository],
        top: Manifest,
        platforms: &Platforms,
    ) -> Result<Tree, Error> {
        let top = match (platforms, &top.content) {
            (Platforms::Only(wanted), ManifestContent::Index { .. }) => {
                self.narrowed(repositories, top, wanted).await?
            }
            _ => top,
        };
        let mut tree = Tree { manifests: Vec::new() };
        let mut seen = HashSet::from([top.digest()]);
        let mut level = vec![top];
        for _ in 0..=DEEPEST {
            let mut below = Vec::new();
            for parent in &level {
                let ManifestContent::Index { manifests, .. } = &parent.content else { continue };
                for entry in manifests.iter().filter(|entry| is_manifest(entry)) {
                    if seen.insert(entry.digest) {
                        below.push(entry.clone());
                    }
                }
            }
            // Parents are read first and stand last.
            tree.manifests.splice(0..0, level);
            if below.is_empty() {
                return Ok(tree);
            }
            let reads = below.iter().map(|entry| self.manifest_from(repositories, entry));
            level = futures_util::future::try_join_all(reads).await?;
        }
        let reason = "its indexes are nested too deeply".to_owned();
        Err(Error::Store(layer_store::Error::Malformed { what: "image index", reason }))
    }

    /// The manifest of the only platform, or an index of several.
    async fn narrowed(
        &self,
        repositories: &[Repository],
        mut top: Manifest,
        wanted: &[Platform],
    ) -> Result<Manifest, Error> {
        for _ in 0..DEEPEST {
            let ManifestContent::Index { manifests, annotations } = &top.content else { return Ok(top) };
            let mut chosen: Vec<Digest> = Vec::new();
            for platform in wanted {
                let entry = select::best(manifests, platform).ok_or_else(|| Error::NoPlatform {
                    reference: top.digest().short(),
                    wanted: Box::new(platform.clone()),
                    available: select::platforms(manifests),
                })?;
                chosen.push(entry.digest);
            }
            if let [only] = wanted {
                let entry = manifests.iter().find(|entry| Some(&entry.digest) == chosen.first());
                let entry = entry.cloned().ok_or_else(|| Error::NoPlatform {
                    reference: top.digest().short(),
                    wanted: Box::new(only.clone()),
                    available: Vec::new(),
                })?;
                top = self.manifest_from(repositories, &entry).await?;
                continue;
            }
            let is_about = |entry: &Descriptor| {
                let about = entry.annotations.get(ABOUT);
                about.is_some_and(|about| chosen.iter().any(|digest| digest.to_string() == *about))
            };
            let kept: Vec<Descriptor> = manifests
                .iter()
                .filter(|entry| chosen.contains(&entry.digest) || is_about(entry))
                .cloned()
                .collect();
            return Ok(top.with_entries(&kept, annotations)?);
        }
        Ok(top)
    }
}

/// An index may name things that are no manifests; those are blobs of somebody else's making.
fn is_manifest(entry: &Descriptor) -> bool {
    media_type::is_manifest(&entry.media_type)
}

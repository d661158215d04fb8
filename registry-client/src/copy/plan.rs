//! What a copy would do.

use std::sync::Arc;

use futures_util::future::try_join_all;
use layer_store::{Descriptor, Digest, Manifest, Store};
use serde::Serialize;

use super::{Repository, Supply, Tree, size_here};
use crate::auth::scope::Scopes;
use crate::client::Client;
use crate::error::Error;
use crate::hosts::{Endpoint, HostPlan};
use crate::known;
use crate::reference::Reference;
use crate::upload::Upload;

/// What a copy would do. Nothing is changed anywhere to find out.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Manifests, in the order in which they would be written.
    pub manifests: Vec<PlannedManifest>,
    /// Blobs, each once.
    pub blobs: Vec<PlannedBlob>,
    /// Bytes of blobs that would move. Those that would be mounted are not counted; a registry may refuse to mount.
    pub bytes: u64,
}

/// A manifest of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether the target has it.
    pub there: bool,
}

/// A blob of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What would become of it.
    #[serde(flatten)]
    pub step: Step,
}

/// What would become of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum Step {
    /// The target has it.
    There,
    /// The registry would be asked to take it from this repository of its own.
    Mount {
        /// The repository, without the registry.
        from: String,
    },
    /// Its bytes would move.
    Move,
}

impl Client {
    /// What [`Client::copy`] would do. One HEAD request for each manifest and blob that a registry is not known to have.
    pub async fn plan(
        &self,
        tree: &Tree,
        supply: &Supply,
        target: &Repository,
        memory: &Arc<Store>,
    ) -> Result<Plan, Error> {
        let manifests = match target {
            Repository::Remote(reference) => self.plan_manifests_at(tree, reference).await?,
            Repository::Local(blobs) => {
                let there = tree.manifests().iter().map(|one| size_here(blobs, one.digest()));
                let there = try_join_all(there).await?;
                planned(tree.manifests(), there.into_iter().map(|size| size.is_some()))
            }
        };
        let is_there = manifests.last().is_some_and(|top| top.there);
        let blobs = tree.blobs();
        let steps = try_join_all(blobs.iter().map(|blob| async move {
            if is_there && matches!(target, Repository::Remote(_)) {
                return Ok(Step::There);
            }
            self.step(blob, supply, target, memory).await
        }))
        .await?;
        let blobs: Vec<PlannedBlob> = blobs
            .iter()
            .zip(steps)
            .map(|(blob, step)| PlannedBlob { digest: blob.digest, size: blob.size, step })
            .collect();
        let bytes = blobs.iter().filter(|blob| blob.step == Step::Move).map(|blob| blob.size).sum();
        Ok(Plan { manifests, blobs, bytes })
    }

    async fn plan_manifests_at(
        &self,
        tree: &Tree,
        reference: &Reference,
    ) -> Result<Vec<PlannedManifest>, Error> {
        let plan = self.settings().hosts.plan(reference)?;
        let endpoint = plan.for_push(reference)?;
        let scopes = Scopes::push(&endpoint.repository);
        // A registry that has the last manifest has what it names.
        let top = self.has_manifest(endpoint, reference, tree.top(), &scopes).await?;
        let children = &tree.manifests()[..tree.manifests().len() - 1];
        let mut there = if top {
            vec![true; children.len()]
        } else {
            let asked = children.iter().map(|one| self.has_manifest(endpoint, reference, one, &scopes));
            try_join_all(asked).await?
        };
        there.push(top);
        Ok(planned(tree.manifests(), there.into_iter()))
    }

    async fn step(
        &self,
        blob: &Descriptor,
        supply: &Supply,
        target: &Repository,
        memory: &Arc<Store>,
    ) -> Result<Step, Error> {
        let reference = match target {
            Repository::Local(blobs) => {
                let is_there = size_here(blobs, blob.digest).await? == Some(blob.size);
                return Ok(if is_there { Step::There } else { Step::Move });
            }
            Repository::Remote(reference) => reference,
        };
        let plan = self.settings().hosts.plan(reference)?;
        let endpoint = &Endpoint { has_alternatives: false, ..plan.for_push(reference)?.clone() };
        let upload = Upload { client: self, endpoint, reference, memory, blob };
        if upload.is_there().await? {
            return Ok(Step::There);
        }
        let places = self.places(supply, blob.digest, memory).await?;
        Ok(match sibling(&places, reference) {
            Some(from) => Step::Mount { from: from.repository().to_owned() },
            None => Step::Move,
        })
    }
}

impl Client {
    /// Repositories that may have a blob: those of the supply, then those that were seen to have it earlier, then those
    /// by which mirrors of these know it: one registry may be a mirror of others and have images of its own.
    pub(crate) async fn places(
        &self,
        supply: &Supply,
        digest: Digest,
        memory: &Arc<Store>,
    ) -> Result<Vec<Reference>, Error> {
        let remote = |one: Repository| match one {
            Repository::Remote(reference) => Some(reference),
            Repository::Local(_) => None,
        };
        let mut places: Vec<Reference> = supply.places(digest).filter_map(remote).collect();
        places.extend(known::places(memory, digest).await?);
        let hosts = &self.settings().hosts;
        let plans: Vec<HostPlan> = places.iter().filter_map(|place| hosts.plan(place).ok()).collect();
        places
            .extend(plans.iter().flat_map(|plan| &plan.endpoints).filter_map(Endpoint::repository_of_mirror));
        Ok(places)
    }
}

/// Another repository of the same registry: a blob can be mounted from there.
pub(crate) fn sibling<'a>(places: &'a [Reference], target: &Reference) -> Option<&'a Reference> {
    places.iter().find(|place| place.domain() == target.domain() && place.repository() != target.repository())
}

fn planned(manifests: &[Manifest], there: impl Iterator<Item = bool>) -> Vec<PlannedManifest> {
    let one = |(manifest, there): (&Manifest, bool)| PlannedManifest {
        digest: manifest.digest(),
        media_type: manifest.media_type.clone(),
        size: manifest.raw.len() as u64,
        there,
    };
    manifests.iter().zip(there).map(one).collect()
}

//! What a build says about its images, as in-toto statements: where they come from (provenance), and what is in them (a
//! bill of materials). [`Storage`] has the forms in which statements stand beside an image.

mod definition;
mod dependencies;
mod gather;
mod packages;
mod provenance;
mod purl;
mod sbom;
mod statement;
mod storage;

use std::collections::HashMap;

use layer_store::Platform;

use crate::build::BuildRequest;
use crate::graph::{CopySource, Graph, NodeId};
use crate::resolve::UsedBase;

pub(crate) use gather::{Said, Story};
pub(crate) use statement::Statements;
pub(crate) use storage::{Attached, attached};

/// Which attestations a build makes. None unless asked for: a plain manifest stays what it is.
#[derive(Debug, Clone, Default)]
pub struct Attestations {
    /// Provenance.
    pub provenance: Option<Provenance>,
    /// A bill of materials: the packages of the distribution's package manager.
    pub sbom: bool,
    /// How they are stored.
    pub storage: Storage,
}

/// How much provenance says.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// How much.
    pub mode: Mode,
    /// Who vouches for the builder, as a URI; empty where nobody does.
    pub builder_id: String,
    /// Whether the builder's user says that the same build gives the same bytes.
    pub reproducible: bool,
}

/// How much provenance says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// What went in, and no build arguments, labels or names of secrets.
    Min,
    /// Those too, the graph of the build and the Dockerfile.
    #[default]
    Max,
}

/// The form in which attestations are stored. Some registries refuse manifests with a `subject`, some tools know no
/// referrers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// As BuildKit does it: a manifest in the index for each image, in the shape of an image of the platform
    /// `unknown/unknown`.
    #[default]
    Index,
    /// As BuildKit does it with `oci-artifact=true`: the same place, in the shape of an artifact with a `subject`.
    Artifact,
    /// As the distribution specification has it: the image stays as it is, artifacts refer to it.
    Referrers,
}

impl Attestations {
    /// Whether there is any.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.provenance.is_some() || self.sbom
    }

    /// Whether they make an index of what would be a plain manifest.
    #[must_use]
    pub fn is_in_index(&self) -> bool {
        self.is_wanted() && self.storage != Storage::Referrers
    }
}

/// What provenance is made of.
#[derive(Clone, Copy)]
struct Facts<'a> {
    /// What was asked for.
    request: &'a BuildRequest,
    /// What was done.
    graph: &'a Graph,
    /// The filesystem of the image.
    node: NodeId,
    /// The images that names stood for.
    bases: &'a [UsedBase],
    /// What was fetched, with its commit or digest.
    fetched: &'a HashMap<CopySource, String>,
    /// When the build began and ended, RFC 3339; `None` where the result must not depend on it.
    times: Option<(&'a str, &'a str)>,
}

/// The name of an image in a statement: a package URL, as BuildKit writes it.
fn subject_name(name: &registry_client::Reference, platform: &Platform) -> String {
    purl::image(&name.canonical(), Some(platform))
}

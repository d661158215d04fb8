//! Docker archives, as `docker save` writes and `docker load` reads them: a tar with a `manifest.json`.
//!
//! What is written is an OCI layout with that document beside it, as Docker does since version 25, so it serves
//! readers of either. What is read may also be of the older form, with `<id>.json` and `<id>/layer.tar`, or an OCI
//! layout without `manifest.json`.

use serde::{Deserialize, Serialize};

mod read;
mod write;

pub use read::{LoadedImage, read};
pub use write::write;

/// One element of `manifest.json` (moby `image/spec/spec.md`, "Combined Image JSON + Filesystem Changeset Format").
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    /// Path of the configuration.
    config: String,
    /// Names with tags.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// Paths of the layers, bottom first.
    #[serde(default)]
    layers: Option<Vec<String>>,
}

//! Caches that are shared: results of steps in registries, in directories, and in images themselves.
//!
//! A record leads from the key of a step to the layer that it made, as in the store. Each record is an image manifest of
//! its own (configuration: the record; one layer), under a tag that is made of the key. So any number of writers need no
//! agreement: two that write one key write the same thing, and none overwrites what another one wrote. Beside the records
//! stands an index of many of them under the cache's own tag, which saves a reader most questions; writers merge it, and
//! what a race loses of it is still found under its own tag.
//!
//! What a cache says is believed for the builds that name it and no longer: its records never become the store's own. Its
//! layers are checked as those of an image are: the blob against its digest, the tar against its diffID.

mod format;
mod mounts;
mod read;
mod write;

use std::path::PathBuf;
use std::time::Duration;

use registry_client::Reference;

pub(crate) use format::{INLINE, Record, inline};
pub(crate) use mounts::{export as export_mount, import as import_mount};
pub(crate) use read::{Offer, SharedCaches};
pub(crate) use write::{Exported, Exporter};

/// The caches of a build.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Where results are looked for after the store, in this order.
    pub from: Vec<CachePlace>,
    /// Where results are written.
    pub to: Vec<CacheTarget>,
    /// Whether the directories of `RUN --mount=type=cache` travel too.
    pub mounts: bool,
    /// The age from which the stored result of a command is not used any more.
    pub ttl: Option<Duration>,
    /// How long a shared cache may take to answer, before the build goes on without it.
    pub patience: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        let (from, to) = (Vec::new(), Vec::new());
        Self { from, to, mounts: false, ttl: None, patience: Duration::from_secs(15) }
    }
}

/// Where a shared cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A tag of a registry: a cache, or an image that carries its own.
    Registry(Reference),
    /// An OCI layout in a directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The name of the cache in it.
        tag: String,
    },
}

/// Where results are written, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTarget {
    /// A cache of its own.
    Place {
        /// Where.
        place: CachePlace,
        /// Whether results of steps that are no part of the image are written too.
        all_steps: bool,
    },
    /// The manifest of the image carries the keys of its layers.
    Inline,
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Directory { path, .. } => path.display().fmt(f),
        }
    }
}

/// The tag of a record in a cache.
fn record_tag(cache: &str, key: &layer_store::Digest) -> String {
    // A tag has at most 128 characters.
    let cache: String = cache.chars().take(80).collect();
    format!("{cache}.step-{}", &key.hex()[..40])
}

/// Bytes that a cache has to move in a second; a slower one is worth nothing.
const SLOWEST: u64 = 64 << 10;

/// What a cache answers, or that it is too slow: after its patience, and the time that so many bytes may take.
async fn within<T>(patience: Duration, bytes: u64, answer: impl Future<Output = T>) -> Result<T, String> {
    let longest = patience + Duration::from_secs(bytes / SLOWEST);
    let late = |_| format!("there was no answer in {} s", longest.as_secs().max(1));
    tokio::time::timeout(longest, answer).await.map_err(late)
}

//! What is remembered of a step: its key leads to the layer that it made.

use layer_store::{Digest, Store};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Where step records are kept.
pub(super) const SPACE: &str = "steps";

/// Where the last layer of each COPY from a directory is kept.
const LAST: &str = "copies";

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// The layer that it made.
    pub(crate) diff_id: Digest,
    /// When, RFC 3339.
    pub(crate) created: String,
    /// The step, as people read it.
    pub(crate) name: String,
    /// Whether a shared cache said so. Such a record is believed in this build, and never kept.
    #[serde(skip)]
    pub(crate) shared: bool,
}

/// The record of that key, whether or not the layer that it names is still here. A damaged record is none.
pub(super) fn read(store: &Store, key: &Digest) -> Result<Option<StepRecord>> {
    let bytes = store.record(SPACE, key)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Remembers a result.
pub(super) fn keep(store: &Store, key: &Digest, record: &StepRecord) -> Result<()> {
    let bytes = serde_json::to_vec(record).map_err(|error| crate::Error::Internal(error.to_string()))?;
    Ok(store.put_record(SPACE, key, &bytes)?)
}

/// What a COPY made the last time at its place, which `place` is the key of: probably much like what it makes now.
pub(super) fn last_copy(store: &Store, place: &Digest) -> Option<Digest> {
    let bytes = store.record(LAST, place).ok()??;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

/// Remembers what a COPY made at its place.
pub(super) fn keep_last_copy(store: &Store, place: &Digest, diff_id: &Digest) -> Result<()> {
    Ok(store.put_record(LAST, place, diff_id.to_string().as_bytes())?)
}

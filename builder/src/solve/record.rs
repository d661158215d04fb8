//! What is remembered of a step: its key leads to the layer that it made.

use layer_store::{Digest, Store};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Where step records are kept.
pub(super) const SPACE: &str = "steps";

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepRecord {
    /// The layer that it made.
    pub(super) diff_id: Digest,
    /// When, RFC 3339.
    pub(super) created: String,
    /// The step, as people read it.
    pub(super) name: String,
}

/// The record of that key, if the layer that it names is still here. A damaged record is none.
pub(super) fn find(store: &Store, key: &Digest) -> Result<Option<StepRecord>> {
    let Some(bytes) = store.record(SPACE, key)? else { return Ok(None) };
    let record = serde_json::from_slice::<StepRecord>(&bytes).ok();
    let found = record.filter(|record| store.has_layer(&record.diff_id) && store.has_bytes(&record.diff_id));
    if found.is_some() {
        store.used_record(SPACE, key);
    }
    Ok(found)
}

/// Remembers a result.
pub(super) fn keep(store: &Store, key: &Digest, record: &StepRecord) -> Result<()> {
    let bytes = serde_json::to_vec(record).map_err(|error| crate::Error::Internal(error.to_string()))?;
    Ok(store.put_record(SPACE, key, &bytes)?)
}

//! What is remembered of a step: its key leads to the layer that it made.

use layer_store::{Digest, Store};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Where step records are kept.
pub(super) const SPACE: &str = "steps";

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// The layer that it made.
    pub(crate) diff_id: Digest,
    /// When, RFC 3339.
    pub(crate) created: String,
    /// The step, as people read it.
    pub(crate) name: String,
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

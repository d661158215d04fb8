//! What the client tells while it works: values for whoever renders them.

use layer_store::Digest;
use serde::{Deserialize, Serialize};

/// Hears what the client does. Called from async code: do not block.
pub trait Reporter: Send + Sync {
    /// A transfer went on.
    fn transfer(&self, event: Transfer);
    /// Something that a person should read once: a registry's own warning, credentials that were passed over, a mirror
    /// that is out of use for the rest of the run.
    fn notice(&self, text: &str);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn transfer(&self, _event: Transfer) {}
    fn notice(&self, _text: &str) {}
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a registry.
    Download,
    /// To a registry.
    Upload,
}

/// One step of the transfer of one blob or manifest. A digest may start more than once (another endpoint, a retry);
/// it ends with `Finished`, `Skipped` or `Mounted`, or with the error of the whole operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Transfer {
    /// Bytes begin to move.
    Started {
        /// What moves.
        digest: Digest,
        /// Its size in bytes.
        total: u64,
        /// Which way.
        direction: Direction,
        /// The registry or mirror, `host[:port]`.
        host: String,
    },
    /// So many bytes are there now, earlier ones of a resumed transfer included. May go back after a restart.
    Progress {
        /// What moves.
        digest: Digest,
        /// Bytes so far.
        bytes: u64,
    },
    /// It was there already.
    Skipped {
        /// What did not have to move.
        digest: Digest,
        /// Its size in bytes.
        total: u64,
    },
    /// The registry took it from another of its repositories.
    Mounted {
        /// What did not have to move.
        digest: Digest,
        /// The repository that has it.
        from: String,
    },
    /// It is there, complete and verified.
    Finished {
        /// What moved.
        digest: Digest,
    },
    /// Something failed and is tried again.
    Retry {
        /// What was moving, if it was a blob.
        digest: Option<Digest>,
        /// The registry or mirror, `host[:port]`.
        host: String,
        /// Why.
        reason: String,
        /// How long the client waits first, in milliseconds.
        wait_ms: u64,
    },
}

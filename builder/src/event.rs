//! What happens during a build, as values: the live view, the plain log, the log on disk and a library's user all
//! read the same stream.

use std::time::Duration;

use layer_store::Digest;
use serde::{Deserialize, Serialize};

/// Takes the events of a build as they happen, from any thread. Must not block for long.
pub trait Reporter: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _: Event) {}
}

/// A step of a build, numbered from 1 in the order in which steps are first mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u32);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A step begins to do its work, or was found done.
    StepStarted {
        /// Which.
        step: StepId,
        /// As people read it: `[build 2/4] RUN make`.
        name: String,
    },
    /// A step that has just begun could have begun earlier: it waited for its turn among the commands that may run at
    /// the same time, or for another process that was at the same step.
    StepWaited {
        /// Which.
        step: StepId,
        /// How long.
        waited: Duration,
    },
    /// A step wrote something.
    StepOutput {
        /// Which.
        step: StepId,
        /// Where to.
        stream: Stream,
        /// What, as it came: lines may be cut anywhere.
        #[serde(with = "text")]
        bytes: Vec<u8>,
    },
    /// A step is over.
    StepFinished {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
    /// Bytes move between a registry and the store.
    Transfer {
        /// Which blob.
        digest: Digest,
        /// Its name for people: the repository that it comes from or goes to.
        what: String,
        /// Whether it leaves this machine.
        upload: bool,
        /// How many bytes moved until now.
        done: u64,
        /// How many there are.
        total: u64,
    },
    /// Something that should be known but does not stop the build.
    Warning {
        /// What.
        message: String,
    },
}

/// Where output was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did its work.
    Done,
    /// Its result was known; nothing ran.
    Cached,
    /// It failed.
    Failed,
    /// Another step failed, or the user stopped the build.
    Cancelled,
}

/// Output bytes are text for people: in JSON they stand as a string, with U+FFFD for what is not UTF-8.
mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(deserializer).map(String::into_bytes)
    }
}

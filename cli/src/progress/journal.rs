//! What a build did and when, as one JSON document beside its log: for `rbuild history` and `rbuild report`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use builder::event::{Event, Outcome, Reporter, StepId};
use layer_store::Digest;
use serde::{Deserialize, Serialize};

/// What is known of a build that is over. The fields are those of the document, and of `rbuild history --format json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// When it began, RFC 3339.
    pub(crate) started: String,
    /// How long it took, in milliseconds.
    pub(crate) elapsed_ms: u64,
    /// How it ended.
    pub(crate) result: Ending,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// The names that it was to give.
    pub(crate) names: Vec<String>,
    /// The id of the image.
    pub(crate) image: Option<String>,
    /// Its steps, by number.
    pub(crate) steps: Vec<StepRecord>,
    /// The layers of the image, bottom first.
    pub(crate) layers: Vec<LayerRecord>,
    /// What moved between registries and the store.
    pub(crate) transfers: Vec<TransferRecord>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    /// There is an image.
    Done,
    /// There is none.
    Failed,
    /// It was stopped.
    Stopped,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Milliseconds after the build began.
    pub(crate) started_ms: u64,
    pub(crate) elapsed_ms: u64,
    /// How long it stood ready before it began, in milliseconds: for its turn, or for another process at the same step.
    #[serde(default)]
    pub(crate) waited_ms: u64,
    pub(crate) outcome: Outcome,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    pub(crate) created_by: String,
}

/// A blob on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TransferRecord {
    pub(crate) digest: String,
    /// The repository that it came from or went to.
    pub(crate) what: String,
    pub(crate) upload: bool,
    pub(crate) bytes: u64,
}

/// How a build ended, in detail.
pub(crate) struct End {
    pub(crate) result: Ending,
    pub(crate) error: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) layers: Vec<LayerRecord>,
}

/// Takes the events of a build for its journal.
pub(crate) struct Recorder {
    begun: Instant,
    started: String,
    names: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: BTreeMap<StepId, StepRecord>,
    transfers: Vec<TransferRecord>,
}

impl Recorder {
    /// Begins with a build that is to give these names.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let started = jiff::Timestamp::now().to_string();
        Self { begun: Instant::now(), started, names, state: Mutex::default() }
    }

    /// The journal of the build, which is over.
    pub(crate) fn finish(&self, end: End) -> Journal {
        let state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        Journal {
            started: self.started.clone(),
            elapsed_ms: millis(self.begun.elapsed()),
            result: end.result,
            error: end.error,
            names: self.names.clone(),
            image: end.image,
            steps: state.steps.into_values().collect(),
            layers: end.layers,
            transfers: state.transfers,
        }
    }
}

impl Reporter for Recorder {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StepStarted { step, name } => {
                let started_ms = millis(self.begun.elapsed());
                // Until it ends otherwise, it was stopped.
                let record = StepRecord {
                    number: step.0,
                    name,
                    started_ms,
                    elapsed_ms: 0,
                    waited_ms: 0,
                    outcome: Outcome::Cancelled,
                };
                state.steps.insert(step, record);
            }
            Event::StepWaited { step, waited } => {
                if let Some(record) = state.steps.get_mut(&step) {
                    record.waited_ms = millis(waited);
                }
            }
            Event::StepFinished { step, outcome, elapsed } => {
                if let Some(record) = state.steps.get_mut(&step) {
                    record.outcome = outcome;
                    record.elapsed_ms = millis(elapsed);
                }
            }
            Event::Transfer { digest, what, upload, done, total } if done >= total => {
                let digest = digest.to_string();
                if !state.transfers.iter().any(|one| one.digest == digest && one.what == what) {
                    state.transfers.push(TransferRecord { digest, what, upload, bytes: total });
                }
            }
            _ => {}
        }
    }
}

impl Journal {
    /// Writes it beside the log at `log`.
    pub(crate) fn write(&self, log: &Path) -> io::Result<()> {
        fs::write(log.with_extension("json"), serde_json::to_vec(self).map_err(io::Error::other)?)
    }

    /// Reads the one beside the log at `log`; `None` where the build never came to an end.
    pub(crate) fn read(log: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(log.with_extension("json")).ok()?).ok()
    }

    /// How long its steps stood ready in all, in milliseconds.
    pub(crate) fn waited_ms(&self) -> u64 {
        self.steps.iter().map(|step| step.waited_ms).sum()
    }

    /// How many steps ended so.
    pub(crate) fn count(&self, outcome: &Outcome) -> usize {
        self.steps.iter().filter(|step| step.outcome == *outcome).count()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let recorder = Recorder::new(vec!["app:1.0".to_owned()]);
        for (number, outcome) in [(1, Some(Outcome::Cached)), (2, Some(Outcome::Done)), (3, None)] {
            recorder.event(Event::StepStarted { step: StepId(number), name: format!("step {number}") });
            if let Some(outcome) = outcome {
                let waited = Duration::from_millis(3);
                recorder.event(Event::StepWaited { step: StepId(number), waited });
                let elapsed = Duration::from_millis(5);
                recorder.event(Event::StepFinished { step: StepId(number), outcome, elapsed });
            }
        }
        let end = End {
            result: Ending::Stopped,
            error: Some("it was stopped".to_owned()),
            image: None,
            layers: Vec::new(),
        };
        let journal = recorder.finish(end);
        let outcomes: Vec<&Outcome> = journal.steps.iter().map(|step| &step.outcome).collect();
        assert_eq!(outcomes, [&Outcome::Cached, &Outcome::Done, &Outcome::Cancelled]);
        assert_eq!((journal.steps[1].waited_ms, journal.waited_ms()), (3, 6));
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("x.log");
        assert_eq!(Journal::read(&log), None);
        journal.write(&log).unwrap();
        assert_eq!(Journal::read(&log), Some(journal));
    }
}

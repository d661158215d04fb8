//! Numbers steps and tells about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::event::{Event, Outcome, Reporter, StepId, Stream};

/// A shorter wait is nobody's concern.
const NOTICEABLE: Duration = Duration::from_millis(20);

/// Numbers the steps of a build in the order in which they begin.
pub(super) struct Progress {
    reporter: Arc<dyn Reporter>,
    next: AtomicU32,
}

/// A step that has begun. If it is dropped before it is finished, it counts as cancelled.
pub(super) struct StepProgress {
    reporter: Arc<dyn Reporter>,
    id: StepId,
    begun: Instant,
    over: bool,
}

impl Progress {
    pub(super) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, next: AtomicU32::new(1) }
    }

    /// The next number.
    pub(super) fn number(&self) -> StepId {
        StepId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A step begins to work.
    pub(super) fn begin(&self, name: &str) -> StepProgress {
        let id = self.number();
        self.reporter.event(Event::StepStarted { step: id, name: name.to_owned() });
        StepProgress { reporter: self.reporter.clone(), id, begun: Instant::now(), over: false }
    }

    /// A step begins to work that could have begun when it was `ready`.
    pub(super) fn begin_late(&self, name: &str, ready: Instant) -> StepProgress {
        let waited = ready.elapsed();
        let step = self.begin(name);
        if waited >= NOTICEABLE {
            self.reporter.event(Event::StepWaited { step: step.id, waited });
        }
        step
    }

    /// A step was known.
    pub(super) fn known(&self, name: &str) {
        self.begin(name).finish(Outcome::Cached);
    }
}

impl StepProgress {
    /// The step wrote something.
    pub(super) fn output(&self, stream: Stream, bytes: &[u8]) {
        self.reporter.event(Event::StepOutput { step: self.id, stream, bytes: bytes.to_vec() });
    }

    /// The step is over.
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        self.over = true;
        let elapsed = self.begun.elapsed();
        self.reporter.event(Event::StepFinished { step: self.id, outcome, elapsed });
    }
}

impl Drop for StepProgress {
    fn drop(&mut self) {
        if !self.over {
            self.end(Outcome::Cancelled);
        }
    }
}

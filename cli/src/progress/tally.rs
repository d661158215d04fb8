//! Counts what a build did, for its last line.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use builder::event::{Event, Outcome, Reporter};

/// Counts of a build.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ran: AtomicU32,
    cached: AtomicU32,
    warnings: AtomicU64,
}

impl Tally {
    /// What the steps of a build that succeeded came to: `3 steps ran, 2 cached`.
    pub(crate) fn sentence(&self) -> String {
        let (ran, cached) = (self.ran.load(Ordering::Relaxed), self.cached.load(Ordering::Relaxed));
        let steps = |count: u32| format!("{count} step{}", if count == 1 { "" } else { "s" });
        match (ran, cached) {
            (0, 0) => "no steps".to_owned(),
            (0, cached) => format!("nothing to do, {} cached", steps(cached)),
            (ran, 0) => format!("{} ran", steps(ran)),
            (ran, cached) => format!("{} ran, {cached} cached", steps(ran)),
        }
    }
}

impl Reporter for Tally {
    fn event(&self, event: Event) {
        match event {
            Event::StepFinished { outcome: Outcome::Done, .. } => {
                self.ran.fetch_add(1, Ordering::Relaxed);
            }
            Event::StepFinished { outcome: Outcome::Cached, .. } => {
                self.cached.fetch_add(1, Ordering::Relaxed);
            }
            Event::Warning { .. } => {
                self.warnings.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use builder::event::StepId;

    use super::*;

    #[test]
    fn a_build_in_one_sentence() {
        let tally = Tally::default();
        assert_eq!(tally.sentence(), "no steps");
        let finish = |outcome| {
            tally.event(Event::StepFinished { step: StepId(1), outcome, elapsed: Duration::ZERO });
        };
        finish(Outcome::Cached);
        assert_eq!(tally.sentence(), "nothing to do, 1 step cached");
        finish(Outcome::Done);
        finish(Outcome::Done);
        assert_eq!(tally.sentence(), "2 steps ran, 1 cached");
    }
}

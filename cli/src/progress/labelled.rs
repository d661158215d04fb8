//! Several builds at once in one view: each step says whose it is, and no two have one number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use builder::event::{Event, Reporter, StepId};

/// Passes the events of one of several builds on.
pub(crate) struct Labelled {
    label: String,
    onward: Arc<dyn Reporter>,
    /// The last number of a step, of all builds.
    last: Arc<AtomicU32>,
    steps: Mutex<HashMap<StepId, StepId>>,
}

impl Labelled {
    /// Of the build `label`, to what shows all of them. `last` is shared by them.
    pub(crate) fn new(label: &str, onward: Arc<dyn Reporter>, last: Arc<AtomicU32>) -> Self {
        Self { label: label.to_owned(), onward, last, steps: Mutex::default() }
    }

    fn number(&self, step: StepId) -> StepId {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        *steps.entry(step).or_insert_with(|| StepId(self.last.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// `[build 1/2] RUN x` of `web` is `[web build 1/2] RUN x`, as in BuildKit.
    fn name(&self, name: &str) -> String {
        match name.strip_prefix('[') {
            Some(rest) => format!("[{} {rest}", self.label),
            None => format!("[{}] {name}", self.label),
        }
    }
}

impl Reporter for Labelled {
    fn event(&self, event: Event) {
        self.onward.event(match event {
            Event::StepStarted { step, name } => {
                Event::StepStarted { step: self.number(step), name: self.name(&name) }
            }
            Event::StepOutput { step, stream, bytes } => {
                Event::StepOutput { step: self.number(step), stream, bytes }
            }
            Event::StepFinished { step, outcome, elapsed } => {
                Event::StepFinished { step: self.number(step), outcome, elapsed }
            }
            Event::Warning { message } => Event::Warning { message: format!("{}: {message}", self.label) },
            other => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Reporter for Kept {
        fn event(&self, event: Event) {
            if let Event::StepStarted { step, name } = event {
                self.0.lock().unwrap().push(format!("{} {name}", step.0));
            }
        }
    }

    #[test]
    fn steps_are_told_apart() {
        let (kept, last) = (Arc::new(Kept::default()), Arc::default());
        let of = |label| Labelled::new(label, kept.clone(), Arc::clone(&last));
        let (one, two) = (of("one"), of("two"));
        for (build, name) in [(&one, "[1/1] RUN a"), (&two, "[1/1] RUN a"), (&two, "pushing")] {
            let step = StepId(if name == "pushing" { 2 } else { 1 });
            build.event(Event::StepStarted { step, name: name.into() });
        }
        assert_eq!(*kept.0.lock().unwrap(), ["1 [one 1/1] RUN a", "2 [two 1/1] RUN a", "3 [two] pushing"]);
    }
}

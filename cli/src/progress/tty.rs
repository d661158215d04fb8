//! `--progress tty`: a live view. Steps that are over stay readable above; below them each running step has its time
//! and the last lines that it wrote, and each transfer its bytes and rate.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder::event::{Event, Outcome, Reporter, StepId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike as _};
use layer_store::Digest;

use super::Renderer;
use super::lines::{LineBuffer, printable, shortened};
use super::screen::Screen;
use crate::size;

/// Lines of output that a running step shows, when it runs alone.
const TAIL: usize = 6;
/// The view is drawn so many times a second.
const REFRESH: u8 = 20;
/// Steps that are done sooner show no live line, so that the view does not flicker.
const TICK: Duration = Duration::from_millis(100);

/// The live view.
pub(crate) struct Live {
    state: Mutex<State>,
    /// The terminal; `None` where the width was given and is not asked for.
    screen: Option<Screen>,
}

struct State {
    view: MultiProgress,
    /// Columns of the terminal, as it was last asked.
    width: u16,
    running: BTreeMap<StepId, Step>,
    transfers: HashMap<Digest, ProgressBar>,
    /// Steps in a row whose result was known: told in one line.
    cached: Vec<String>,
}

struct Step {
    name: String,
    bar: ProgressBar,
    started: Instant,
    line: LineBuffer,
    tail: VecDeque<String>,
    tail_bars: Vec<ProgressBar>,
}

impl Live {
    /// Starts a view on standard error. Where that is no terminal, nothing is shown.
    pub(crate) fn on_stderr() -> Self {
        let screen = Screen::new();
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), REFRESH)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { screen: Some(screen), ..Self::start(target, 80) }
    }

    /// A view on a target of this width.
    fn start(target: ProgressDrawTarget, width: u16) -> Self {
        let view = MultiProgress::with_draw_target(target);
        let (running, transfers) = (BTreeMap::new(), HashMap::new());
        let state = State { view, width, running, transfers, cached: Vec::new() };
        Self { state: Mutex::new(state), screen: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for Live {
    fn event(&self, event: Event) {
        let mut state = self.state();
        if let Some(screen) = &self.screen {
            // Asked each time: a window may be made larger or smaller during a build.
            state.width = screen.width();
        }
        match event {
            Event::StepStarted { step, name } => state.start(step, &name),
            Event::StepOutput { step, bytes, .. } => state.output(step, &bytes),
            Event::StepFinished { step, outcome, elapsed } => state.end(step, &outcome, elapsed),
            Event::Transfer { digest, what, upload, done, total } => {
                state.transfer(digest, &what, upload, done, total);
            }
            Event::Warning { message } => state.say(&format!("warning: {}", printable(&message))),
            _ => {}
        }
    }
}

impl Renderer for Live {
    fn finish(&self) {
        let mut state = self.state();
        state.tell_cached();
        let _ = state.view.clear();
        state.running.clear();
        state.transfers.clear();
        if let Some(screen) = &self.screen {
            screen.end();
        }
    }
}

impl State {
    fn start(&mut self, step: StepId, name: &str) {
        let bar = self.view.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {wide_msg} {elapsed:>5}"));
        bar.set_message(printable(name));
        bar.enable_steady_tick(TICK);
        let entry = Step {
            name: printable(name),
            bar,
            started: Instant::now(),
            line: LineBuffer::default(),
            tail: VecDeque::new(),
            tail_bars: Vec::new(),
        };
        self.running.insert(step, entry);
    }

    fn output(&mut self, step: StepId, bytes: &[u8]) {
        // Many steps at once share the room.
        let room = (TAIL / self.running.len().max(1)).max(1);
        let Some(entry) = self.running.get_mut(&step) else { return };
        for line in entry.line.push(bytes) {
            entry.tail.push_back(line.replace('\t', "    "));
        }
        while entry.tail.len() > room {
            entry.tail.pop_front();
        }
        while entry.tail_bars.len() < entry.tail.len() {
            let above = entry.tail_bars.last().unwrap_or(&entry.bar);
            let bar = self.view.insert_after(above, ProgressBar::new_spinner());
            bar.set_style(style("    {wide_msg:.dim}"));
            entry.tail_bars.push(bar);
        }
        for (at, bar) in entry.tail_bars.iter().enumerate() {
            bar.set_message(entry.tail.get(at).cloned().unwrap_or_default());
        }
    }

    fn end(&mut self, step: StepId, outcome: &Outcome, elapsed: Duration) {
        let Some(entry) = self.running.remove(&step) else { return };
        for bar in entry.tail_bars {
            bar.finish_and_clear();
            self.view.remove(&bar);
        }
        entry.bar.finish_and_clear();
        self.view.remove(&entry.bar);
        let name = entry.name;
        match outcome {
            Outcome::Cached => self.cached.push(name),
            Outcome::Done => {
                // What a step waited for does not count: `elapsed` is its own.
                let elapsed = elapsed.min(entry.started.elapsed());
                self.say(&self.over("✓", &name, &size::duration(elapsed)));
            }
            Outcome::Failed => self.say(&self.over("✗", &name, &size::duration(elapsed))),
            Outcome::Cancelled => self.say(&self.over("-", &name, "stopped")),
        }
    }

    fn transfer(&mut self, digest: Digest, what: &str, upload: bool, done: u64, total: u64) {
        if done >= total {
            if let Some(bar) = self.transfers.remove(&digest) {
                bar.finish_and_clear();
                self.view.remove(&bar);
            }
            return;
        }
        let view = &self.view;
        let bar = self.transfers.entry(digest).or_insert_with(|| {
            let bar = view.add(ProgressBar::new(total));
            bar.set_style(
                style("  {prefix} {wide_msg} {bar:20} {decimal_bytes:>9} / {decimal_total_bytes:<9} {decimal_bytes_per_sec:>11}")
                    .progress_chars("=> "),
            );
            bar.set_prefix(if upload { "↑" } else { "↓" });
            bar.set_message(format!("{} {}", printable(what), digest.short()));
            bar
        });
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Prints a line that stays, above what is live.
    fn say(&mut self, line: &str) {
        self.tell_cached();
        let _ = self.view.println(line);
    }

    /// A step that is over, in one line of the terminal: its name is cut, not its end.
    fn over(&self, mark: &str, name: &str, end: &str) -> String {
        let room = usize::from(self.width).saturating_sub(mark.chars().count() + end.chars().count() + 4);
        format!("{mark} {}  {end}", shortened(name, room.max(20)))
    }

    fn tell_cached(&mut self) {
        let cached = std::mem::take(&mut self.cached);
        let line = match &cached[..] {
            [] => return,
            [one] => self.over("=", one, "cached"),
            [.., last] => self.over(&format!("= {} steps, up to", cached.len()), last, "cached"),
        };
        let _ = self.view.println(line);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; a mistake in one shows as the default style, not as a crash.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use builder::event::Stream;
    use indicatif::InMemoryTerm;

    use super::*;

    fn screen(width: u16, events: Vec<Event>, finish: bool) -> String {
        let terminal = InMemoryTerm::new(20, width);
        let live = Live::start(ProgressDrawTarget::term_like(Box::new(terminal.clone())), width);
        for event in events {
            live.event(event);
        }
        if finish {
            live.finish();
        } else {
            // The view is drawn at most twenty times a second.
            std::thread::sleep(Duration::from_millis(300));
            live.state().running.values().for_each(|step| step.bar.tick());
        }
        terminal.contents()
    }

    fn started(step: u32, name: &str) -> Event {
        Event::StepStarted { step: StepId(step), name: name.into() }
    }

    fn finished(step: u32, outcome: Outcome) -> Event {
        Event::StepFinished { step: StepId(step), outcome, elapsed: Duration::ZERO }
    }

    fn output(step: u32, text: &str) -> Event {
        Event::StepOutput { step: StepId(step), stream: Stream::Stdout, bytes: text.into() }
    }

    #[test]
    fn finished_steps_stay_and_cache_hits_are_folded() {
        let events = vec![
            started(1, "[a 1/3] FROM x"),
            finished(1, Outcome::Cached),
            started(2, "[a 2/3] COPY . ."),
            finished(2, Outcome::Cached),
            started(3, "[a 3/3] RUN make"),
            output(3, "cc a.c\n"),
            finished(3, Outcome::Done),
            started(4, "[b 1/1] RUN test"),
            finished(4, Outcome::Failed),
        ];
        insta::assert_snapshot!(screen(80, events, true), @r"
        = 2 steps, up to [a 2/3] COPY . .  cached
        ✓ [a 3/3] RUN make  0.0s
        ✗ [b 1/1] RUN test  0.0s
        ");
    }

    #[test]
    fn a_running_step_shows_its_last_lines() {
        let lines: String = (1..=9).map(|number| format!("line {number}\n")).collect();
        let screen = screen(60, vec![started(1, "[1/1] RUN loop"), output(1, &lines)], false);
        assert!(screen.contains("[1/1] RUN loop"), "{screen}");
        assert!(
            screen.contains("line 9") && screen.contains("line 4") && !screen.contains("line 3"),
            "{screen}"
        );
    }

    #[test]
    fn a_finished_step_takes_one_line() {
        let name = format!("[1/1] RUN {}", "x".repeat(200));
        let screen = screen(40, vec![started(1, &name), finished(1, Outcome::Done)], true);
        assert_eq!(screen.lines().count(), 1, "{screen}");
        assert!(screen.starts_with("✓ [1/1] RUN xx") && screen.ends_with("…  0.0s"), "{screen}");
    }

    #[test]
    fn long_lines_do_not_wrap() {
        let screen = screen(40, vec![started(1, "[1/1] RUN x"), output(1, &("y".repeat(200) + "\n"))], false);
        assert!(screen.lines().count() <= 2, "{screen}");
    }
}

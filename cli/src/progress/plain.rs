//! `--progress plain`: lines as they come, as BuildKit writes them, for pipes and logs. In the log of a service that can
//! fold lines, what a step writes is a group.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder::event::{Event, Outcome, Reporter, StepId};
use layer_store::Digest;

use super::lines::LineBuffer;
use super::{Ci, Renderer};
use crate::size;

/// How often a transfer that goes on is mentioned.
const TRANSFER_INTERVAL: Duration = Duration::from_secs(5);

/// Writes a line for everything that happens.
pub(crate) struct Plain<W>(Mutex<State<W>>);

struct State<W> {
    output: W,
    steps: HashMap<StepId, Step>,
    transfers: HashMap<Digest, Instant>,
    /// The step that the last line was about.
    current: Option<StepId>,
    ci: Ci,
    /// The group that is open, and how many there were.
    group: Option<String>,
    groups: usize,
}

struct Step {
    name: String,
    started: Instant,
    line: LineBuffer,
}

impl<W: Write + Send> Plain<W> {
    /// A renderer that writes to `output`.
    pub(crate) fn new(output: W, ci: Ci) -> Self {
        let (steps, transfers) = (HashMap::new(), HashMap::new());
        let state = State { output, steps, transfers, current: None, ci, group: None, groups: 0 };
        Self(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&self, event: Event) {
        let mut state = self.state();
        // A log that cannot be written must not stop the build: nobody reads it any more.
        let _ = state.write(event);
    }
}

impl<W: Write + Send> Renderer for Plain<W> {}

impl<W: Write> State<W> {
    fn write(&mut self, event: Event) -> std::io::Result<()> {
        match event {
            Event::StepStarted { step, name } => {
                let entry = Step { name, started: Instant::now(), line: LineBuffer::default() };
                self.steps.insert(step, entry);
                self.turn_to(step)?;
            }
            Event::StepOutput { step, bytes, .. } => {
                let Some(known) = self.steps.get_mut(&step) else { return Ok(()) };
                let lines = known.line.push(&bytes);
                self.print(step, &lines)?;
            }
            Event::StepFinished { step, outcome, elapsed } => {
                let rest = self.steps.get_mut(&step).and_then(|known| known.line.flush());
                self.print(step, rest.as_slice())?;
                self.turn_to(step)?;
                self.close()?;
                let StepId(number) = step;
                match outcome {
                    Outcome::Done => writeln!(self.output, "#{number} DONE {}", size::duration(elapsed))?,
                    Outcome::Cached => writeln!(self.output, "#{number} CACHED")?,
                    Outcome::Failed => writeln!(self.output, "#{number} ERROR")?,
                    Outcome::Cancelled => writeln!(self.output, "#{number} CANCELED")?,
                }
                writeln!(self.output)?;
                self.steps.remove(&step);
                self.current = None;
            }
            Event::Transfer { digest, what, upload, done, total } => {
                let first = !self.transfers.contains_key(&digest);
                let due = self.transfers.get(&digest).is_some_and(|last| last.elapsed() > TRANSFER_INTERVAL);
                if first || due {
                    self.transfers.insert(digest, Instant::now());
                }
                let whole = done >= total;
                if due || whole {
                    let verb = if upload { "to" } else { "from" };
                    let moved = if whole {
                        size::bytes(total)
                    } else {
                        format!("{} / {}", size::bytes(done), size::bytes(total))
                    };
                    self.leave()?;
                    writeln!(self.output, "{} {moved} {verb} {what}", digest.short())?;
                }
            }
            Event::Warning { message } => {
                self.leave()?;
                writeln!(self.output, "warning: {}", super::printable(&message))?;
            }
            _ => {}
        }
        self.output.flush()
    }

    fn print(&mut self, step: StepId, lines: &[String]) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.turn_to(step)?;
        let StepId(number) = step;
        if self.ci != Ci::None && self.group.is_none() {
            self.groups += 1;
            let name = format!("rbuild_{}", self.groups);
            self.ci.open(&mut self.output, &name, &format!("#{number} output"))?;
            self.group = Some(name);
        }
        let started = self.steps.get(&step).map_or_else(Instant::now, |known| known.started);
        for line in lines {
            writeln!(self.output, "#{number} {:.3} {line}", started.elapsed().as_secs_f64())?;
        }
        Ok(())
    }

    /// Says which step the next lines are about, where that is another one than before.
    fn turn_to(&mut self, step: StepId) -> std::io::Result<()> {
        if self.current == Some(step) {
            return Ok(());
        }
        self.leave()?;
        if let Some(known) = self.steps.get(&step) {
            writeln!(self.output, "#{} {}", step.0, super::printable(&known.name))?;
            self.current = Some(step);
        }
        Ok(())
    }

    fn leave(&mut self) -> std::io::Result<()> {
        if let Some(StepId(number)) = self.current.take() {
            self.close()?;
            writeln!(self.output, "#{number} ...\n")?;
        }
        Ok(())
    }

    /// Ends the group of the step's output, if it wrote any.
    fn close(&mut self) -> std::io::Result<()> {
        match self.group.take() {
            Some(name) => self.ci.close(&mut self.output, &name),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use builder::event::Stream;

    use super::*;

    fn shown(events: impl IntoIterator<Item = Event>) -> String {
        shown_in(Ci::None, events)
    }

    fn shown_in(ci: Ci, events: impl IntoIterator<Item = Event>) -> String {
        let plain = Plain::new(Vec::new(), ci);
        for event in events {
            plain.event(event);
        }
        let text = String::from_utf8(plain.state().output.clone()).unwrap();
        // Times of output lines differ from run to run.
        text.lines()
            .map(|line| {
                let mut words: Vec<&str> = line.split(' ').collect();
                if words.len() > 2 && words[1].len() == 5 && words[1].parse::<f64>().is_ok() {
                    words[1] = "[time]";
                }
                words.join(" ") + "\n"
            })
            .collect()
    }

    fn started(step: u32, name: &str) -> Event {
        Event::StepStarted { step: StepId(step), name: name.to_owned() }
    }

    fn output(step: u32, text: &str) -> Event {
        Event::StepOutput { step: StepId(step), stream: Stream::Stdout, bytes: text.into() }
    }

    fn finished(step: u32, outcome: Outcome) -> Event {
        Event::StepFinished { step: StepId(step), outcome, elapsed: Duration::from_millis(1234) }
    }

    #[test]
    fn reads_like_buildkit() {
        insta::assert_snapshot!(shown([
            started(1, "[build 1/2] FROM busybox:1"),
            finished(1, Outcome::Cached),
            started(2, "[build 2/2] RUN make"),
            output(2, "cc a.c\ncc "),
            started(3, "[test 1/1] RUN check"),
            output(3, "ok 1\n"),
            output(2, "b.c\n"),
            finished(3, Outcome::Cancelled),
            output(2, "no newline at the end"),
            finished(2, Outcome::Failed),
            Event::Warning { message: "something".into() },
        ]), @r"
        #1 [build 1/2] FROM busybox:1
        #1 CACHED

        #2 [build 2/2] RUN make
        #2 [time] cc a.c
        #2 ...

        #3 [test 1/1] RUN check
        #3 [time] ok 1
        #3 ...

        #2 [build 2/2] RUN make
        #2 [time] cc b.c
        #2 ...

        #3 [test 1/1] RUN check
        #3 CANCELED

        #2 [build 2/2] RUN make
        #2 [time] no newline at the end
        #2 ERROR

        warning: something
        ");
    }

    #[test]
    fn what_a_step_writes_is_a_group() {
        let events = || {
            [
                started(1, "FROM busybox:1"),
                finished(1, Outcome::Cached),
                started(2, "RUN make"),
                output(2, "cc a.c\n"),
                started(3, "RUN check"),
                output(2, "cc b.c\n"),
                finished(2, Outcome::Done),
                finished(3, Outcome::Done),
            ]
        };
        insta::assert_snapshot!(shown_in(Ci::GitHub, events()), @r"
        #1 FROM busybox:1
        #1 CACHED

        #2 RUN make
        ::group::#2 output
        #2 [time] cc a.c
        ::endgroup::
        #2 ...

        #3 RUN check
        #3 ...

        #2 RUN make
        ::group::#2 output
        #2 [time] cc b.c
        ::endgroup::
        #2 DONE 1.2s

        #3 RUN check
        #3 DONE 1.2s
        ");
        let text = shown_in(Ci::GitLab, events());
        let marks: Vec<&str> = text.lines().filter(|line| line.contains("section_")).collect();
        let mark = |line: &str| {
            let (kind, rest) = line.trim_start_matches("\x1b[0K").split_once(':').unwrap();
            let (time, rest) = rest.split_once(':').unwrap();
            assert!(time.parse::<u64>().is_ok_and(|time| time > 1_700_000_000), "{line}");
            format!("{kind}:{rest}")
        };
        assert_eq!(
            marks.into_iter().map(mark).collect::<Vec<_>>(),
            [
                "section_start:rbuild_1\r\x1b[0K#2 output",
                "section_end:rbuild_1\r\x1b[0K",
                "section_start:rbuild_2\r\x1b[0K#2 output",
                "section_end:rbuild_2\r\x1b[0K",
            ]
        );
    }

    #[test]
    fn a_transfer_is_mentioned_when_it_is_whole() {
        let transfer = |done| Event::Transfer {
            digest: Digest::of(b"x"),
            what: "docker.io/library/busybox".into(),
            upload: false,
            done,
            total: 2_000_000,
        };
        insta::assert_snapshot!(shown([transfer(10), transfer(1_000_000), transfer(2_000_000)]),
            @"2d711642b726 2MB from docker.io/library/busybox");
    }
}

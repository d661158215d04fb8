//! The whole log of a build on disk: every byte that a step wrote, whatever the terminal showed of it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use builder::event::{Event, Reporter, StepId};

/// How many logs are kept.
const KEPT: usize = 100;

/// A build's log: text with the number of the step and the seconds since its start before each line, and behind them
/// the bytes as they came.
pub(crate) struct LogFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// `None` once it could not be written.
    file: Option<BufWriter<File>>,
    steps: HashMap<StepId, (Instant, Vec<u8>)>,
}

impl LogFile {
    /// Begins the log of a build in the store at `root`; the oldest logs go.
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        let directory = root.join("logs");
        fs::create_dir_all(&directory)?;
        let mut known: Vec<PathBuf> =
            fs::read_dir(&directory)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        known.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        // Names begin with the time, so that the order of names is the order of builds.
        known.sort();
        for old in known.iter().take(known.len().saturating_sub(KEPT - 1)) {
            let _ = fs::remove_file(old);
            let _ = fs::remove_file(old.with_extension("json"));
        }
        let name = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
        let process = std::process::id();
        let mut path = directory.join(format!("{name}-{process}.log"));
        // Several builds of one process may begin in one millisecond.
        for number in 2.. {
            if !path.exists() {
                break;
            }
            path = directory.join(format!("{name}-{process}-{number}.log"));
        }
        let file = File::options().write(true).create_new(true).open(&path)?;
        let state = State { file: Some(BufWriter::new(file)), steps: HashMap::new() };
        Ok(Self { path, state: Mutex::new(state) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes out what is pending. Whether all of it is on disk.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rest: Vec<StepId> = state.steps.keys().copied().collect();
        let written = rest.into_iter().all(|step| state.flush_line(step).is_ok());
        written && state.file.as_mut().is_some_and(|file| file.flush().is_ok())
    }
}

impl Reporter for LogFile {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.write(event).is_err() {
            // On a full disk the build itself fails and says so.
            state.file = None;
        }
    }
}

impl State {
    fn write(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::StepStarted { step, name } => {
                self.steps.insert(step, (Instant::now(), Vec::new()));
                self.line(step, None, name.as_bytes())
            }
            Event::StepOutput { step, bytes, .. } => {
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    if let Some((_, pending)) = self.steps.get_mut(&step) {
                        pending.extend_from_slice(piece);
                    }
                    if piece.ends_with(b"\n") {
                        self.flush_line(step)?;
                    }
                }
                Ok(())
            }
            Event::StepFinished { step, outcome, elapsed } => {
                self.flush_line(step)?;
                self.line(step, Some(elapsed), format!("{outcome:?}").to_uppercase().as_bytes())?;
                self.steps.remove(&step);
                self.file.as_mut().map_or(Ok(()), BufWriter::flush)
            }
            Event::Transfer { digest, what, upload, done, total } if done >= total => {
                let verb = if upload { "pushed to" } else { "pulled from" };
                self.file
                    .as_mut()
                    .map_or(Ok(()), |file| writeln!(file, "{digest} {total} bytes {verb} {what}"))
            }
            Event::Warning { message } => {
                self.file.as_mut().map_or(Ok(()), |file| writeln!(file, "warning: {message}"))
            }
            _ => Ok(()),
        }
    }

    fn flush_line(&mut self, step: StepId) -> io::Result<()> {
        let Some((started, pending)) = self.steps.get_mut(&step).filter(|(_, pending)| !pending.is_empty())
        else {
            return Ok(());
        };
        let (elapsed, line) = (started.elapsed(), std::mem::take(pending));
        self.line(step, Some(elapsed), line.strip_suffix(b"\n").unwrap_or(&line))
    }

    fn line(&mut self, StepId(number): StepId, elapsed: Option<Duration>, text: &[u8]) -> io::Result<()> {
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        write!(file, "#{number} ")?;
        if let Some(elapsed) = elapsed {
            write!(file, "{:.3} ", elapsed.as_secs_f64())?;
        }
        file.write_all(text)?;
        file.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use builder::event::{Outcome, Stream};

    use super::*;

    #[test]
    fn no_byte_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let log = LogFile::create(root.path()).unwrap();
        log.event(Event::StepStarted { step: StepId(2), name: "[1/1] RUN x".into() });
        for bytes in [b"\x1b[31mred\r\n".to_vec(), b"\xff\xfe".to_vec(), b" end".to_vec()] {
            log.event(Event::StepOutput { step: StepId(2), stream: Stream::Stdout, bytes });
        }
        log.event(Event::StepFinished { step: StepId(2), outcome: Outcome::Failed, elapsed: Duration::ZERO });
        assert!(log.finish());
        let bytes = fs::read(log.path()).unwrap();
        assert!(bytes.starts_with(b"#2 [1/1] RUN x\n#2 0.0"));
        assert!(bytes.windows(10).any(|window| window == b"\x1b[31mred\r\n"));
        assert!(bytes.windows(7).any(|window| window == b"\xff\xfe end\n"));
        assert!(bytes.ends_with(b"FAILED\n"));
    }

    #[test]
    fn old_logs_go() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("logs")).unwrap();
        for number in 0..KEPT + 5 {
            fs::write(root.path().join(format!("logs/0000-{number:04}.log")), "").unwrap();
        }
        let log = LogFile::create(root.path()).unwrap();
        assert!(log.path().exists());
        assert_eq!(fs::read_dir(root.path().join("logs")).unwrap().count(), KEPT);
    }
}

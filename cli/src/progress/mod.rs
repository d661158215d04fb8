//! Shows a build while it runs: renderers over [`builder::Event`].

mod ci;
mod journal;
mod labelled;
mod lines;
mod log_file;
mod plain;
mod rawjson;
mod screen;
mod transfers;
mod tty;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use builder::{Event, Reporter, Silent};

pub(crate) use ci::{Annotation, Ci};
pub(crate) use journal::{End, Ending, Journal, LayerRecord, Recorder, StepRecord};
pub(crate) use labelled::Labelled;
pub(crate) use lines::{printable, printable_lines, shortened};
pub(crate) use log_file::LogFile;
pub(crate) use plain::Plain;
pub(crate) use rawjson::RawJson;
pub(crate) use transfers::Transfers;
pub(crate) use tty::Live;

use crate::args::build::ProgressArg;

/// A renderer, once it is decided which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A live view on a terminal.
    Live,
    /// Lines as they come.
    Plain,
    /// Nothing.
    Quiet,
    /// JSON lines.
    RawJson,
}

impl Kind {
    /// What `--progress` and `--quiet` mean where standard error is, or is not, a terminal that can move its cursor.
    pub(crate) fn new(progress: ProgressArg, quiet: bool, terminal: bool) -> Self {
        match progress {
            _ if quiet => Self::Quiet,
            ProgressArg::Auto if terminal => Self::Live,
            ProgressArg::Auto | ProgressArg::Plain => Self::Plain,
            ProgressArg::Tty => Self::Live,
            ProgressArg::Quiet | ProgressArg::None => Self::Quiet,
            ProgressArg::Rawjson => Self::RawJson,
        }
    }

    /// The renderer, on standard error. Lines go into groups of the service whose log they are for.
    pub(crate) fn start(self, ci: Ci) -> Arc<dyn Renderer> {
        match self {
            Self::Live => Arc::new(Live::on_stderr()),
            Self::Plain => Arc::new(Plain::new(io::stderr(), ci)),
            Self::Quiet => Arc::new(Silent),
            Self::RawJson => Arc::new(RawJson::new(io::stderr())),
        }
    }
}

/// Whether standard error is a terminal that can move its cursor.
pub(crate) fn terminal(term: Option<&str>) -> bool {
    io::stderr().is_terminal() && term != Some("dumb")
}

/// A reporter that has something to tidy up before others write to the terminal.
pub(crate) trait Renderer: Reporter {
    /// The build is over; nothing is drawn after this.
    fn finish(&self) {}
}

impl Renderer for Silent {}

/// Hands every event to each of its reporters, in order.
pub(crate) struct Tee(pub(crate) Vec<Arc<dyn Reporter>>);

impl Reporter for Tee {
    fn event(&self, event: Event) {
        if let Some((last, others)) = self.0.split_last() {
            for reporter in others {
                reporter.event(event.clone());
            }
            last.event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_renderer() {
        assert_eq!(Kind::new(ProgressArg::Auto, false, true), Kind::Live);
        assert_eq!(Kind::new(ProgressArg::Auto, false, false), Kind::Plain);
        assert_eq!(Kind::new(ProgressArg::Plain, false, true), Kind::Plain);
        assert_eq!(Kind::new(ProgressArg::Plain, true, true), Kind::Quiet);
        assert_eq!(Kind::new(ProgressArg::Rawjson, false, false), Kind::RawJson);
    }
}

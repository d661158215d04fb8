//! The configuration of a finished image: layers, history and times.

use layer_store::config::{History, RootFs};
use layer_store::{Digest, ImageConfig};

use crate::graph::NodeId;
use crate::lower::{HistoryEntry, TargetImage};

/// The comment that marks lines of history as a Dockerfile's. BuildKit's own, so that tools that look for it find it.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// The comment of lines that stand for layers of which the history says nothing.
const EXPORTER: &str = "buildkit.exporter.image.v0";

/// This moment, RFC 3339 in UTC.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// That many seconds after the epoch, RFC 3339 in UTC.
#[must_use]
pub fn timestamp(seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

/// What a solved graph says of a layer.
#[derive(Debug, Clone)]
pub struct StepTime {
    /// When the layer was made, RFC 3339.
    pub created: String,
    /// The step's name for people: `[2/3] COPY a b`.
    pub name: String,
}

/// Puts layers, history and times into an image's configuration, by BuildKit's rules: a step has the time at which
/// its layer was made (which a cached one keeps), a line without a layer has its neighbour's, the image has the last.
///
/// `fallback` is the time of what has none; `epoch` replaces every time of this build, and later ones of a base image
/// whose history had to be mended.
#[must_use]
pub fn finish(
    image: &TargetImage,
    layers: &[Digest],
    step: &dyn Fn(NodeId) -> Option<StepTime>,
    fallback: &str,
    epoch: Option<i64>,
) -> ImageConfig {
    let mut config = image.config.clone();
    config.rootfs = RootFs { diff_ids: layers.to_vec(), ..RootFs::default() };
    let epoch = epoch.and_then(timestamp);
    let steps: Vec<StepTime> = image
        .history
        .iter()
        .filter_map(|entry| match entry {
            HistoryEntry::Layer { node, .. } => step(*node),
            _ => None,
        })
        .collect();
    let mut history: Vec<History> = image
        .history
        .iter()
        .map(|entry| match entry {
            HistoryEntry::Base(history) => history.clone(),
            HistoryEntry::Layer { node, created_by } => {
                let created = epoch.clone().or_else(|| step(*node).map(|step| step.created));
                line(created_by, created, false)
            }
            HistoryEntry::Empty { created_by } => line(created_by, epoch.clone(), true),
        })
        .collect();
    let made = Made { steps: &steps, layers: layers.len(), base: image.base.as_deref(), fallback };
    made.account_for_layers(&mut history);
    made.date(&mut history);
    if let Some(limit) = &epoch {
        let same = |(own, entry): &(&mut History, &HistoryEntry)| matches!(entry, HistoryEntry::Base(base) if base == *own);
        let kept = history.iter_mut().zip(&image.history).take_while(same).count();
        for entry in &mut history[kept..] {
            entry.created =
                entry.created.take().map(|time| if later(&time, limit) { limit.clone() } else { time });
        }
    }
    let last = history.iter().rev().find_map(|history| history.created.clone());
    config.created = Some(last.or(epoch).unwrap_or_else(|| fallback.to_owned()));
    config.history = history;
    config
}

/// What made the layers of an image: the base image those below, each step one above.
struct Made<'a> {
    steps: &'a [StepTime],
    layers: usize,
    base: Option<&'a str>,
    fallback: &'a str,
}

impl Made<'_> {
    /// The step that made the layer, counted from the lowest; `None` for one of the base image.
    fn step(&self, layer: usize) -> Option<&StepTime> {
        (layer + self.steps.len()).checked_sub(self.layers).and_then(|at| self.steps.get(at))
    }

    fn time(&self, layer: usize) -> String {
        let step = self.step(layer).or_else(|| self.steps.first());
        step.map_or_else(|| self.fallback.to_owned(), |step| step.created.clone())
    }

    /// A base image may tell of more layers than it has, or of fewer. Every layer gets one line that is not empty.
    fn account_for_layers(&self, history: &mut Vec<History>) {
        let mut told = 0;
        for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
            entry.empty_layer = told == self.layers;
            told += usize::from(!entry.empty_layer);
        }
        history.extend((told..self.layers).map(|layer| History {
            created: Some(self.time(layer)),
            created_by: Some(match (self.step(layer), self.base) {
                (Some(step), _) => step.name.clone(),
                (None, Some(base)) => format!("pulled from {base}"),
                (None, None) => "created by buildkit".to_owned(),
            }),
            comment: Some(EXPORTER.to_owned()),
            ..History::default()
        }));
    }

    /// Gives times to the lines without one: a layer's own; for the others that of the first layer after the first of
    /// them, or else the last one that there is.
    fn date(&self, history: &mut [History]) {
        let layers = history.iter_mut().filter(|entry| !entry.empty_layer);
        for (layer, entry) in layers.enumerate().filter(|(_, entry)| entry.created.is_none()) {
            entry.created = Some(self.time(layer));
        }
        let first_without = history.iter().position(|entry| entry.created.is_none()).unwrap_or(history.len());
        let (before, after) = history.split_at(first_without);
        let next = after.iter().find_map(|entry| entry.created.clone());
        let mut current = next.or_else(|| before.last().and_then(|entry| entry.created.clone()));
        for entry in &mut history[first_without..] {
            match &entry.created {
                Some(time) => current = Some(time.clone()),
                None => entry.created = Some(current.clone().unwrap_or_else(|| self.fallback.to_owned())),
            }
        }
    }
}

fn line(created_by: &str, created: Option<String>, empty_layer: bool) -> History {
    History {
        created,
        created_by: Some(created_by.to_owned()),
        author: None,
        comment: Some(COMMENT.to_owned()),
        empty_layer,
    }
}

/// Whether the first time is after the second; texts that are no times are not.
fn later(one: &str, other: &str) -> bool {
    match (one.parse::<jiff::Timestamp>(), other.parse::<jiff::Timestamp>()) {
        (Ok(one), Ok(other)) => one > other,
        _ => false,
    }
}

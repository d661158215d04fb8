//! The configuration of a finished image: layers, history and times.

use layer_store::config::{History, RootFs};
use layer_store::{Digest, ImageConfig};

use crate::graph::NodeId;
use crate::lower::{HistoryEntry, TargetImage};

/// The comment that marks lines of history as a Dockerfile's. BuildKit's own, so that tools that look for it find it.
const COMMENT: &str = "buildkit.dockerfile.v0";

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
}

/// Puts layers, history and times into an image's configuration, by BuildKit's rules: a step has the time at which
/// its layer was made (which a cached one keeps), a line without a layer has its neighbour's, the image has the last.
///
/// `fallback` is the time of an image that has no step with a layer; `epoch` replaces every time of this build that
/// is later.
#[must_use]
pub fn finish(
    image: &TargetImage,
    layers: &[Digest],
    time: &dyn Fn(NodeId) -> Option<StepTime>,
    fallback: &str,
    epoch: Option<i64>,
) -> ImageConfig {
    let mut config = image.config.clone();
    config.rootfs = RootFs { diff_ids: layers.to_vec(), ..RootFs::default() };
    let epoch = epoch.and_then(timestamp);
    let clamp = |created: String| match &epoch {
        Some(limit) if later(&created, limit) => limit.clone(),
        _ => created,
    };
    let first = image.history.iter().find_map(|entry| match entry {
        HistoryEntry::Layer { node, .. } => time(*node).map(|step| step.created),
        _ => None,
    });
    let mut current = first.unwrap_or_else(|| fallback.to_owned());
    config.history = image
        .history
        .iter()
        .map(|entry| match entry {
            HistoryEntry::Base(history) => history.clone(),
            HistoryEntry::Layer { node, created_by } => {
                if let Some(step) = time(*node) {
                    current = step.created;
                }
                line(created_by, clamp(current.clone()), false)
            }
            HistoryEntry::Empty { created_by } => line(created_by, clamp(current.clone()), true),
        })
        .collect();
    let last = config.history.iter().rev().find_map(|history| history.created.clone());
    config.created = Some(last.unwrap_or_else(|| clamp(current)));
    config
}

fn line(created_by: &str, created: String, empty_layer: bool) -> History {
    History {
        created: Some(created),
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

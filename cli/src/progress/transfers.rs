//! What the registry client tells, as events of a build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use builder::event::{Event, Reporter};
use layer_store::Digest;
use registry_client::{Direction, Transfer};

/// Turns transfers into [`Event::Transfer`].
pub(crate) struct Transfers {
    reporter: Arc<dyn Reporter>,
    running: Mutex<HashMap<Digest, Running>>,
}

struct Running {
    host: String,
    upload: bool,
    total: u64,
}

impl Transfers {
    /// Tells `reporter`.
    pub(crate) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, running: Mutex::default() }
    }

    fn progress(&self, digest: Digest, bytes: Option<u64>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = running.get(&digest) else { return };
        let event = Event::Transfer {
            digest,
            what: known.host.clone(),
            upload: known.upload,
            done: bytes.unwrap_or(known.total),
            total: known.total,
        };
        drop(running);
        self.reporter.event(event);
    }
}

impl registry_client::Reporter for Transfers {
    fn transfer(&self, transfer: Transfer) {
        match transfer {
            Transfer::Started { digest, total, direction, host } => {
                let known = Running { host, upload: direction == Direction::Upload, total };
                self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, known);
                self.progress(digest, Some(0));
            }
            Transfer::Progress { digest, bytes } => {
                // The last byte counts when it is verified.
                let total = self
                    .running
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(&digest)
                    .map_or(0, |known| known.total);
                self.progress(digest, Some(bytes.min(total.saturating_sub(1))));
            }
            Transfer::Finished { digest } => {
                self.progress(digest, None);
                self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
            }
            Transfer::Retry { host, reason, wait_ms, .. } => self.reporter.event(Event::Warning {
                message: format!("`{host}`: {reason}; trying again in {wait_ms} ms"),
            }),
            Transfer::Skipped { .. } | Transfer::Mounted { .. } => {}
        }
    }

    fn notice(&self, text: &str) {
        self.reporter.event(Event::Warning { message: text.to_owned() });
    }
}

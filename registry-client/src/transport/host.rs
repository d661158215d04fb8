//! What is known about a host during a run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::auth::challenge::Challenge;
use crate::auth::token::Token;

/// What is known about a host during a run.
pub(crate) struct HostState {
    /// The scheme that the host was found to speak, where that was open.
    pub(crate) scheme: tokio::sync::Mutex<Option<&'static str>>,
    /// What the host wants to see, once it has said so.
    challenges: Mutex<Vec<Challenge>>,
    /// Tokens by scope. The lock is held while one is fetched, so that a token is fetched once.
    pub(crate) tokens: tokio::sync::Mutex<Vec<Token>>,
    out_of_use: Mutex<Option<(Instant, String)>>,
    /// Connections that may carry blobs from their beginning.
    pub(crate) transfers: Semaphore,
    /// Connections that may carry ranges of large blobs beside those.
    pub(crate) ranges: Semaphore,
    /// Refusals of parallel ranges: a host that limits rates gets one connection per blob.
    pub(crate) range_refusals: AtomicUsize,
}

impl HostState {
    /// `connections` bounds all that carry blobs, where the host's settings say so.
    pub(crate) fn new(ranges: usize, connections: Option<usize>) -> Self {
        let transfers = connections.unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            scheme: tokio::sync::Mutex::default(),
            challenges: Mutex::default(),
            tokens: tokio::sync::Mutex::default(),
            out_of_use: Mutex::default(),
            transfers: Semaphore::new(transfers),
            ranges: Semaphore::new(ranges.min(transfers.saturating_sub(1))),
            range_refusals: AtomicUsize::new(0),
        }
    }

    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_challenges(&self, challenges: Vec<Challenge>) {
        *self.challenges.lock().unwrap_or_else(PoisonError::into_inner) = challenges;
    }

    /// Why the host is not to be asked at the moment.
    pub(crate) fn out_of_use(&self) -> Option<String> {
        let state = self.out_of_use.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().filter(|(until, _)| Instant::now() < *until).map(|(_, reason)| reason.clone())
    }

    /// Takes the host out of use for a time; whether it was in use before.
    pub(crate) fn give_up(&self, time: Duration, reason: &str) -> bool {
        let before = self.out_of_use().is_some();
        *self.out_of_use.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now() + time, reason.to_owned()));
        !before
    }

    pub(crate) fn takes_ranges(&self) -> bool {
        self.range_refusals.load(Ordering::Relaxed) == 0 && self.ranges.available_permits() > 0
    }
}

//! Which endpoints were tried, and why each failed.

use crate::error::{Attempt, Error, Operation};
use crate::hosts::Endpoint;
use crate::reference::Reference;

/// Which endpoints were tried, and why each failed.
pub(crate) struct Trail {
    operation: Operation,
    reference: String,
    attempts: Vec<Attempt>,
}

impl Trail {
    pub(crate) fn new(operation: Operation, reference: &Reference) -> Self {
        Self { operation, reference: reference.familiar(), attempts: Vec::new() }
    }

    /// Notes a failure, so that the next endpoint is tried; or gives it back where no other endpoint can do better.
    pub(crate) fn note(&mut self, endpoint: &Endpoint, error: Error) -> Result<(), Error> {
        if !error.allows_fallback() {
            return Err(error);
        }
        self.attempts.push(Attempt { host: endpoint.authority.clone(), error });
        Ok(())
    }

    /// The failure of all endpoints.
    pub(crate) fn end(mut self) -> Error {
        match self.attempts.pop() {
            Some(only) if self.attempts.is_empty() => only.error,
            last => {
                self.attempts.extend(last);
                Error::Exhausted {
                    operation: self.operation,
                    reference: self.reference,
                    attempts: self.attempts,
                }
            }
        }
    }
}

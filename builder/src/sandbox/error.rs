//! What can go wrong with a sandbox, as distinct from what a step's own command does.

use std::ffi::OsString;

use super::report::{Failure, Rung};

/// Why no sandbox could be had, or why a step could not be run or committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// No rung of those that were asked for works here.
    #[error("no isolation for RUN is possible here")]
    Refused {
        /// What failed on each rung that was tried, best first.
        attempts: Vec<(Rung, Failure)>,
    },
    /// The step's surroundings could not be made.
    #[error("cannot set up the step: {0}")]
    Setup(Failure),
    /// The step's command could not be started.
    #[error("cannot run `{}`: {reason}", program.display())]
    Command {
        /// The program as it was asked for.
        program: OsString,
        /// Why not.
        reason: String,
        /// What a shell would return: 127 where there is no such program, else 126.
        status: i32,
    },
    /// A mount of the step cannot be made as asked.
    #[error("cannot mount at `{target}`: {reason}")]
    Mount {
        /// Its target in the image.
        target: String,
        /// Why not.
        reason: String,
    },
    /// The store could not take the step's changes.
    #[error("cannot keep the step's changes: {0}")]
    Commit(String),
    /// The helper process is gone.
    #[error("the sandbox's helper process ended: {0}")]
    HelperGone(String),
    /// Something of this process failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

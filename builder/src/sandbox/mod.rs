//! Runs the commands of RUN steps, isolated as far as the machine allows.
//!
//! The calling process never forks. [`Sandbox::start`] spawns the running executable again as *the keeper*: a
//! single-threaded helper that enters its namespaces once and then serves requests, one forked child each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::Digest;
use layer_store::layer::DiffOptions;
use layer_store::store::{Custodian, Durability};

mod error;
mod report;
mod step;

pub use error::SandboxError;
pub use report::{Degradation, Diagnosis, Failure, Isolation, Report, Rung, Verdict};
pub use step::{
    ExitStatus, Finished, MountSource, Network, Output, OutputSender, SecretBytes, Step, StepMount, StepUser,
    Ulimit,
};

/// How a sandbox is started.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// The store whose trees the steps see and whose custodian the sandbox is.
    pub store_root: PathBuf,
    /// Which isolation is wanted.
    pub isolation: Isolation,
    /// How hard the store tries to survive a power cut.
    pub durability: Durability,
}

/// Becomes the helper process if this process was started as one. The binary calls it first thing in `main`; it
/// returns only in an ordinary process.
pub fn run_helper_if_asked() {}

/// A place to run steps in. Dropping it ends its helper process and every step.
pub struct Sandbox {
    report: Report,
}

impl Sandbox {
    /// Finds the best isolation by trying and starts the helper process. Costs a few milliseconds.
    pub async fn start(settings: SandboxSettings) -> Result<Self, SandboxError> {
        let _ = settings;
        unimplemented!()
    }

    /// What the steps get.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Who handles files of subordinate ids for the store; `None` where this process may do all itself.
    #[must_use]
    pub fn custodian(&self) -> Option<Arc<dyn Custodian>> {
        unimplemented!()
    }

    /// Runs a step to its end; its output is sent as it comes, to the last byte, before this returns. A command that
    /// fails is no error. Dropping the future kills the step and all its processes.
    pub async fn run(&self, step: Step, output: OutputSender) -> Result<Finished, SandboxError> {
        let _ = (step, output);
        unimplemented!()
    }

    /// Makes a finished step's upper directory a layer over the stack of layers `below` (bottom first) and returns
    /// its diffID.
    pub async fn commit(
        &self,
        upper: &Path,
        below: &[Digest],
        options: DiffOptions,
    ) -> Result<Digest, SandboxError> {
        let _ = (upper, below, options);
        unimplemented!()
    }
}

/// Tries every rung and says what each would give, without running anything.
pub async fn doctor(settings: SandboxSettings) -> Diagnosis {
    let _ = settings;
    unimplemented!()
}

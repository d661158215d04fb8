//! From a Dockerfile and a build context to an OCI image.
//!
//! text → [`dockerfile`] → [`lower`] → [`graph`] → [`solve`] → layers and configuration → [`output`]
//!
//! A program that uses this crate calls [`sandbox::run_helper_if_asked`] first thing in `main`, opens an [`Engine`]
//! and calls [`Engine::build`]. The crate never prints and reads neither environment variables nor the home
//! directory: settings come in as values, events go out through [`Reporter`].

pub mod attest;
pub mod budget;
pub mod build;
pub mod cache;
mod cache_mount;
pub mod check;
pub mod context;
pub mod copy;
pub mod dockerfile;
pub mod edit;
pub mod engine;
pub mod environment;
pub mod error;
pub mod event;
pub mod exchange;
pub mod explain;
mod finish;
pub mod graph;
pub mod ignore;
pub mod image;
pub mod import;
pub mod input;
pub mod lower;
pub mod outline;
pub mod output;
pub mod plan;
pub mod remote;
pub mod resolve;
pub mod run;
pub mod sandbox;
pub mod sandbox_handle;
pub mod secret;
pub mod signal;
pub mod solve;
pub mod stored;
mod task;
pub mod users;

pub use build::{Annotation, BuildRequest, Built, BuiltImage};
pub use engine::{Engine, EngineSettings};
pub use error::{Error, Result};
pub use event::{Event, Outcome, Reporter, Silent, StepId, Stream};
pub use import::ImportRequest;
pub use plan::Plan;
pub use run::RunRequest;
pub use solve::OnFailure;

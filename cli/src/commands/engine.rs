//! What commands beside `build` need of the builder: a store with somebody who may remove files of other owners, and
//! a registry client that tells.

use std::sync::Arc;

use builder::sandbox::Isolation;
use builder::{Engine, EngineSettings, Reporter};
use layer_store::store::Durability;
use registry_client::Client;

use super::{Context, build_failure};
use crate::args::build::ProgressArg;
use crate::failure::{Failure, Result};
use crate::progress::{self, Kind, Renderer, Transfers};
use crate::settings;

/// Opens the store, and a client whose transfers are shown unless `quiet`.
pub(super) fn open(context: &Context, quiet: bool) -> Result<(Engine, Arc<dyn Renderer>)> {
    open_with(context, quiet, Isolation::Auto)
}

/// The same with this isolation for commands.
pub(super) fn open_with(
    context: &Context,
    quiet: bool,
    isolation: Isolation,
) -> Result<(Engine, Arc<dyn Renderer>)> {
    let terminal = progress::terminal(context.environment.text("TERM"));
    let renderer = Kind::new(ProgressArg::Auto, quiet, terminal).start(context.environment.ci());
    let engine = telling(context, isolation, renderer.clone())?;
    Ok((engine, renderer))
}

/// The same with this reporter, which hears of transfers too.
pub(super) fn telling(
    context: &Context,
    isolation: Isolation,
    reporter: Arc<dyn Reporter>,
) -> Result<Engine> {
    let transfers = Arc::new(Transfers::new(reporter.clone()));
    let client = Client::new(settings::client_settings(&context.global, &context.environment)?, transfers)?;
    let store_root = context.store_root()?;
    let settings = EngineSettings { store_root, durability: Durability::Full, isolation };
    Engine::open(&settings, Arc::new(client), reporter)
        .map_err(|error| Failure::of(&error).hint(build_failure::store_hint(&error)))
}

/// A client without a store, which says what a person should read but shows no transfers.
pub(super) fn client(context: &Context) -> Result<Client> {
    let settings = settings::client_settings(&context.global, &context.environment)?;
    Ok(Client::new(settings, Arc::new(Notices))?)
}

/// Passes on what a person should read.
struct Notices;

impl registry_client::Reporter for Notices {
    fn transfer(&self, _event: registry_client::Transfer) {}

    fn notice(&self, text: &str) {
        super::tell(&format!("warning: {text}"));
    }
}

/// Blocking work of the store, away from the threads that drive transfers.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(format!("internal error: {error}; please report it"))),
    }
}

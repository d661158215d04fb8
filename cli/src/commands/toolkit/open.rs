//! What the toolkit's commands begin with: an engine that runs until it is told to stop, and places as they are typed.

use builder::Engine;
use builder::exchange::Location;
use layer_store::Platform;
use registry_client::{Client, Platforms, Reference};

use crate::commands::{Context, engine};
use crate::failure::{Exit, Failure, Result};
use crate::settings;

/// Does `work` with an engine, until Ctrl-C. `what` is the command, for the message then.
pub(super) async fn with_engine<T>(
    context: &Context,
    quiet: bool,
    what: &str,
    work: impl AsyncFnOnce(&Engine) -> Result<T>,
) -> Result<T> {
    let (engine, renderer) = engine::open(context, quiet)?;
    let _in_use = engine.store.in_use()?;
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new(format!("`rbuild {what}` was stopped"))
            .exit(Exit::Interrupted)
            .hint("what has moved so far is kept: the same command goes on from there")),
        result = work(&engine) => result,
    };
    renderer.finish();
    result
}

/// Does `work` with a client alone, for commands that touch no store.
pub(super) async fn with_client<T>(
    context: &Context,
    what: &str,
    work: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    let client = engine::client(context)?;
    tokio::select! {
        biased;
        () = context.stop.cancelled() => {
            Err(Failure::new(format!("`rbuild {what}` was stopped")).exit(Exit::Interrupted))
        }
        result = work(&client) => result,
    }
}

/// A place as it was typed.
pub(super) fn location(text: &str) -> Result<Location> {
    text.parse().map_err(|error: builder::exchange::InvalidLocation| Failure::usage(error.to_string()))
}

/// An image of a registry as it was typed, with `docker://` or without.
pub(super) fn reference(text: &str) -> Result<Reference> {
    match location(text)? {
        Location::Registry(reference) => Ok(reference),
        other => Err(Failure::usage(format!("`{other}` is not in a registry, and this command asks one"))),
    }
}

/// Which platforms are meant.
pub(super) fn platforms(texts: &[String]) -> Result<Platforms> {
    if texts.is_empty() {
        return Ok(Platforms::All);
    }
    let each = texts.iter().map(|text| settings::platform(Some(text)));
    Ok(Platforms::Only(each.collect::<Result<Vec<Platform>>>()?))
}

/// `KEY=VALUE` of an option.
pub(super) fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| Failure::usage(format!("`{option} {text}` has no `=`")).hint("write it as KEY=VALUE"))
}

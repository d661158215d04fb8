//! What the commands share that look inside images.

use builder::resolve::{Pull, Resolver};
use layer_store::{ImageConfig, Platform, View};

use super::{Context, engine};
use crate::catalog;
use crate::failure::{Failure, Result};

/// An image that is looked into.
pub(super) struct Inside {
    /// Where it is.
    pub(super) engine: builder::Engine,
    /// What it says about itself.
    pub(super) config: ImageConfig,
    /// Its files.
    pub(super) view: View,
}

/// Opens an image of the store, or asks its registry for it. Layers whose lists of files are not here are fetched;
/// nothing is extracted.
pub(super) async fn open(context: &Context, name: &str) -> Result<Inside> {
    let (engine, renderer) = engine::open(context, false)?;
    let _in_use = engine.store.in_use()?;
    let work = async {
        let config = match catalog::find(&engine.store, name) {
            Ok(image) => image.config,
            Err(missing) => remote(&engine, name).await.map_err(|error| match error {
                Some(error) => error,
                None => missing,
            })?,
        };
        let view = engine.view(&config).await.map_err(|error| Failure::of(&error).hint(error.hint()))?;
        Ok((config, view))
    };
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new("it was stopped")),
        result = work => result,
    };
    renderer.finish();
    let (config, view) = result?;
    Ok(Inside { engine, config, view })
}

/// The configuration of an image of a registry. `Err(None)` where `name` cannot name one.
async fn remote(engine: &builder::Engine, name: &str) -> Result<ImageConfig, Option<Failure>> {
    let hexadecimal = name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal || name.starts_with("sha256:") || registry_client::Reference::parse(name).is_err() {
        return Err(None);
    }
    let resolver = Resolver::new(engine.store.clone(), engine.client.clone(), Pull::Missing);
    let resolved = resolver.resolve(name, &Platform::host()).await;
    resolved
        .map(|resolved| resolved.config.clone())
        .map_err(|error| Some(Failure::of(&error).hint(error.hint())))
}

//! `rbuild pull`

use builder::resolve::{Pull, Resolver};
use layer_store::Platform;
use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::image::PullArgs;
use crate::catalog;
use crate::failure::{Exit, Failure, Result};

/// Fetches an image with all its layers.
pub(super) async fn run(context: &Context, args: &PullArgs) -> Result<()> {
    let reference = Reference::parse(&args.image).map_err(|error| Failure::usage(error.to_string()))?;
    let platform = match &args.platform {
        Some(text) => text.parse::<Platform>().map_err(|error| Failure::usage(error.to_string()))?,
        None => Platform::host(),
    };
    let (engine, renderer) = engine::open(context, args.quiet)?;
    let fetch = async {
        let resolver = Resolver::new(engine.store.clone(), engine.client.clone(), Pull::Always);
        let resolved = resolver.resolve(&args.image, &platform).await?;
        engine.fetch(&resolved.base).await?;
        Ok::<_, builder::Error>(resolved)
    };
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => {
            renderer.finish();
            return Err(Failure::new("the pull was stopped").exit(Exit::Interrupted).hint("what has come so far is kept"));
        }
        result = fetch => result,
    };
    renderer.finish();
    let resolved = result.map_err(|error| Failure::of(&error).hint(error.hint()))?;
    let name = catalog::familiar(&reference.canonical());
    if args.quiet {
        print(&format!("{name}\n"))
    } else {
        print(&format!("Digest: {}\n{name}\n", resolved.digest))
    }
}

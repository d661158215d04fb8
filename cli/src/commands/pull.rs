//! `rbuild pull`

use builder::stored::adopt;
use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::image::PullArgs;
use crate::catalog;
use crate::failure::{Exit, Failure, Result};
use crate::settings;

/// Fetches an image with all its layers.
pub(super) async fn run(context: &Context, args: &PullArgs) -> Result<()> {
    let reference = Reference::parse(&args.image).map_err(|error| Failure::usage(error.to_string()))?;
    let platform = settings::platform(args.platform.as_deref())?;
    let (engine, renderer) = engine::open(context, args.quiet)?;
    let _in_use = engine.store.in_use()?;
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => {
            renderer.finish();
            return Err(Failure::new("the pull was stopped")
                .exit(Exit::Interrupted)
                .hint("what has come so far is kept: the next pull goes on from there"));
        }
        result = engine.client.pull(&reference, &platform, &engine.store) => result,
    };
    renderer.finish();
    let resolved = result?;
    let top = resolved.index.as_ref().unwrap_or(&resolved.manifest);
    adopt(&engine.store, &reference.canonical(), top, Some(&reference.name()))
        .map_err(|error| Failure::of(&error).hint(error.hint()))?;
    let name = catalog::familiar(&reference.canonical());
    if args.quiet {
        return print(&format!("{name}\n"));
    }
    let digest = resolved.reference.digest().unwrap_or(resolved.descriptor.digest);
    if args.json {
        let platform = resolved.config.platform().to_string();
        let value = serde_json::json!({ "name": name, "digest": digest, "platform": platform });
        return print(&format!("{value:#}\n"));
    }
    print(&format!("Digest: {digest}\n{name}\n"))
}

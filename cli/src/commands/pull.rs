//! `rbuild pull`

use layer_store::manifest::ManifestContent;
use layer_store::store::{ImageRecord, PlatformImage};
use registry_client::{Reference, Resolved};

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
    engine.store.tag(&record(&reference, &resolved))?;
    let name = catalog::familiar(&reference.canonical());
    if args.quiet {
        return print(&format!("{name}\n"));
    }
    let digest = resolved.reference.digest().unwrap_or(resolved.descriptor.digest);
    print(&format!("Digest: {digest}\n{name}\n"))
}

fn record(reference: &Reference, resolved: &Resolved) -> ImageRecord {
    let config = match &resolved.manifest.content {
        ManifestContent::Image { config, .. } => config.clone(),
        // An index is never what a platform resolves to.
        ManifestContent::Index { .. } => resolved.descriptor.clone(),
    };
    ImageRecord {
        name: reference.canonical(),
        platforms: vec![PlatformImage {
            config,
            manifest: Some(resolved.manifest.descriptor()),
            origin: Some(reference.name()),
        }],
        index: resolved.index.as_ref().map(layer_store::Manifest::descriptor),
        tagged: jiff::Timestamp::now().to_string(),
    }
}

//! `rbuild push`

use builder::output::{ImageLayers, pack, push};
use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::image::PushArgs;
use crate::catalog;
use crate::failure::{Exit, Failure, Result};
use crate::settings;

/// Sends an image to a registry.
pub(super) async fn run(context: &Context, args: &PushArgs) -> Result<()> {
    let target = args.destination.as_deref().unwrap_or(&args.image);
    let target = Reference::parse(target).map_err(|error| Failure::usage(error.to_string()))?;
    let packing = settings::packing(&args.compression)?;
    let (engine, renderer) = engine::open(context, args.quiet)?;
    let store = engine.store.clone();
    let image = args.image.clone();
    let send = async {
        let packed = engine::blocking({
            let store = store.clone();
            move || {
                let image = catalog::find(&store, &image)?;
                let bytes = store.read_blob(&image.id, 16 << 20)?;
                let layers = ImageLayers::of(bytes).map_err(|error| Failure::of(&error))?;
                pack(&store, &layers, packing, false).map_err(|error| Failure::of(&error))
            }
        })
        .await?;
        let manifest = packed.manifest.digest();
        push(&engine.client, &store, packed, &target)
            .await
            .map_err(|error| Failure::of(&error).hint(error.hint()))?;
        Ok::<_, Failure>(manifest)
    };
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new("the push was stopped").exit(Exit::Interrupted)),
        result = send => result,
    };
    renderer.finish();
    let digest = result?;
    if let Some(path) = &args.digest_file {
        std::fs::write(path, digest.to_string()).map_err(|error| {
            Failure::new(format!("the image is pushed, but `{}` cannot be written: {error}", path.display()))
        })?;
    }
    if args.quiet {
        print(&format!("{digest}\n"))
    } else {
        print(&format!("{}: digest: {digest}\n", target.familiar()))
    }
}

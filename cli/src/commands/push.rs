//! `rbuild push`

use builder::output::{ImageLayers, Packed, pack, push};
use layer_store::{Digest, Store};
use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::image::PushArgs;
use crate::catalog;
use crate::failure::{Exit, Failure, Result};
use crate::settings;

/// The largest image configuration, in bytes.
const CONFIG_LIMIT: u64 = 16 << 20;

/// Sends an image to a registry.
pub(super) async fn run(context: &Context, args: &PushArgs) -> Result<()> {
    let target = args.destination.as_deref().unwrap_or(&args.image);
    let target = Reference::parse(target).map_err(|error| Failure::usage(error.to_string()))?;
    let packing = settings::packing(&args.compression)?;
    let (engine, renderer) = engine::open(context, args.quiet)?;
    let _in_use = engine.store.in_use()?;
    let send = async {
        let (store, image) = (engine.store.clone(), args.image.clone());
        let (id, packed) = engine::blocking(move || {
            let image = catalog::find(&store, &image)?;
            let bytes = store.read_blob(&image.id, CONFIG_LIMIT)?;
            let layers = ImageLayers::of(bytes).map_err(|error| Failure::of(&error))?;
            let packed = pack(&store, &layers, packing, false).map_err(|error| Failure::of(&error))?;
            Ok((image.id, packed))
        })
        .await?;
        push(&engine.client, &engine.store, packed.clone(), &target)
            .await
            .map_err(|error| Failure::of(&error).hint(error.hint()))?;
        remember(&engine.store, &id, &packed, &target)?;
        Ok::<_, Failure>(packed.manifest.digest())
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

/// Notes the manifest of an image that had none: its digest is shown from now on, and its layers can be fetched again.
fn remember(store: &Store, id: &Digest, packed: &Packed, target: &Reference) -> Result<()> {
    store.put_blob(&packed.manifest.raw)?;
    for mut record in store.images()? {
        let mut changed = false;
        for image in
            record.platforms.iter_mut().filter(|image| image.config.digest == *id && image.manifest.is_none())
        {
            image.manifest = Some(packed.manifest.descriptor());
            image.origin = Some(target.name());
            changed = true;
        }
        if changed {
            store.tag(&record)?;
        }
    }
    Ok(())
}

//! `rbuild push`

use builder::Engine;
use builder::exchange::{Delivered, Location, Wish};
use builder::output::{Packed, push};
use builder::stored::is_whole;
use layer_store::manifest::DOCUMENT_LIMIT;
use layer_store::{Digest, Store};
use registry_client::{Reference, Repository, Supply, Tree};

use super::toolkit::show;
use super::{Context, engine};
use crate::args::image::PushArgs;
use crate::catalog;
use crate::failure::{Exit, Failure, Result};
use crate::settings;

/// Sends an image to a registry.
pub(super) async fn run(context: &Context, args: &PushArgs) -> Result<()> {
    let target = target(args)?;
    let packing = settings::packing(&args.compression)?;
    let (engine, renderer) = engine::open(context, args.delivery.quiet)?;
    let _in_use = engine.store.in_use()?;
    let send = async {
        if goes_whole(&engine.store, &args.image)? {
            // Platforms and attestations are never dropped without being asked.
            let opened = engine.open_images(&Location::Store(args.image.clone()), false, packing).await?;
            let wish = Wish { dry_run: args.delivery.dry_run, ..Wish::default() };
            let mut sent = engine.deliver(&opened, &Location::Registry(target.clone()), &wish).await?;
            return sent.pop().ok_or_else(|| Failure::new("there is nothing to push"));
        }
        let id = catalog::find(&engine.store, &args.image)?.id;
        let config = engine.store.read_blob(&id, DOCUMENT_LIMIT)?;
        let packed = engine.pack(config, packing, false).await;
        let packed = packed.map_err(|error| Failure::of(&error).hint(error.hint()))?;
        if args.delivery.dry_run {
            return plan(&engine, &packed, &target).await;
        }
        let pushed = push(&engine.client, &engine.store, packed.clone(), &target).await?;
        remember(&engine.store, &id, &packed, &target)?;
        Ok::<_, Failure>(Delivered {
            target: target.familiar(),
            digest: packed.manifest.digest(),
            copied: pushed.into(),
            plan: None,
        })
    };
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new("the push was stopped")
            .exit(Exit::Interrupted)
            .hint("what the registry has by now is not sent again")),
        result = send => result,
    };
    renderer.finish();
    let delivered = result?;
    if let Some(path) = args.digest_file.as_ref().filter(|_| !args.delivery.dry_run) {
        std::fs::write(path, delivered.digest.to_string()).map_err(|error| {
            Failure::new(format!("the image is pushed, but `{}` cannot be written: {error}", path.display()))
        })?;
    }
    show(&[delivered], args.delivery)
}

/// Where it goes. A name without tag and digest means the tag `latest`.
fn target(args: &PushArgs) -> Result<Reference> {
    let text = args.destination.as_deref().unwrap_or(&args.image);
    Reference::parse(text)
        .and_then(|target| Reference::parse(&target.canonical()))
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Whether the name, or the digest of an index, stands for more than one image alone.
fn goes_whole(store: &Store, text: &str) -> Result<bool> {
    let Some(record) = catalog::whole(store, text)? else { return Ok(false) };
    // Several platforms go together, whatever else their index names.
    Ok(record.platforms.len() > 1 || is_whole(store, &record).map_err(|error| Failure::of(&error))?)
}

/// What would move.
async fn plan(engine: &Engine, packed: &Packed, target: &Reference) -> Result<Delivered> {
    let tree = Tree::of(Vec::new(), packed.manifest.clone());
    let supply = Supply {
        repositories: vec![Repository::Local(engine.store.clone())],
        origins: packed.origins.clone(),
    };
    let repository = Repository::Remote(target.clone());
    let plan = engine.client.plan(&tree, &supply, &repository, &engine.store).await?;
    Ok(Delivered {
        target: target.familiar(),
        digest: packed.manifest.digest(),
        copied: registry_client::Copied::default(),
        plan: Some(plan),
    })
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

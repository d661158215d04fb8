//! `rbuild rebase`

use builder::Engine;
use builder::edit::Base;
use builder::exchange::Opened;
use builder::output::Packing;
use tokio::sync::OnceCell;

use super::delivery::rework;
use super::open::location;
use crate::args::toolkit::RebaseArgs;
use crate::commands::Context;
use crate::failure::Result;

/// Exchanges the base below an image. No layer of the image moves, and of the base only where its registry is another.
pub(super) async fn run(context: &Context, args: &RebaseArgs) -> Result<()> {
    let bases = OnceCell::<(Base, Base)>::new();
    rework(
        context,
        "rebase",
        &args.image,
        &args.result,
        async |engine, draft, _, _| {
            let find = || async {
                let recorded = Engine::recorded_base(&draft.manifest);
                let old = args.old_base.clone().or_else(|| {
                    let (name, digest) = recorded.clone()?;
                    let name = name.split('@').next().unwrap_or(&name).to_owned();
                    Some(digest.map_or_else(|| name.clone(), |digest| format!("{name}@{digest}")))
                });
                let new = args.new_base.clone().or_else(|| recorded.clone().map(|(name, _)| name));
                let (Some(old), Some(new)) = (old, new) else {
                    return Err(unknown());
                };
                Ok((base(engine, &old).await?, base(engine, &new).await?))
            };
            let (old, new) = bases.get_or_try_init(find).await?;
            engine.rebase(draft, old, new).await
        },
        |_| {},
    )
    .await
}

async fn base(engine: &Engine, text: &str) -> builder::Result<Base> {
    let location = location(text).map_err(|failure| wrong(failure.to_string()))?;
    let opened: Opened = engine.open_images(&location, false, Packing::default()).await?;
    let image = opened.only()?;
    Ok(Base { top: image.top.clone(), name: image.name.clone(), supply: opened.supply.clone() })
}

fn unknown() -> builder::Error {
    builder::Error::Invalid {
        message: "the image does not say which base it stands on".to_owned(),
        help: Some("name both with `--old-base` and `--new-base`".to_owned()),
    }
}

fn wrong(message: String) -> builder::Error {
    builder::Error::Invalid { message, help: None }
}

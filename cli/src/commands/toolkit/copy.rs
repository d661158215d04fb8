//! `rbuild copy`

use builder::exchange::Wish;

use super::delivery::show;
use super::open::{location, platforms, with_engine};
use crate::args::toolkit::CopyArgs;
use crate::commands::Context;
use crate::failure::{Failure, Result};
use crate::settings;

/// Copies images from one place to another, with all platforms unless fewer are asked for.
pub(super) async fn run(context: &Context, args: &CopyArgs) -> Result<()> {
    let (source, target) = (location(&args.source)?, location(&args.destination)?);
    let wish = Wish { platforms: platforms(&args.platform)?, dry_run: args.delivery.dry_run };
    let packing = settings::packing(&args.compression)?;
    let delivered = with_engine(context, args.delivery.quiet, "copy", async |engine| {
        let opened = engine.open_images(&source, args.all_tags, packing).await?;
        if opened.images.is_empty() {
            return Err(Failure::new(format!("there is no image at `{source}`")));
        }
        Ok(engine.deliver(&opened, &target, &wish).await?)
    })
    .await?;
    show(&delivered, args.delivery)
}

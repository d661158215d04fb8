//! `rbuild flatten`

use super::delivery::rework;
use crate::args::toolkit::FlattenArgs;
use crate::commands::Context;
use crate::failure::Result;

/// Makes one layer of all, for each platform.
pub(super) async fn run(context: &Context, args: &FlattenArgs) -> Result<()> {
    rework(
        context,
        "flatten",
        &args.image,
        &args.result,
        async |engine, draft, opened, packing| engine.flatten(draft, &opened.supply, packing).await,
        |_| {},
    )
    .await
}

//! `rbuild plan`

use std::sync::Arc;

use builder::event::Silent;

use super::{Context, build_failure, engine, print, remote, tell};
use crate::args::plan::{FormatArg, PlanArgs};
use crate::failure::{Failure, Result};
use crate::{place, settings};

/// Says what a build with these arguments would do, and does nothing of it.
pub(super) async fn run(context: &Context, args: PlanArgs) -> Result<()> {
    let PlanArgs { build: args, format } = args;
    let mut request = settings::request(&args, &context.environment)?;
    let place = settings::place(&args.context)?;
    let named = settings::named_addresses(&args.build_context)?;
    let isolation = settings::isolation(args.isolation.as_deref(), &context.environment)?;
    let engine = engine::telling(context, isolation, Arc::new(Silent))?;
    remote::bring(&engine, &place, args.file.as_deref(), &mut request).await?;
    remote::bring_named(&engine, &mut request, &named).await?;
    let source = request.dockerfile.clone();
    let plan = engine
        .plan(&request, context.stop.clone())
        .await
        .map_err(|error| build_failure::explain(&error, &source))?;
    match format {
        FormatArg::Text => {
            for warning in &plan.warnings {
                tell(&place::diagnostic(&source, warning));
            }
            print(&crate::progress::printable_lines(&plan.to_string()))
        }
        FormatArg::Json => {
            let text = serde_json::to_string_pretty(&plan).map_err(|error| Failure::of(&error))?;
            print(&format!("{text}\n"))
        }
    }
}

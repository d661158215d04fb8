//! Reads a Dockerfile from wherever a build would read it, for commands that build nothing.

use builder::BuildRequest;

use super::{Context, engine, remote};
use crate::args::build::BuildArgs;
use crate::failure::Result;
use crate::settings::{self, ContextPlace};

/// The request of a build with its Dockerfile. Only a context that is no directory needs a store, to be taken in.
pub(super) async fn request(context: &Context, args: &BuildArgs) -> Result<BuildRequest> {
    let mut request = settings::request(args, &context.environment)?;
    let place = settings::place(&args.context)?;
    if !matches!(place, ContextPlace::Directory(_)) {
        let (engine, renderer) = engine::open(context, true)?;
        let brought = remote::bring(&engine, &place, args.dockerfile_inside(), &mut request).await;
        renderer.finish();
        brought?;
    }
    Ok(request)
}

//! `rbuild import`

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};

use builder::ImportRequest;
use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::look::ImportArgs;
use crate::failure::{Failure, Result};
use crate::settings;

/// Makes an image of the tar of a filesystem.
pub(super) async fn run(context: &Context, args: &ImportArgs) -> Result<()> {
    if args.source == "-" && io::stdin().is_terminal() {
        return Err(
            Failure::usage("there is no archive to read").hint("pass a file, a URL, or `-` and a pipe")
        );
    }
    let tag = args.name.as_deref().map(Reference::parse).transpose();
    let tag = tag.map_err(|error| Failure::usage(error.to_string()))?;
    if tag.as_ref().is_some_and(|tag| tag.digest().is_some()) {
        return Err(Failure::usage("a name for an image has no digest"));
    }
    let request = ImportRequest {
        tag,
        changes: args.change.clone(),
        message: args.message.clone().unwrap_or_else(|| format!("Imported from {}", args.source)),
        platform: settings::platform(args.platform.as_deref())?,
        epoch: settings::source_date_epoch(&context.environment)?,
    };
    let (engine, renderer) = engine::open(context, false)?;
    let _in_use = engine.store.in_use()?;
    let work = async {
        let explained = |error: builder::Error| Failure::of(&error).hint(error.hint());
        let remote = ["http://", "https://"].iter().any(|scheme| args.source.starts_with(scheme));
        let input: Box<dyn Read + Send> = match args.source.as_str() {
            "-" => Box::new(io::stdin()),
            url if remote => Box::new(engine.fetch_file(url).await.map_err(explained)?),
            path => Box::new(
                File::open(path).map_err(|error| Failure::new(format!("cannot open `{path}`: {error}")))?,
            ),
        };
        engine.import(input, &args.source, &request).await.map_err(explained)
    };
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new("it was stopped")),
        result = work => result,
    };
    renderer.finish();
    print(&format!("{}\n", result?))
}

//! `rbuild build`

use std::sync::Arc;
use std::time::Instant;

use builder::output::{Destination, Output};
use builder::{Built, Engine, EngineSettings, Reporter};
use layer_store::store::Durability;
use registry_client::Client;
use serde_json::json;

use super::{Context, build_failure, check, print, tell};
use crate::args::build::{BuildArgs, ProgressArg};
use crate::failure::{Failure, Result};
use crate::progress::{self, Kind, LogFile, Renderer, Tally, Tee, Transfers};
use crate::{place, settings, size};

/// Builds an image.
pub(super) async fn run(context: &Context, args: BuildArgs) -> Result<()> {
    let started = Instant::now();
    if args.check || args.call == "check" {
        return check::run(&args, &context.environment);
    }
    let request = settings::request(&args, &context.environment)?;
    let source = request.dockerfile.clone();
    let engine_settings = EngineSettings {
        store_root: context.store_root()?,
        durability: Durability::Full,
        isolation: settings::isolation(&args, &context.environment)?,
    };

    let terminal = progress::terminal(context.environment.text("TERM"));
    let renderer = Kind::new(args.progress, args.quiet, terminal).start();
    let tally = Arc::new(Tally::default());
    let mut reporters: Vec<Arc<dyn Reporter>> = vec![tally.clone(), renderer.clone()];
    // A store that cannot be written is the build's own error, with a better message than the log's.
    let log = LogFile::create(&engine_settings.store_root).ok().map(Arc::new);
    reporters.extend(log.clone().map(|log| log as Arc<dyn Reporter>));
    let reporter: Arc<dyn Reporter> = Arc::new(Tee(reporters));

    let transfers = Arc::new(Transfers::new(reporter.clone()));
    let client = Client::new(settings::client_settings(&context.environment)?, transfers)?;
    let outputs = request.outputs.clone();
    let engine = Engine::open(&engine_settings, Arc::new(client), reporter)
        .map_err(|error| build_failure::explain(&error, &source).hint(build_failure::store_hint(&error)))?;
    let result = engine.build(request, context.stop.clone()).await;
    renderer.finish();
    let complete = log.as_ref().is_some_and(|log| log.finish());
    let built = result.map_err(|error| {
        let failure = build_failure::explain(&error, &source);
        match &log {
            Some(log) if complete && build_failure::has_output(&error) => {
                failure.note(format!("the full log is `{}`", log.path().display()))
            }
            _ => failure,
        }
    })?;

    if !quiet(&args) {
        for warning in &built.warnings {
            tell(&place::diagnostic(&source, warning));
        }
        tell(&summary(&built, &tally, &outputs, started));
    }
    write_results(&args, &built)?;
    let stdout_taken = outputs.iter().any(goes_to_stdout);
    if (args.quiet || args.progress == ProgressArg::Quiet) && !stdout_taken {
        print(&format!("{}\n", built.id))?;
    }
    Ok(())
}

fn quiet(args: &BuildArgs) -> bool {
    args.quiet || matches!(args.progress, ProgressArg::Quiet | ProgressArg::None | ProgressArg::Rawjson)
}

fn goes_to_stdout(output: &Output) -> bool {
    match output {
        Output::Oci { dest, .. } | Output::Docker { dest } | Output::Tar { dest } => {
            *dest == Destination::Stdout
        }
        Output::Local { .. } | Output::Registry => false,
    }
}

/// `built app:1.0 as sha256:… in 1.2s: 3 steps ran, 2 cached`
fn summary(built: &Built, tally: &Tally, outputs: &[Output], started: Instant) -> String {
    let name = match built.names.as_slice() {
        [] => "an image without a name".to_owned(),
        names => names.join(", "),
    };
    let pushed = if outputs.contains(&Output::Registry) { "built and pushed" } else { "built" };
    let time = size::duration(started.elapsed());
    format!("{pushed} {name} ({}) in {time}: {}", built.id.short(), tally.sentence())
}

/// `--iidfile` and `--metadata-file`.
fn write_results(args: &BuildArgs, built: &Built) -> Result<()> {
    let write = |path: &std::path::Path, text: &str| {
        std::fs::write(path, text).map_err(|error| {
            Failure::new(format!("the image is built, but `{}` cannot be written: {error}", path.display()))
        })
    };
    if let Some(path) = &args.iidfile {
        write(path, &built.id.to_string())?;
    }
    if let Some(path) = &args.metadata_file {
        let mut metadata =
            json!({"containerimage.config.digest": built.id, "image.name": built.names.join(",")});
        if let Some(manifest) = &built.manifest {
            metadata["containerimage.digest"] = json!(manifest.digest);
            metadata["containerimage.descriptor"] = json!(manifest);
        }
        let text = serde_json::to_string_pretty(&metadata).map_err(|error| Failure::of(&error))?;
        write(path, &format!("{text}\n"))?;
    }
    Ok(())
}

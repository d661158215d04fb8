//! `rbuild build`

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use builder::output::{Destination, Output};
use builder::{Built, Reporter};
use registry_client::Reference;

use super::run::Shell;
use super::{Context, build_failure, build_results, check, engine, outline, print, remote, tell, why};
use crate::args::build::{BuildArgs, ProgressArg};
use crate::args::call::{Call, Format, Method};
use crate::failure::{Failure, Result};
use crate::progress::{self, End, Ending, Kind, LayerRecord, LogFile, Recorder, Tee};
use crate::{place, settings, size};

/// Builds an image.
pub(super) async fn run(context: &Context, args: BuildArgs) -> Result<()> {
    let Call { method, format, ignore_status } = args.call;
    match method {
        Method::Build if args.check => return check::run(context, &args, Format::Text, false).await,
        Method::Build => {}
        Method::Check => return check::run(context, &args, format, ignore_status).await,
        Method::Outline => return print(&outline::outline(context, &args, format).await?),
        Method::Targets => return print(&outline::targets(context, &args, format).await?),
    }
    image(context, &args).await.map(drop)
}

/// Builds an image, shows how, and writes what is asked for beside it.
pub(super) async fn image(context: &Context, args: &BuildArgs) -> Result<Built> {
    let started = Instant::now();
    let mut request = settings::request(args, &context.environment)?;
    let place = settings::place(&args.context)?;
    let named = settings::named_addresses(&args.build_context)?;
    let isolation = settings::isolation(args.isolation.as_deref(), &context.environment)?;

    let terminal = progress::terminal(context.environment.text("TERM"));
    let renderer = Kind::new(args.progress, args.quiet, terminal).start(context.environment.ci());
    if args.on_error.is_some() {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Failure::usage("`--on-error=shell` needs a terminal"));
        }
        let term = context.environment.text("TERM").unwrap_or("xterm").to_owned();
        request.on_failure = Some(Arc::new(Shell { renderer: renderer.clone(), term }));
    }
    let mut reporters: Vec<Arc<dyn Reporter>> = vec![renderer.clone()];
    // A store that cannot be written is the build's own error, with a better message than the log's.
    let log = LogFile::create(&context.store_root()?).ok().map(Arc::new);
    reporters.extend(log.clone().map(|log| log as Arc<dyn Reporter>));
    let recorder = Arc::new(Recorder::new(request.tags.iter().map(Reference::familiar).collect()));
    reporters.push(recorder.clone());
    let reporter: Arc<dyn Reporter> = Arc::new(Tee(reporters));

    let outputs = request.outputs.clone();
    let engine = engine::telling(context, isolation, reporter)?;
    remote::bring(&engine, &place, args.dockerfile_inside(), &mut request).await?;
    remote::bring_named(&engine, &mut request, &named).await?;
    let source = request.dockerfile.clone();
    let result = engine.build(request, context.stop.clone()).await;
    renderer.finish();
    if args.explain
        && let Some(steps) = why::answers(&engine.store)?
    {
        tell(why::text(&steps).trim_end());
    }
    let complete = log.as_ref().is_some_and(|log| log.finish());
    if let Some(log) = &log {
        // A journal that cannot be written takes nothing from the build.
        let _ = recorder.finish(end(&result)).write(log.path());
    }
    let built = result.map_err(|error| {
        let failure = build_failure::explain(&error, &source);
        match &log {
            Some(log) if complete && build_failure::has_output(&error) => {
                failure.note(format!("the full log is `{}`", log.path().display()))
            }
            _ => failure,
        }
    })?;

    if !quiet(args) {
        for warning in &built.warnings {
            tell(&place::diagnostic(&source, warning));
            context.annotate(&[place::annotated(&source, warning)]);
        }
        tell(&summary(&built, &outputs, started.elapsed()));
    }
    let build = log.as_ref().and_then(|log| log.path().file_stem());
    build_results::write(args, &built, build.map(|name| name.to_string_lossy()).as_deref())?;
    let stdout_taken = outputs.iter().any(goes_to_stdout);
    if (args.quiet || args.progress == ProgressArg::Quiet) && !stdout_taken {
        print(&format!("{}\n", built.id))?;
    }
    Ok(built)
}

/// What the journal says of the end of a build.
pub(super) fn end(result: &builder::Result<Built>) -> End {
    let built = match result {
        Ok(built) => built,
        Err(error) => {
            let stopped = matches!(error, builder::Error::Cancelled);
            let result = if stopped { Ending::Stopped } else { Ending::Failed };
            return End {
                result,
                error: Some(layer_store::error::chain(error)),
                image: None,
                layers: Vec::new(),
            };
        }
    };
    let mut layers = Vec::new();
    for image in &built.images {
        let mut steps = image.config.history.iter().filter(|step| !step.empty_layer);
        layers.extend(image.config.rootfs.diff_ids.iter().map(|diff_id| LayerRecord {
            diff_id: *diff_id,
            created_by: steps.next().and_then(|step| step.created_by.clone()).unwrap_or_default(),
        }));
    }
    End { result: Ending::Done, error: None, image: Some(built.id.to_string()), layers }
}

pub(super) fn quiet(args: &BuildArgs) -> bool {
    args.quiet || matches!(args.progress, ProgressArg::Quiet | ProgressArg::None | ProgressArg::Rawjson)
}

pub(super) fn goes_to_stdout(output: &Output) -> bool {
    match output {
        Output::Oci { dest, .. } | Output::Docker { dest } | Output::Tar { dest } => {
            *dest == Destination::Stdout
        }
        Output::Local { .. } | Output::Registry => false,
    }
}

/// `built app:1.0 (0123456789ab) in 1.2s: 3 steps ran, 2 cached`
pub(super) fn summary(built: &Built, outputs: &[Output], elapsed: Duration) -> String {
    let name = match built.names.as_slice() {
        [] => "an image without a name".to_owned(),
        names => names.join(", "),
    };
    let pushed = if outputs.contains(&Output::Registry) { "built and pushed" } else { "built" };
    let steps = |count: usize| format!("{count} step{}", if count == 1 { "" } else { "s" });
    let work = match (built.ran, built.cached) {
        (0, 0) => "no steps".to_owned(),
        (0, cached) => format!("nothing to do, {} cached", steps(cached)),
        (ran, 0) => format!("{} ran", steps(ran)),
        (ran, cached) => format!("{} ran, {cached} cached", steps(ran)),
    };
    format!("{pushed} {name} ({}) in {}: {work}", built.id.short(), size::short_duration(elapsed))
}

#[cfg(test)]
mod tests {
    use layer_store::Digest;

    use super::*;

    #[test]
    fn a_build_in_one_sentence() {
        let sentence = |ran, cached, names: &[&str], outputs: &[Output]| {
            let built = Built {
                id: Digest::of(b""),
                manifest: None,
                images: Vec::new(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                cached,
                ran,
                warnings: Vec::new(),
                provenance: Vec::new(),
            };
            summary(&built, outputs, Duration::from_millis(1234))
        };
        assert_eq!(
            sentence(0, 3, &["app:1.0"], &[]),
            "built app:1.0 (e3b0c44298fc) in 1.2s: nothing to do, 3 steps cached"
        );
        assert_eq!(
            sentence(1, 0, &["a", "b"], &[Output::Registry]),
            "built and pushed a, b (e3b0c44298fc) in 1.2s: 1 step ran"
        );
        assert_eq!(
            sentence(2, 1, &[], &[]),
            "built an image without a name (e3b0c44298fc) in 1.2s: 2 steps ran, 1 cached"
        );
        assert!(sentence(0, 0, &[], &[]).ends_with("no steps"));
    }
}

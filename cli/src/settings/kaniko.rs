//! What the arguments of kaniko's executor mean as a build.

mod context;
mod registries;

use registry_client::Reference;

use super::Environment;
use crate::args::GlobalArgs;
use crate::args::build::{BuildArgs, ProgressArg};
use crate::args::kaniko::{KanikoArgs, LogFormat, boolean};
use crate::failure::{Failure, Result};

/// kaniko's own default of `--cache-ttl`: two weeks.
const CACHE_TTL: &str = "336h";

/// A build in kaniko's words.
pub(crate) struct KanikoBuild {
    /// The build.
    pub(crate) build: BuildArgs,
    /// Options of the whole program.
    pub(crate) global: GlobalArgs,
    /// The environment, with where kaniko keeps credentials.
    pub(crate) environment: Environment,
    /// Where the image is pushed to, or would be.
    pub(crate) destinations: Vec<Reference>,
}

/// Reads the arguments. Looks which of kaniko's directories exist.
pub(crate) fn read(args: &KanikoArgs, global: &GlobalArgs, environment: &Environment) -> Result<KanikoBuild> {
    let destinations = args.destination.iter().map(|text| destination(text)).collect::<Result<Vec<_>>>()?;
    let no_push = match environment.text("KANIKO_NO_PUSH") {
        Some(text) => boolean(text)
            .map_err(|reason| Failure::usage(format!("`KANIKO_NO_PUSH={text}` means nothing: {reason}")))?,
        None => args.no_push == Some(true),
    };
    if destinations.is_empty() {
        let named = [
            ("--image-name-with-digest-file", &args.image_name_with_digest_file),
            ("--image-name-tag-with-digest-file", &args.image_name_tag_with_digest_file),
        ];
        if let Some((option, _)) = named.iter().find(|(_, value)| value.is_some()) {
            return Err(Failure::usage(format!("`{option}` needs a `--destination`")));
        }
        if !no_push {
            return Err(Failure::usage("there is no place to push to")
                .hint("name one with `--destination`, or say `--no-push`"));
        }
    }
    let mut environment = surroundings(args, environment);
    let context = context::address(args, &environment)?;
    let mut secret = args.secret.clone();
    if let Some(credentials) = context::credentials(args, &environment) {
        secret.insert(0, format!("id={},env={}", credentials.id, context::Credentials::VARIABLE));
        environment = environment.with_default(context::Credentials::VARIABLE, credentials.header);
    }
    let mut build = BuildArgs {
        file: context::dockerfile(args, &context),
        context,
        tag: args.destination.clone(),
        build_arg: args.build_arg.iter().map(|text| build_arg(text, &environment)).collect(),
        label: args.label.clone(),
        annotation: args.annotation.clone(),
        secret,
        target: args.target.iter().cloned().collect(),
        platform: args.custom_platform.iter().cloned().collect(),
        squash: args.single_snapshot == Some(true),
        // A cache that is switched off is something else than none that is named: the store's own results are good.
        no_cache: args.cache == Some(false) || args.cache_run_layers == Some(false),
        output: outputs(args, no_push),
        progress: progress(args),
        ..BuildArgs::default()
    };
    if args.cache == Some(true) {
        cache(args, &destinations, no_push, &mut build)?;
    }
    let global = registries::with(args, global, &destinations, &environment)?;
    Ok(KanikoBuild { build, global, environment, destinations })
}

/// A destination is a repository with a tag, `latest` where none is written.
fn destination(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)
        .and_then(|reference| Reference::parse(&reference.canonical()))
        .map_err(|error| Failure::usage(error.to_string()))?;
    if reference.digest().is_some() {
        return Err(Failure::usage(format!(
            "`--destination {text}` names a digest, which only the build can know"
        )));
    }
    Ok(reference)
}

/// Credentials are where kaniko's image has them, unless a variable says otherwise; and times are 1970 where the result
/// is to be reproducible.
fn surroundings(args: &KanikoArgs, environment: &Environment) -> Environment {
    let mut environment = environment.clone();
    let own = environment.path("KANIKO_DIR").unwrap_or_else(|| "/kaniko".into());
    let directory = args.kaniko_dir.as_ref().map_or(own, Into::into).join(".docker");
    if directory.is_dir() {
        environment = environment.with_default("DOCKER_CONFIG", directory);
    }
    if args.reproducible == Some(true) {
        environment = environment.with_default("SOURCE_DATE_EPOCH", "0");
    }
    environment
}

/// A build argument without a value has that of the environment, and an empty one where that has none.
fn build_arg(text: &str, environment: &Environment) -> String {
    if text.contains('=') {
        return text.to_owned();
    }
    format!("{text}={}", environment.exact(text).unwrap_or_default())
}

fn progress(args: &KanikoArgs) -> ProgressArg {
    match args.log_format {
        _ if args.verbosity.is_some_and(crate::args::kaniko::Verbosity::is_quiet) => ProgressArg::None,
        LogFormat::Text => ProgressArg::Plain,
        LogFormat::Color => ProgressArg::Auto,
        LogFormat::Json => ProgressArg::Rawjson,
    }
}

/// The outputs, in the words of `--output`.
fn outputs(args: &KanikoArgs, no_push: bool) -> Vec<String> {
    let mut packing = String::new();
    if let Some(name) = &args.compression {
        packing = format!(",compression={name}");
    }
    if let Some(level) = args.compression_level.filter(|level| *level >= 0) {
        packing += &format!(",compression-level={level}");
    }
    let mut outputs = Vec::new();
    let at = |kind: &str, path: &str| format!("{kind},{}{packing}", field("dest", path));
    outputs.extend(args.oci_layout_path.as_ref().map(|path| at("type=oci,tar=false", path)));
    outputs.extend(args.tar_path.as_ref().map(|path| at("type=docker", path)));
    if !no_push {
        outputs.push(format!("type=registry{packing}"));
    }
    outputs
}

/// A field of a value in CSV.
fn field(key: &str, value: &str) -> String {
    format!("\"{key}={}\"", value.replace('"', "\"\""))
}

/// `--cache=true` and what belongs to it.
fn cache(args: &KanikoArgs, destinations: &[Reference], no_push: bool, build: &mut BuildArgs) -> Result<()> {
    let place = match (&args.cache_repo, destinations.first()) {
        (Some(repository), _) => repository.clone(),
        (None, Some(destination)) if !no_push => format!("{}/cache", destination.name()),
        (None, _) => {
            return Err(Failure::usage("a build that pushes nothing has no repository for its cache")
                .hint("name one with `--cache-repo`"));
        }
    };
    let (from, to) = match place.strip_prefix("oci:") {
        Some(path) => {
            (format!("type=local,{}", field("src", path)), format!("type=local,{}", field("dest", path)))
        }
        None => {
            let both = format!("type=registry,{}", field("ref", &place));
            (both.clone(), both)
        }
    };
    build.cache_from.push(from);
    if args.no_push_cache != Some(true) {
        build.cache_to.push(format!("{to},mode=max"));
    }
    build.cache_ttl = Some(args.cache_ttl.clone().unwrap_or_else(|| CACHE_TTL.to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests;

//! From the arguments of a build to what the builder is asked for.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use builder::BuildRequest;
use builder::context::layout::LayoutSource;
use builder::dockerfile::{Source, decode};
use builder::graph::Network;
use builder::lower::{LowerOptions, NamedContext, NoCache};
use builder::output::{Output, Packing};
use builder::resolve::Pull;
use builder::sandbox::Isolation;
use layer_store::Platform;
use registry_client::Reference;

use super::values::{self, pairs};
use super::{Environment, attest, cache, output, sandbox};
use crate::args::build::BuildArgs;
use crate::failure::{Failure, Result};

/// The largest Dockerfile that standard input may hold, in bytes.
const STDIN_LIMIT: u64 = 4 << 20;

/// Which isolation RUN steps get.
pub(crate) fn isolation(asked: Option<&str>, environment: &Environment) -> Result<Isolation> {
    match asked.or_else(|| environment.text("RBUILD_ISOLATION")) {
        None | Some("auto" | "default") => Ok(Isolation::Auto),
        Some("root") => Ok(Isolation::Root),
        Some("userns") => Ok(Isolation::Userns),
        Some("single") => Ok(Isolation::Single),
        Some("chroot") => Ok(Isolation::Chroot),
        Some(other) => Err(Failure::usage(format!("there is no isolation `{other}`"))
            .hint("it is `auto`, `root`, `userns`, `single` or `chroot`; `rbuild doctor` shows which of them work here")),
    }
}

/// What the builder is asked for. Reads the Dockerfile.
pub(crate) fn request(args: &BuildArgs, environment: &Environment) -> Result<BuildRequest> {
    let place = place(&args.context)?;
    let (dockerfile, dockerfile_path) = dockerfile(args, &place)?;
    let context = match place {
        ContextPlace::Directory(path) => Some(path),
        ContextPlace::Stdin | ContextPlace::Archive(_) | ContextPlace::Remote(_) => None,
    };
    let tags = args.tag.iter().map(|name| tag(name)).collect::<Result<Vec<_>>>()?;
    let (named_directories, contexts) = named_contexts(&args.build_context)?;
    let mut build_args = build_args(&args.build_arg, environment);
    if let Some(source) = environment.text(EPOCH).filter(|text| names_source(text)) {
        build_args.entry(EPOCH.to_owned()).or_insert_with(|| source.to_owned());
    }
    let epoch = match build_args.get(EPOCH) {
        // The build finds out which time that source has.
        Some(text) if names_source(text) => None,
        Some(text) => epoch(text)?,
        None => source_date_epoch(environment)?,
    };
    let output::Asked { mut outputs, packing, names: output_tags, as_artifact } =
        output::read(&args.output, epoch.is_some())?;
    if args.push && !outputs.contains(&Output::Registry) {
        outputs.push(Output::Registry);
    }
    let tags = tags
        .into_iter()
        .chain(output_tags.iter().map(|name| tag(name)).collect::<Result<Vec<_>>>()?)
        .collect::<Vec<_>>();
    if outputs.contains(&Output::Registry) && tags.is_empty() {
        return Err(
            Failure::usage("there is no name to push to").hint("add `-t registry.example/team/app:1.0`")
        );
    }
    let allow = allowed(&args.allow)?;
    let attestations = attest::read(args, &outputs, as_artifact)?;
    Ok(BuildRequest {
        dockerfile,
        dockerfile_path,
        context,
        archives: HashMap::new(),
        named_directories,
        options: LowerOptions {
            targets: args.target.iter().filter(|target| !target.is_empty()).cloned().collect(),
            build_args,
            platforms: platforms(&args.platform)?,
            platform_is_asked: args.platform.iter().any(|text| !text.is_empty()),
            build_platform: Platform::host(),
            settings: sandbox::settings(&args.sandbox)?,
            network: network(args.network.as_deref())?,
            allow_insecure: allow.insecure,
            allow_host_network: allow.host_network,
            no_cache: no_cache(args),
            contexts,
        },
        tags,
        labels: pairs("--label", &args.label)?,
        pull: pull(args.pull.as_deref())?,
        outputs,
        packing,
        jobs: jobs(args),
        step_timeout: args.step_timeout.as_deref().map(values::duration).transpose()?,
        epoch,
        max_used_space: args
            .max_used_space
            .as_deref()
            .or_else(|| environment.text("RBUILD_MAX_USED_SPACE"))
            .map(values::bytes)
            .transpose()?,
        secrets: values::secrets(&args.secret, &args.ssh, environment)?,
        on_failure: None,
        annotations: super::annotations::read(&args.annotation, args.push || !args.output.is_empty())?,
        squash: args.squash,
        cache: cache::read(args)?,
        attestations,
        addresses: HashMap::new(),
        describe: args.metadata_file.is_some(),
    })
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextPlace {
    /// A directory of this machine.
    Directory(PathBuf),
    /// Standard input: an archive, or a Dockerfile alone.
    Stdin,
    /// An archive of this machine.
    Archive(PathBuf),
    /// A URL or a git repository.
    Remote(String),
}

/// What the context's word means.
pub(crate) fn place(text: &str) -> Result<ContextPlace> {
    if text == "-" {
        return Ok(ContextPlace::Stdin);
    }
    if let Some(path) = text.strip_prefix("tar://") {
        return Ok(ContextPlace::Archive(path.into()));
    }
    let path = Path::new(text);
    if path.is_dir() {
        return Ok(ContextPlace::Directory(path.to_owned()));
    }
    if !path.exists() && is_address(text) {
        return Ok(ContextPlace::Remote(text.to_owned()));
    }
    let problem = if path.exists() { "is not a directory" } else { "does not exist" };
    let hint = meant_directory(path).unwrap_or_else(|| {
        "the last word of the command is the directory that COPY reads from, often `.`".to_owned()
    });
    Err(Failure::new(format!("the build context `{text}` {problem}")).hint(hint))
}

/// The directory beside a missing one that was probably meant; for a file, the one that it is in.
fn meant_directory(path: &Path) -> Option<String> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_file() {
        let (file, context) = (path.display(), parent.display());
        return Some(format!("if that is the Dockerfile: `--file {file} {context}`"));
    }
    let entries = std::fs::read_dir(parent).ok()?.take(1000).filter_map(std::result::Result::ok);
    let directories = entries.filter(|entry| entry.path().is_dir());
    let names: Vec<String> = directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let near = builder::dockerfile::nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(format!("did you mean `{}`?", path.with_file_name(near).display()))
}

fn is_address(text: &str) -> bool {
    let remote = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    remote.iter().any(|prefix| text.starts_with(prefix))
}

/// Whether a file is somewhere in the web.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The Dockerfile and its path. One that is fetched, alone or with a context that is no directory, is read when it is
/// here; until then it is empty.
fn dockerfile(args: &BuildArgs, place: &ContextPlace) -> Result<(Source, Option<PathBuf>)> {
    if let Some(text) = &args.inline {
        return Ok((Source::new("<inline>", text.as_str()), None));
    }
    if args.file.as_deref() == Some("-") {
        if *place == ContextPlace::Stdin {
            return Err(Failure::usage(
                "the context and the Dockerfile cannot both come from standard input",
            ));
        }
        return Ok((stdin()?, None));
    }
    let context = match place {
        ContextPlace::Directory(context) if !args.file.as_deref().is_some_and(is_url) => context,
        _ => return Ok((Source::new("Dockerfile", ""), None)),
    };
    let given = args.file.as_deref().map(Path::new);
    let mut source = builder::input::dockerfile(Some(context), given).map_err(|error| {
        let usual =
            || given.is_none().then(|| "`--file` names a Dockerfile of another name or place".to_owned());
        Failure::of(&error).hint(error.hint().or_else(usual))
    })?;
    let path = PathBuf::from(&source.name);
    if let Some(short) = source.name.strip_prefix("./") {
        source.name = short.to_owned();
    }
    Ok((source, Some(path)))
}

fn stdin() -> Result<Source> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(STDIN_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(format!("cannot read the Dockerfile from standard input: {error}")))?;
    if bytes.len() as u64 > STDIN_LIMIT {
        return Err(Failure::new(format!(
            "the Dockerfile on standard input is larger than {STDIN_LIMIT} bytes"
        )));
    }
    let text = decode(&bytes).map_err(|line| {
        Failure::new(format!("line {line} of the Dockerfile on standard input is not UTF-8 text"))
    })?;
    Ok(Source::new("<stdin>", text))
}

/// An image's name.
fn tag(name: &str) -> Result<Reference> {
    let reference = Reference::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
    if reference.digest().is_some() {
        return Err(Failure::usage(format!("`--tag {name}` names a digest, which only the build can know")));
    }
    Ok(reference)
}

fn named_contexts(texts: &[String]) -> Result<(BTreeMap<String, PathBuf>, BTreeMap<String, NamedContext>)> {
    let mut directories = BTreeMap::new();
    let mut contexts = BTreeMap::new();
    for (name, place) in pairs("--build-context", texts)? {
        let name = name.to_lowercase();
        if let Some(image) = place.strip_prefix("docker-image://") {
            contexts.insert(name, NamedContext::Image(image.to_owned()));
            continue;
        }
        if let Some(layout) = place.strip_prefix("oci-layout://") {
            let layout = LayoutSource::parse(layout)
                .map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))?;
            contexts.insert(name, NamedContext::Layout(layout));
            continue;
        }
        if is_address(&place) {
            continue;
        }
        if place.contains("://") {
            return Err(Failure::new(format!(
                "the context `{name}={place}` is of a kind that is not supported yet"
            ))
            .hint("a further context is a directory, an archive's or git repository's URL, `docker-image://NAME` or `oci-layout://PATH[:TAG]`"));
        }
        if !Path::new(&place).is_dir() {
            return Err(Failure::new(format!("the build context `{name}={place}` is not a directory")));
        }
        directories.insert(name.clone(), PathBuf::from(place));
        contexts.insert(name, NamedContext::Directory);
    }
    Ok((directories, contexts))
}

/// The further contexts that are addresses: name and address.
pub(crate) fn named_addresses(texts: &[String]) -> Result<Vec<(String, String)>> {
    let all = pairs("--build-context", texts)?.into_iter();
    Ok(all.filter(|(_, place)| is_address(place)).map(|(name, place)| (name.to_lowercase(), place)).collect())
}

/// `NAME=VALUE`; a bare `NAME` has its value from the environment, and none where it is not set there.
fn build_args(texts: &[String], environment: &Environment) -> BTreeMap<String, String> {
    let value = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => environment.exact(text).map(|value| (text.clone(), value.to_owned())),
    };
    texts.iter().filter_map(value).collect()
}

const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Whether the time is not given but has to be asked of a context or a stage.
fn names_source(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic())
}

fn epoch(text: &str) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().map(Some);
    seconds.map_err(|_| Failure::usage(format!("`{EPOCH}={text}` is not a number of seconds")))
}

/// The time that everything which is made now gets, in seconds, where one is set.
pub(crate) fn source_date_epoch(environment: &Environment) -> Result<Option<i64>> {
    environment.text(EPOCH).map_or(Ok(None), epoch)
}

/// The platforms of the image, each once; without any that of this machine.
fn platforms(texts: &[String]) -> Result<Vec<Platform>> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let platform = match text.as_str() {
            "local" => Platform::host(),
            text => text
                .parse()
                .map_err(|error: layer_store::platform::InvalidPlatform| Failure::usage(error.to_string()))?,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(if platforms.is_empty() { vec![Platform::host()] } else { platforms })
}

/// `--pull` as Docker has it (a flag), and as Podman does (a word).
fn pull(text: Option<&str>) -> Result<Pull> {
    match text {
        None | Some("missing" | "false") => Ok(Pull::Missing),
        Some("always" | "true") => Ok(Pull::Always),
        Some("newer") => Ok(Pull::Newer),
        Some("never") => Ok(Pull::Never),
        Some(other) => Err(Failure::usage(format!("`--pull={other}` means nothing"))
            .hint("it is `always`, `missing`, `newer` or `never`")),
    }
}

/// The network that `--network` names.
pub(crate) fn network(text: Option<&str>) -> Result<Network> {
    match text {
        None | Some("default" | "") => Ok(Network::Default),
        Some("host") => Ok(Network::Host),
        Some("none") => Ok(Network::None),
        // As buildah and podman call it.
        Some("private" | "pasta") => Ok(Network::Private),
        Some(other) => Err(Failure::usage(format!("there is no network `{other}`"))
            .hint("a RUN has the network `default`, `host`, `none` or `private`")),
    }
}

fn no_cache(args: &BuildArgs) -> NoCache {
    if args.no_cache {
        NoCache::All
    } else if args.no_cache_filter.is_empty() {
        NoCache::Never
    } else {
        NoCache::Stages(args.no_cache_filter.clone())
    }
}

#[derive(Default)]
struct Allowed {
    insecure: bool,
    host_network: bool,
}

fn allowed(texts: &[String]) -> Result<Allowed> {
    let mut allowed = Allowed::default();
    for text in texts {
        match text.as_str() {
            "network.host" => allowed.host_network = true,
            "security.insecure" => allowed.insecure = true,
            other => {
                return Err(Failure::usage(format!("there is no entitlement `{other}`"))
                    .hint("`--allow` takes `network.host` and `security.insecure`"));
            }
        }
    }
    Ok(allowed)
}

fn jobs(args: &BuildArgs) -> usize {
    let processors = || std::thread::available_parallelism().map_or(2, Into::into);
    args.jobs.map_or_else(processors, Into::into)
}

/// How layers travel: `gzip`, `gzip:9`, `zstd`, `zstd:3`, `none`.
pub(crate) fn packing(text: &str) -> Result<Packing> {
    output::packing(text, None, false)
}

/// How the layers of a build travel.
pub(crate) fn output_packing(args: &BuildArgs) -> Result<Packing> {
    output::read(&args.output, true).map(|asked| asked.packing)
}

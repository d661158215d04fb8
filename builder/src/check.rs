//! What the lint rules have to say about a build, without building.

use std::collections::{BTreeMap, BTreeSet};

use layer_store::{ImageConfig, Platform, Store};

use crate::build::BuildRequest;
use crate::dockerfile::ast::{CheckControls, Dockerfile};
use crate::dockerfile::globals::Globals;
use crate::dockerfile::lint::{BaseImage, BaseLookup, LintContext, lint};
use crate::dockerfile::{self, Diagnostic, nearest};
use crate::error::{Error, Result};
use crate::ignore::Matcher;
use crate::lower::args::PROXIES;
use crate::resolve;

/// The build argument that stands in place of a file's `# check=` line.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What a Dockerfile has that should be known.
#[derive(Debug)]
pub struct Checked {
    /// Errors and findings, in the order of places.
    pub findings: Vec<Diagnostic>,
    /// About build arguments that nothing declares, a sentence each.
    pub unused_arguments: Vec<String>,
}

/// All errors and findings of a Dockerfile, rbuild's own rules among them. Base images are looked up in `store` and
/// never fetched; where one is not known, the rules that would have to guess are silent.
///
/// # Errors
///
/// An ignore file or a `BUILDKIT_DOCKERFILE_CHECK` that cannot be read. Errors of the Dockerfile are findings.
pub fn check(request: &BuildRequest, store: Option<&Store>) -> Result<Checked> {
    let (parsed, mut findings) = dockerfile::parse(&request.dockerfile);
    let ignore = request.ignore_rules()?;
    let base =
        |name: &str, platform: &Platform| resolve::config_in_store(store?, name, platform).map(|c| facts(&c));
    let asked =
        Asked { request, ignore: ignore.as_ref(), base: Some(&base), own_rules: true, all_stages: true };
    findings.extend(asked.lints(&parsed)?);
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    let unused_arguments = unused_arguments(request, &parsed, &BTreeSet::new());
    Ok(Checked { findings, unused_arguments })
}

/// Build arguments of a request that nothing declares: neither the Dockerfile nor one of `others`, which are those of
/// triggers. Each with the name that was probably meant. Arguments that need no declaration are not among them.
pub(crate) fn unused_arguments(
    request: &BuildRequest,
    parsed: &Dockerfile,
    others: &BTreeSet<String>,
) -> Vec<String> {
    let options = &request.options;
    // Which platform it is does not change which names are known.
    let platform = options.platforms.first().unwrap_or(&options.build_platform);
    let (globals, _) = Globals::new(parsed, options.given(platform, None));
    let declared: BTreeSet<&str> = parsed.arguments().chain(others.iter().map(String::as_str)).collect();
    let special = |name: &str| {
        PROXIES.as_flattened().contains(&name) || name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH"
    };
    let unused = request
        .options
        .build_args
        .keys()
        .filter(|name| !declared.contains(name.as_str()) && !special(name) && !globals.knows(name));
    unused
        .map(|name| match nearest(name, declared.iter().copied()) {
            Some(near) => format!("the build argument `{name}` is not used; did you mean `{near}`?"),
            None => format!("the build argument `{name}` is not used"),
        })
        .collect()
}

/// What the rules are asked about, and how.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) ignore: Option<&'a Matcher>,
    pub(crate) base: Option<BaseLookup<'a>>,
    /// Whether rbuild's own rules are asked too.
    pub(crate) own_rules: bool,
    /// Whether stages that are not built are looked at where no target is named.
    pub(crate) all_stages: bool,
}

impl Asked<'_> {
    /// The findings of the lint rules.
    pub(crate) fn lints(&self, parsed: &Dockerfile) -> Result<Vec<Diagnostic>> {
        let options = &self.request.options;
        let check = match options.build_args.get(CHECK_ARGUMENT) {
            Some(text) => Some(CheckControls::parse(text).map_err(|error| Error::Invalid {
                message: format!("the build argument `{CHECK_ARGUMENT}`: {}", error.message),
                help: error.help,
            })?),
            None => None,
        };
        let context = LintContext {
            build_args: options.build_args.clone(),
            named_contexts: options.contexts.keys().cloned().collect(),
            platform: options.platforms.first().cloned().unwrap_or_else(Platform::host),
            build_platform: options.build_platform.clone(),
            target: options.targets.last().cloned(),
            all_stages: self.all_stages,
            check,
            ignore: self.ignore,
            base: self.base,
            own_rules: self.own_rules,
        };
        Ok(lint(parsed, &self.request.dockerfile, &context))
    }
}

/// What the rules want to know of an image.
pub(crate) fn facts(config: &ImageConfig) -> BaseImage {
    let pairs = config.config.env.iter().filter_map(|pair| pair.split_once('='));
    let env: BTreeMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let has_shell = config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty());
    BaseImage { env, has_shell, platform: Some(config.platform()) }
}

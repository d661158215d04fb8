//! What the lint rules have to say about a build, without building.

use layer_store::Platform;

use crate::build::BuildRequest;
use crate::dockerfile::ast::Dockerfile;
use crate::dockerfile::lint::{LintContext, lint};
use crate::dockerfile::{self, Diagnostic};
use crate::error::Result;
use crate::ignore::Matcher;

/// All errors and findings of a Dockerfile, in the order of places, rbuild's own rules among them.
pub fn check(request: &BuildRequest) -> Result<Vec<Diagnostic>> {
    let (parsed, mut findings) = dockerfile::parse(&request.dockerfile);
    let ignore = match &request.context {
        Some(directory) => crate::input::ignore_rules(directory, request.dockerfile_path.as_deref())?,
        None => None,
    };
    findings.extend(lints(&parsed, request, ignore.as_ref(), true));
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    Ok(findings)
}

/// The findings of the lint rules.
pub(crate) fn lints(
    parsed: &Dockerfile,
    request: &BuildRequest,
    ignore: Option<&Matcher>,
    own_rules: bool,
) -> Vec<Diagnostic> {
    let options = &request.options;
    let context = LintContext {
        build_args: options.build_args.clone(),
        named_contexts: options.contexts.keys().cloned().collect(),
        platform: options.platforms.first().cloned().unwrap_or_else(Platform::host),
        build_platform: options.build_platform.clone(),
        target: options.targets.last().cloned(),
        ignore,
        own_rules,
        ..LintContext::default()
    };
    lint(parsed, &request.dockerfile, &context)
}

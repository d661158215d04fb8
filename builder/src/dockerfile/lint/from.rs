//! Rules about FROM.

use layer_store::Platform;
use registry_client::Reference;

use super::rules::{
    FROM_PLATFORM_FLAG_CONST_DISALLOWED, INVALID_BASE_IMAGE_PLATFORM, INVALID_DEFAULT_ARG_IN_FROM,
    REDUNDANT_TARGET_PLATFORM, UNDEFINED_ARG_IN_FROM, UNPINNED_BASE_IMAGE,
};
use super::text::help;
use super::{BaseImage, Findings, LintContext};
use crate::dockerfile::expand::Expanded;
use crate::dockerfile::globals::Globals;
use crate::dockerfile::{Stage, StageName, Word};

/// One FROM.
pub(super) struct From<'a> {
    pub(super) stage: &'a Stage,
    /// Its image, expanded.
    pub(super) base: &'a str,
    /// The image is a stage above.
    pub(super) earlier: bool,
    pub(super) context: &'a LintContext<'a>,
    pub(super) escape: char,
    /// With the build's arguments.
    pub(super) globals: &'a Globals,
    /// Without any.
    pub(super) defaults: &'a Globals,
}

impl From<'_> {
    /// Checks the line and returns what is known about the base image.
    pub(super) fn check(&self, findings: &mut Findings<'_>) -> Option<BaseImage> {
        let Self { stage, base, context, globals, .. } = *self;
        self.undefined(&stage.image, findings);
        let mut platform = context.platform.clone();
        if let Some(word) = &stage.platform {
            self.undefined(word, findings);
            if let Ok(expanded) = globals.expand(word, self.escape) {
                self.platform(word, &expanded, findings);
                platform = expanded.text.parse().unwrap_or(platform);
            }
        }
        if self.earlier || base == "scratch" {
            return None;
        }
        self.default_image(findings);
        if context.named_contexts.contains(base) {
            return None;
        }
        self.version(findings);
        let facts = context.base.and_then(|lookup| lookup(base, &platform));
        if let Some(actual) = facts.as_ref().and_then(|facts| facts.platform.as_ref())
            && (&actual.os, &actual.architecture) != (&platform.os, &platform.architecture)
        {
            let message = format!("base image `{base}` is for `{actual}`, and `{platform}` is built");
            let local = stage.check.as_ref();
            findings.report(INVALID_BASE_IMAGE_PLATFORM, local, stage.image.span, message);
        }
        facts
    }

    /// Without build arguments the line still names an image.
    fn default_image(&self, findings: &mut Findings<'_>) {
        let image = &self.stage.image;
        if let Ok(default) = self.defaults.expand(image, self.escape)
            && !(default.used.is_empty() && default.undefined.is_empty())
            && Reference::parse(&default.text).is_err()
        {
            let message =
                format!("default value for ARG in `{image}` results in an empty or invalid image name");
            findings.report(INVALID_DEFAULT_ARG_IN_FROM, self.stage.check.as_ref(), image.span, message);
        }
    }

    fn version(&self, findings: &mut Findings<'_>) {
        let base = self.base;
        if let Ok(reference) = Reference::parse(base)
            && reference.digest().is_none()
            && reference.tag().is_none_or(|tag| tag == "latest")
        {
            let message = format!("base image `{base}` is whatever `latest` is on the day of the build");
            let local = self.stage.check.as_ref();
            help(findings.report(UNPINNED_BASE_IMAGE, local, self.stage.image.span, message), || {
                "name a version, or a digest".to_owned()
            });
        }
    }

    fn undefined(&self, word: &Word, findings: &mut Findings<'_>) {
        let Ok(expanded) = self.globals.expand(word, self.escape) else { return };
        for name in expanded.undefined.iter().filter(|name| !self.globals.knows(name)) {
            let message = format!("FROM argument `{name}` is not declared");
            let near = findings.nearest(name, self.globals.names());
            let finding =
                findings.report(UNDEFINED_ARG_IN_FROM, self.stage.check.as_ref(), word.span, message);
            if let Some(known) = near {
                help(finding, || format!("did you mean `{known}`?"));
            }
        }
    }

    fn platform(&self, word: &Word, expanded: &Expanded, findings: &mut Findings<'_>) {
        let local = self.stage.check.as_ref();
        if expanded.undefined.is_empty()
            && expanded.used == ["TARGETPLATFORM"]
            && self.globals.value("TARGETPLATFORM") == Some(&expanded.text)
        {
            let message =
                format!("setting platform to predefined `{word}` is redundant, as this is the default");
            findings.report(REDUNDANT_TARGET_PLATFORM, local, word.span, message);
        }
        if expanded.used.is_empty()
            && expanded.undefined.is_empty()
            && let Ok(platform) = expanded.text.parse::<Platform>()
        {
            // A stage that has the platform in its name means it.
            let name = self.stage.name.as_ref().map(StageName::as_str).unwrap_or_default();
            if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
                let message = format!("`--platform` should not be the constant `{word}`");
                help(findings.report(FROM_PLATFORM_FLAG_CONST_DISALLOWED, local, word.span, message), || {
                    "use `$BUILDPLATFORM` or an ARG, or put the platform in the stage's name".to_owned()
                });
            }
        }
    }
}

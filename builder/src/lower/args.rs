//! What FROM sees, with errors at their places.

use layer_store::Platform;

use super::{LowerOptions, at};
use crate::dockerfile::ast::{Dockerfile, Word};
use crate::dockerfile::globals::{Given, Globals};
use crate::error::{Error, Result};

/// Build arguments that need no declaration: they reach commands, and neither the cache nor the history.
pub(crate) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

impl LowerOptions {
    /// What the global scope of one platform and target depends on.
    pub(crate) fn given<'a>(&'a self, platform: &'a Platform, target: Option<&'a str>) -> Given<'a> {
        Given { build_args: &self.build_args, platform, build_platform: &self.build_platform, target }
    }
}

/// The global scope of a file.
pub(super) fn globals(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    platform: &Platform,
    target: Option<&str>,
) -> Result<Globals> {
    match Globals::new(dockerfile, options.given(platform, target)) {
        (globals, None) => Ok(globals),
        (_, Some(error)) => Err(Error::Dockerfile(vec![error])),
    }
}

/// Expands a word of a FROM.
pub(super) fn expand(globals: &Globals, word: &Word, escape: char) -> Result<String> {
    let expanded = globals
        .expand(word, escape)
        .map_err(|error| at(word.span, format!("cannot expand `{word}`: {error}")))?;
    Ok(expanded.text)
}

/// Expands the image of a FROM, which must not become empty.
pub(super) fn expand_from(globals: &Globals, word: &Word, escape: char) -> Result<String> {
    let image = expand(globals, word, escape)?;
    if image.is_empty() {
        return Err(at(word.span, format!("base name (`{word}`) should not be blank")));
    }
    Ok(image)
}

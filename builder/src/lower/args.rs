//! Build arguments before the first FROM, and those that are always there.

use std::collections::BTreeMap;

use super::{LowerOptions, at};
use crate::dockerfile::ast::{Dockerfile, InstructionKind, Word};
use crate::dockerfile::expand::{Scope, expand};
use crate::error::Result;

/// Build arguments that need no declaration: they reach commands, in upper and in lower case, and neither the cache
/// nor the history.
const PROXIES: [[&str; 2]; 5] = [
    ["HTTP_PROXY", "http_proxy"],
    ["HTTPS_PROXY", "https_proxy"],
    ["FTP_PROXY", "ftp_proxy"],
    ["NO_PROXY", "no_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

/// The variables of a command that are of `build_args` without a declaration: name and value.
pub(super) fn proxies(build_args: &BTreeMap<String, String>) -> impl Iterator<Item = (&'static str, &str)> {
    PROXIES.into_iter().flat_map(|names| {
        let given = names.iter().find_map(|name| build_args.get(*name)).filter(|value| !value.is_empty());
        given.into_iter().flat_map(move |value| names.map(|name| (name, value.as_str())))
    })
}

/// The global scope: what FROM sees, and what a bare `ARG name` in a stage takes its value from.
#[derive(Debug)]
pub(super) struct Globals {
    values: BTreeMap<String, String>,
}

impl Globals {
    pub(super) fn of(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", &options.platform)] {
            values.insert(format!("{prefix}PLATFORM"), platform.to_string());
            values.insert(format!("{prefix}OS"), platform.os.clone());
            values.insert(format!("{prefix}OSVERSION"), platform.os_version.clone().unwrap_or_default());
            values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
            values.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
        }
        let stage = options.target.clone().unwrap_or_else(|| "default".to_owned());
        values.insert("TARGETSTAGE".to_owned(), stage);
        for (name, value) in &mut values {
            if let Some(given) = options.build_args.get(name) {
                value.clone_from(given);
            }
        }
        let mut globals = Self { values };
        for instruction in &dockerfile.meta_args {
            let InstructionKind::Arg(declarations) = &instruction.kind else { continue };
            for declaration in declarations {
                let value = match (options.build_args.get(&declaration.name), &declaration.default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(default)) => Some(globals.expand(default, dockerfile.directives.escape)?),
                    (None, None) => None,
                };
                if let Some(value) = value {
                    globals.values.insert(declaration.name.clone(), value);
                }
            }
        }
        Ok(globals)
    }

    /// `SOURCE_DATE_EPOCH`, if it is declared here with a value.
    pub(super) fn epoch(&self, dockerfile: &Dockerfile) -> Result<Option<i64>> {
        let name = "SOURCE_DATE_EPOCH";
        let Some(text) = self.value(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let declared = dockerfile.meta_args.iter().rfind(|instruction| match &instruction.kind {
                InstructionKind::Arg(declarations) => declarations.iter().any(|one| one.name == name),
                _ => false,
            });
            let span = declared.map(|instruction| instruction.span).unwrap_or_default();
            at(span, format!("invalid {name}: `{text}` is not a number of seconds"))
        })
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Expands a word of a FROM.
    pub(super) fn expand(&self, word: &Word, escape: char) -> Result<String> {
        let lookup = |name: &str| self.values.get(name).cloned();
        let expanded = expand(&word.text, escape, &Scope { lookup: &lookup })
            .map_err(|error| at(word.span, format!("cannot expand `{word}`: {error}")))?;
        Ok(expanded.text)
    }

    /// Expands the image of a FROM, which must not become empty.
    pub(super) fn expand_from(&self, word: &Word, escape: char) -> Result<String> {
        let image = self.expand(word, escape)?;
        if image.is_empty() {
            return Err(at(word.span, format!("base name (`{word}`) should not be blank")));
        }
        Ok(image)
    }
}

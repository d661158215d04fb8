//! Which files a bake reads: those that are named, or the usual ones, here or where a definition is.

use std::io::Read as _;

use builder::dockerfile::Source;

use super::super::Environment;
use crate::args::bake::BakeArgs;
use crate::bake::{DEFAULT_FILES, paths};
use crate::failure::{Failure, Result};

/// The largest file, in bytes.
const FILE_LIMIT: u64 = 16 << 20;

/// The address of a definition that is somewhere else.
pub(crate) fn remote_address(args: &BakeArgs) -> Option<&str> {
    args.targets.first().map(String::as_str).filter(|word| paths::is_remote(word))
}

/// The files of such a definition, and whether they were named: of the usual ones each may be missing.
pub(crate) fn remote_names(args: &BakeArgs, environment: &Environment) -> (Vec<String>, bool) {
    let mut names = names(args, environment);
    names.retain(|name| name != "-" && !name.starts_with("cwd://"));
    let named = !names.is_empty();
    if !named {
        names = DEFAULT_FILES.map(str::to_owned).to_vec();
    }
    (names, named)
}

/// The files of this machine beside such a definition.
pub(super) fn local_files(args: &BakeArgs, environment: &Environment) -> Result<Vec<Source>> {
    let mut names = names(args, environment);
    names.retain(|name| name == "-" || name.starts_with("cwd://"));
    named_files(&names)
}

/// What the server of a definition's repository is told: ids of secrets, and buildx's variables that they are in.
pub(crate) fn credentials(address: &str, environment: &Environment) -> Vec<(String, &'static str)> {
    let host = address.split_once("://").and_then(|(_, rest)| rest.split(['/', '#', '?']).next());
    let Some(host) = host.map(|host| host.rsplit_once('@').map_or(host, |(_, host)| host)) else {
        return Vec::new();
    };
    let all = [
        ("GIT_AUTH_HEADER", "BUILDX_BAKE_GIT_AUTH_HEADER"),
        ("GIT_AUTH_TOKEN", "BUILDX_BAKE_GIT_AUTH_TOKEN"),
    ];
    let known = all.into_iter().filter(|(_, variable)| environment.text(variable).is_some());
    known.map(|(id, variable)| (format!("{id}.{host}"), variable)).collect()
}

/// The files that the command line names, or else `BUILDX_BAKE_FILE`.
fn names(args: &BakeArgs, environment: &Environment) -> Vec<String> {
    let mut names = args.file.clone();
    if names.is_empty()
        && let Some(list) = environment.text("BUILDX_BAKE_FILE")
    {
        let separator = environment.text("BUILDX_BAKE_PATH_SEPARATOR").unwrap_or(":");
        names = list
            .split(separator)
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
    }
    names
}

/// The files that were named, or those of the usual names that are there.
pub(super) fn files(args: &BakeArgs, environment: &Environment) -> Result<Vec<Source>> {
    let names = names(args, environment);
    if names.is_empty() {
        let mut found = Vec::new();
        for name in DEFAULT_FILES {
            found.extend(read(name)?);
        }
        if found.is_empty() {
            return Err(Failure::usage("there is no bake or compose file here")
                .hint("`--file` names one; without it these are looked for: docker-bake.hcl, docker-bake.json, compose.yaml, docker-compose.yml"));
        }
        return Ok(found);
    }
    named_files(&names)
}

fn named_files(names: &[String]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for name in names {
        if paths::is_remote(name) {
            return Err(Failure::usage(format!("`--file {name}` is no file of this machine"))
                .hint(format!("a definition at an address comes before the targets: `rbuild bake {name}`")));
        }
        if name == "-" {
            found.push(text(std::io::stdin(), "<stdin>")?);
            continue;
        }
        let name = name.strip_prefix("cwd://").unwrap_or(name);
        let file = read(name)?;
        found.push(file.ok_or_else(|| Failure::new(format!("there is no bake file `{name}`")))?);
    }
    Ok(found)
}

/// A file, if it is there.
pub(super) fn read(name: &str) -> Result<Option<Source>> {
    match std::fs::File::open(name) {
        Ok(file) => text(file, name).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("cannot read `{name}`: {error}"))),
    }
}

fn text(file: impl std::io::Read, name: &str) -> Result<Source> {
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(format!("cannot read `{name}`: {error}")))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Failure::new(format!("`{name}` is larger than {FILE_LIMIT} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::new(format!("`{name}` is not UTF-8 text")))?;
    Ok(Source::new(name, text))
}

//! Bake files: what is built, from HCL, JSON and compose files, as `docker buildx bake` reads them.
//!
//! files → [`body`] → [`definitions`] (evaluated by [`evaluate`]) → [`target::Config`] → [`select`] → targets
//!
//! Nothing here touches a file or the environment but through [`Given`], and nothing is built.

pub(crate) mod body;
mod compose;
mod decode;
mod definitions;
pub(crate) mod entries;
mod evaluate;
pub(crate) mod fault;
mod function;
mod functions;
pub(crate) mod list;
mod markup;
mod overrides;
pub(crate) mod paths;
pub(crate) mod print;
pub(crate) mod remote;
pub(crate) mod select;
pub(crate) mod target;
mod types;
mod value;
pub(crate) mod variable;

use std::collections::BTreeMap;

use builder::dockerfile::Source;

use body::Body;
use definitions::{Definitions, Environment};
use fault::Result;
pub(crate) use functions::Surroundings;
use target::Config;

/// The files that are read where none is named, each that is there.
pub(crate) const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// What is known beside the files.
pub(crate) struct Given<'a> {
    /// The value that the command line or the environment gives a variable.
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// The text of `.env`, for compose files.
    pub(crate) env_file: Option<&'a Source>,
    /// Opens a file that another one names; `None` if it is not there.
    pub(crate) open: &'a dyn Fn(&str) -> std::result::Result<Option<Source>, String>,
    /// `--set`
    pub(crate) overrides: &'a [String],
    /// Where the definition came from, if not from this machine.
    pub(crate) remote: Option<&'a remote::Remote>,
    /// `BAKE_CMD_CONTEXT`: where the command runs, or another address that it names.
    pub(crate) command_context: &'a str,
    /// `SOURCE_DATE_EPOCH`
    pub(crate) epoch: Option<&'a str>,
    /// The platform of this machine.
    pub(crate) platform: String,
    /// Where and when this runs.
    pub(crate) surroundings: Surroundings,
}

/// What the files define, and their variables.
pub(crate) struct Read {
    pub(crate) config: Config,
    pub(crate) variables: Vec<variable::Listed>,
}

/// Reads files, in their order: later ones change what earlier ones say.
pub(crate) fn read(files: &[Source], given: &Given<'_>) -> Result<Read> {
    let (mut bodies, mut composes) = (Vec::new(), Vec::new());
    for file in files {
        match Format::of(file) {
            Format::Compose => composes.push(file),
            Format::Hcl => bodies.push(Body::of_hcl(file)?),
            Format::Json => bodies.push(Body::of_json(file)?),
        }
    }
    let mut config = if composes.is_empty() { Config::default() } else { compose::read(&composes, given)? };
    let environment = Environment {
        builtins: BTreeMap::from([
            ("BAKE_CMD_CONTEXT".to_owned(), given.command_context.to_owned()),
            ("BAKE_LOCAL_PLATFORM".to_owned(), given.platform.clone()),
        ]),
        lookup: given.lookup,
        surroundings: given.surroundings.clone(),
    };
    let definitions = Definitions::of(&bodies, &environment)?;
    let own = definitions.config()?;
    for group in own.groups {
        match config.groups.iter_mut().find(|known| known.name == group.name) {
            Some(known) => *known = group,
            None => config.groups.push(group),
        }
    }
    config.targets.extend(own.targets);
    Ok(Read { config: target::merged(config), variables: variable::list(&definitions)? })
}

/// How a file is written.
enum Format {
    Compose,
    Hcl,
    Json,
}

impl Format {
    /// By its name, or by what reads it.
    fn of(file: &Source) -> Self {
        let name = file.name.to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".yml", ".yaml"]) {
            Self::Compose
        } else if ends(&[".json"]) {
            Self::Json
        } else if ends(&[".hcl"]) {
            Self::Hcl
        } else if serde_json::from_str::<serde::de::IgnoredAny>(&file.text).is_ok() {
            Self::Json
        } else if Body::of_hcl(file).is_err() && compose::looks_like_one(file) {
            Self::Compose
        } else {
            Self::Hcl
        }
    }
}

/// Whether a target may have a name.
fn check_name(name: &str) -> Result<(), String> {
    let fine = |one: char| one.is_ascii_alphanumeric() || "_-".contains(one);
    if !name.is_empty() && name.chars().all(fine) {
        return Ok(());
    }
    Err(format!("`{name}` is no name of a target, which has letters, digits, `_` and `-`"))
}

/// The name of a service as one of a target.
fn target_name(service: &str) -> String {
    service.replace('.', "_")
}

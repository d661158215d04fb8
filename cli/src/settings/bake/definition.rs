//! What a bake reads: its files, and what counts beside them.

use std::collections::BTreeMap;

use builder::dockerfile::Source;
use layer_store::Platform;

use super::super::{Environment, values};
use super::files::{credentials, files, local_files, read};
use crate::args::bake::BakeArgs;
use crate::args::kaniko::boolean;
use crate::bake::remote::Remote;
use crate::bake::select::Selection;
use crate::bake::{self, Given, Surroundings, entries, paths};
use crate::failure::Result;

/// The files of a bake, with what counts beside them.
pub(crate) struct Definition<'a> {
    environment: &'a Environment,
    files: Vec<Source>,
    env_file: Option<Source>,
    variables: BTreeMap<String, String>,
    overrides: Vec<String>,
    targets: Vec<String>,
    remote: Option<Remote>,
    command_context: String,
}

/// Files of a definition that is somewhere else.
pub(crate) struct Fetched {
    /// The files.
    pub(crate) files: Vec<Source>,
    /// Whether they are those of a repository, and not a file alone.
    pub(crate) is_repository: bool,
}

impl<'a> Definition<'a> {
    /// Opens the files that are not `fetched`.
    pub(crate) fn open(
        args: &BakeArgs,
        environment: &'a Environment,
        fetched: Option<Fetched>,
    ) -> Result<Self> {
        let mut targets = args.targets.clone();
        let (mut remote, mut command_context) = (None, "cwd://".to_owned());
        let files = match fetched {
            None => files(args, environment)?,
            Some(mut fetched) => {
                let address = Some(targets.remove(0)).filter(|_| fetched.is_repository);
                if targets.first().is_some_and(|word| paths::is_remote(word)) {
                    command_context = targets.remove(0);
                }
                fetched.files.extend(local_files(args, environment)?);
                remote = Some(Remote { address, allowed: args.allow.clone() });
                fetched.files
            }
        };
        if targets.is_empty() {
            targets.push("default".to_owned());
        }
        Ok(Self {
            environment,
            files,
            env_file: if remote.is_some() { None } else { read(".env")? },
            variables: values::pairs("--var", &args.var)?,
            overrides: overrides(args),
            targets,
            remote,
            command_context,
        })
    }

    /// The secrets that every build of a definition from a repository has, as arguments.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let address = self.remote.as_ref().and_then(|remote| remote.address.as_deref());
        let all = address.into_iter().flat_map(|address| credentials(address, self.environment));
        all.map(|(id, variable)| format!("id={id},env={variable}")).collect()
    }

    /// What the files define.
    pub(crate) fn read(&self) -> Result<bake::Read> {
        Ok(self.given(|given| bake::read(&self.files, given))?)
    }

    /// The targets that were asked for.
    pub(crate) fn select(&self, read: &bake::Read) -> Result<Selection> {
        Ok(self.given(|given| bake::select::select(&read.config, &self.targets, given))?)
    }

    fn given<T>(&self, work: impl FnOnce(&Given<'_>) -> T) -> T {
        let hidden = self.environment.text("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");
        let hidden = hidden.is_some_and(|text| boolean(text) == Ok(true));
        let lookup = |name: &str| {
            let own = self.variables.get(name).cloned();
            own.or_else(|| self.environment.exact(name).filter(|_| !hidden).map(str::to_owned))
        };
        let home = self.environment.home().map(|home| home.display().to_string());
        work(&Given {
            lookup: &lookup,
            env_file: self.env_file.as_ref(),
            open: &|name| match self.remote {
                Some(_) => {
                    Err(format!("`{name}` is not fetched: it is named by a file that comes from elsewhere"))
                }
                None => read(name).map_err(|failure| failure.to_string()),
            },
            remote: self.remote.as_ref(),
            command_context: &self.command_context,
            overrides: &self.overrides,
            epoch: self.environment.text("SOURCE_DATE_EPOCH"),
            platform: Platform::host().to_string(),
            surroundings: Surroundings {
                now: jiff::Timestamp::now(),
                home: home.unwrap_or_else(|| "/".to_owned()),
            },
        })
    }
}

/// `--set`, and the flags that are short for one.
fn overrides(args: &BakeArgs) -> Vec<String> {
    let mut all = args.set.clone();
    all.extend(args.push.then(|| "*.push=true".to_owned()));
    all.extend(args.load.then(|| "*.load=true".to_owned()));
    all.extend(args.no_cache.map(|on| format!("*.no-cache={on}")));
    all.extend(args.pull.map(|on| format!("*.pull={on}")));
    for (kind, text) in [("provenance", &args.provenance), ("sbom", &args.sbom)] {
        all.extend(text.as_ref().map(|text| format!("*.attest={}", entries::attestation_of(kind, text))));
    }
    all
}

//! Definitions of a bake that are somewhere else.

use std::collections::HashMap;

use builder::context::git::GitSource;
use builder::lower::NamedContext;
use builder::remote::Arrived;
use builder::secret::{SecretSource, Secrets};

use super::{Context, engine};
use crate::args::bake::BakeArgs;
use crate::failure::{Failure, Result};
use crate::settings::bake::{self, Fetched};

/// Fetches what the first word names, if that is an address.
pub(super) async fn fetch(context: &Context, args: &BakeArgs) -> Result<Option<Fetched>> {
    let Some(address) = bake::remote_address(args) else { return Ok(None) };
    let (names, named) = bake::remote_names(args, &context.environment);
    let (engine, renderer) = engine::open(context, args.quiet || args.print || args.list.is_some())?;
    let _in_use = engine.store.in_use()?;
    let fetched = async {
        let Some(git) = GitSource::parse(address) else {
            return match engine.fetch_context(address).await? {
                Arrived::Dockerfile(source) if !named => {
                    Ok(Fetched { files: vec![source], is_repository: false })
                }
                Arrived::Dockerfile(_) => {
                    Err(Failure::usage(format!("`{address}` is one file, and `--file` names others")))
                }
                Arrived::Archive(_) => Err(Failure::usage(format!("`{address}` is an archive"))
                    .hint("a definition is fetched from a git repository, or as a file alone")),
            };
        };
        let git = git.map_err(|error| Failure::usage(error.to_string()))?;
        let mut secrets = Secrets::default();
        for (id, variable) in bake::credentials(address, &context.environment) {
            let value = context.environment.text(variable).unwrap_or_default();
            secrets.secrets.insert(id, SecretSource::Value(value.to_owned()));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let files = engine.remote_files(&NamedContext::Git(git), &HashMap::new(), &secrets, &names).await?;
        let missing = names.iter().find(|name| named && !files.iter().any(|file| file.name == **name));
        match missing {
            Some(name) => Err(Failure::new(format!("`{address}` has no bake file `{name}`"))),
            None if files.is_empty() && !named => {
                Err(Failure::new(format!("`{address}` has no bake or compose file"))
                    .hint("`--file` names one"))
            }
            None => Ok(Fetched { files, is_repository: true }),
        }
    };
    let fetched = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new("the build was stopped")),
        fetched = fetched => fetched,
    };
    renderer.finish();
    fetched.map(Some)
}

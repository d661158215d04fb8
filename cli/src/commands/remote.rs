//! Contexts that are not directories: `-`, URLs and git repositories.

use std::fs::File;
use std::io::{self, Read};

use builder::context::git::GitSource;
use builder::dockerfile::Source;
use builder::dockerfile::values::parse_bool;
use builder::lower::NamedContext;
use builder::remote::Arrived;
use builder::{BuildRequest, Engine};

use crate::failure::{Failure, Result};
use crate::settings::{self, ContextPlace};

/// Brings in what `place` names, and the Dockerfile from it unless `request` has one (from `-f -`). `file` is the path
/// of the Dockerfile inside, or its URL.
pub(super) async fn bring(
    engine: &Engine,
    place: &ContextPlace,
    file: Option<&str>,
    request: &mut BuildRequest,
) -> Result<()> {
    if let Some(url) = file.filter(|file| settings::is_url(file)) {
        match engine.fetch_context(url).await.map_err(explained)? {
            Arrived::Dockerfile(source) => request.dockerfile = source,
            Arrived::Archive(_) => {
                return Err(Failure::new(format!("`{url}` is an archive and no Dockerfile")));
            }
        }
    }
    let arrived = match place {
        ContextPlace::Directory(_) => return Ok(()),
        ContextPlace::Stdin => take_in(engine, "<stdin>", &mut io::stdin().lock())?,
        ContextPlace::Archive(path) => {
            let mut file = File::open(path).map_err(|error| {
                Failure::new(format!("cannot read the build context `{}`: {error}", path.display()))
            })?;
            take_in(engine, &path.display().to_string(), &mut file)?
        }
        ContextPlace::Remote(address) => match GitSource::parse(address) {
            Some(git) => {
                let mut git = git.map_err(|error| Failure::usage(error.to_string()))?;
                let keep = request.options.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
                git.keep_git_dir |= keep.is_some_and(|text| parse_bool(text) == Some(true));
                return place_context(engine, NamedContext::Git(git), file, request).await;
            }
            None => engine.fetch_context(address).await.map_err(explained)?,
        },
    };
    match arrived {
        Arrived::Dockerfile(_) if file.is_some() => {
            Err(Failure::usage("what came as the context is a Dockerfile, and `--file` names another"))
        }
        Arrived::Dockerfile(source) => {
            request.dockerfile = source;
            Ok(())
        }
        Arrived::Archive(archive) => {
            let digest = archive.digest;
            request.archives.insert(digest, archive);
            if let ContextPlace::Remote(address) = place {
                request.addresses.insert(digest, address.clone());
            }
            place_context(engine, NamedContext::Archive(digest), file, request).await
        }
    }
}

fn take_in(engine: &Engine, name: &str, input: &mut dyn Read) -> Result<Arrived> {
    tokio::task::block_in_place(|| engine.take_in(name, input)).map_err(explained)
}

/// Brings in the further contexts that are addresses.
pub(super) async fn bring_named(
    engine: &Engine,
    request: &mut BuildRequest,
    named: &[(String, String)],
) -> Result<()> {
    for (name, address) in named {
        let context = match GitSource::parse(address) {
            Some(git) => NamedContext::Git(git.map_err(|error| Failure::usage(error.to_string()))?),
            None => match engine.fetch_context(address).await.map_err(explained)? {
                Arrived::Archive(archive) => {
                    let digest = archive.digest;
                    request.archives.insert(digest, archive);
                    request.addresses.insert(digest, address.clone());
                    NamedContext::Archive(digest)
                }
                Arrived::Dockerfile(_) => {
                    return Err(Failure::new(format!("the context `{name}={address}` is not an archive")));
                }
            },
        };
        request.options.contexts.insert(name.clone(), context);
    }
    Ok(())
}

async fn place_context(
    engine: &Engine,
    context: NamedContext,
    file: Option<&str>,
    request: &mut BuildRequest,
) -> Result<()> {
    if file.is_none_or(|file| file != "-" && !settings::is_url(file)) {
        let source: Source = engine
            .remote_dockerfile(&context, &request.archives, &request.secrets, file)
            .await
            .map_err(explained)?;
        request.dockerfile = source;
    }
    request.options.contexts.insert(String::new(), context);
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` asks for")]
fn explained(error: builder::Error) -> Failure {
    let hint = error.hint();
    Failure::of(&error).hint(hint)
}

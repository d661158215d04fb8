//! Contexts that are not directories: `-`, URLs and git repositories.

use std::io;

use builder::context::git::GitSource;
use builder::dockerfile::Source;
use builder::dockerfile::values::parse_bool;
use builder::lower::NamedContext;
use builder::remote::Arrived;
use builder::{BuildRequest, Engine};

use crate::failure::{Failure, Result};
use crate::settings::ContextPlace;

/// Brings in what `place` names, and the Dockerfile from it unless `request` has one (from `-f -`). `file` is the path
/// of the Dockerfile inside.
pub(super) async fn bring(
    engine: &Engine,
    place: &ContextPlace,
    file: Option<&str>,
    request: &mut BuildRequest,
) -> Result<()> {
    let arrived = match place {
        ContextPlace::Directory(_) => return Ok(()),
        ContextPlace::Stdin => {
            let mut input = io::stdin().lock();
            tokio::task::block_in_place(|| engine.take_in("<stdin>", &mut input)).map_err(explained)?
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
    if file != Some("-") {
        let source: Source =
            engine.remote_dockerfile(&context, &request.archives, file).await.map_err(explained)?;
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

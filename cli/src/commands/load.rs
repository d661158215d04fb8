//! `rbuild load`

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};

use builder::stored::adopt;
use layer_store::Store;
use layer_store::archive::{self, LoadedImage};
use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::look::LoadArgs;
use crate::failure::{Failure, Result};

/// Takes the images of an archive into the store, under the names that it gives them.
pub(super) async fn run(context: &Context, args: &LoadArgs) -> Result<()> {
    if args.input.is_none() && io::stdin().is_terminal() {
        return Err(Failure::usage("there is no archive to read").hint("pass `-i FILE`, or a pipe"));
    }
    let (engine, _renderer) = engine::open(context, true)?;
    let _in_use = engine.store.in_use()?;
    let (store, path, quiet) = (engine.store.clone(), args.input.clone(), args.quiet);
    let text = engine::blocking(move || {
        let mut input: Box<dyn Read> = match &path {
            Some(path) => Box::new(
                File::open(path)
                    .map_err(|error| Failure::new(format!("cannot open `{}`: {error}", path.display())))?,
            ),
            None => Box::new(io::stdin().lock()),
        };
        let mut text = String::new();
        for image in archive::read(&store, &mut input)? {
            text += &take(&store, &image, quiet)?;
        }
        Ok(text)
    })
    .await?;
    print(&text)
}

fn take(store: &Store, image: &LoadedImage, quiet: bool) -> Result<String> {
    let mut names = Vec::new();
    for name in &image.names {
        let reference = Reference::parse(name).map_err(|error| Failure::new(error.to_string()))?;
        names.push((reference.canonical(), reference.familiar()));
    }
    let mut text = String::new();
    let nameless = names.is_empty();
    if nameless {
        // As for an image that was built without a name: listed and collected as untagged.
        let id = image.manifest.digest();
        names.push((format!("<none>@{id}"), id.to_string()));
    }
    for (canonical, familiar) in names {
        let record = adopt(store, &canonical, &image.manifest, None)
            .map_err(|error| Failure::of(&error).hint(error.hint()))?;
        let id = record.platforms.first().map_or_else(|| image.manifest.digest(), |one| one.config.digest);
        text += &match (quiet, nameless) {
            (true, _) => format!("{id}\n"),
            (false, true) => format!("Loaded image ID: {id}\n"),
            (false, false) => format!("Loaded image: {familiar}\n"),
        };
    }
    Ok(text)
}

//! `rbuild rmi`

use registry_client::Reference;

use super::{Context, engine, print};
use crate::args::image::RmiArgs;
use crate::catalog;
use crate::failure::{Failure, Result};

/// Takes names away; what nothing needs any more is collected. Goes on past a name that is not there, and fails then.
pub(super) async fn run(context: &Context, args: &RmiArgs) -> Result<()> {
    let (engine, _renderer) = engine::open(context, true)?;
    let store = engine.store.clone();
    let (images, force, prune) = (args.images.clone(), args.force, !args.no_prune);
    let (lines, failure) = engine::blocking(move || {
        let mut lines = String::new();
        let mut failure = None;
        for text in &images {
            match remove(&store, text, force) {
                Ok(done) => lines += &done,
                Err(error) => failure = Some(error),
            }
        }
        if prune && !lines.is_empty() {
            match store.collect() {
                // A running build may need what nothing names any more; the next collection takes it.
                Ok(_) | Err(layer_store::Error::Busy) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((lines, failure))
    })
    .await?;
    print(&lines)?;
    failure.map_or(Ok(()), Err)
}

fn remove(store: &layer_store::Store, text: &str, force: bool) -> Result<String> {
    if let Some(name) = catalog::name(store, text)? {
        let image = catalog::find(store, text)?;
        store.untag(&name)?;
        let last = image.records.len() == 1;
        let deleted = if last { format!("Deleted: {}\n", image.id) } else { String::new() };
        return Ok(format!("Untagged: {}\n{deleted}", catalog::familiar(&name)));
    }
    let image = match catalog::find(store, text) {
        Ok(image) => image,
        Err(_) if force => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let names = image.names();
    if names.len() > 1 && !force {
        return Err(Failure::new(format!("the image `{text}` has several names: {}", names.join(", ")))
            .hint("name the one that should go, or pass `--force` to remove all"));
    }
    let mut lines = String::new();
    for record in &image.records {
        store.untag(&record.name)?;
        if Reference::parse(&record.name).is_ok() {
            lines += &format!("Untagged: {}\n", catalog::familiar(&record.name));
        }
    }
    Ok(lines + &format!("Deleted: {}\n", image.id))
}

//! `rbuild blob`

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use layer_store::Descriptor;
use serde_json::json;

use super::open::{reference, with_engine};
use crate::args::toolkit::{BlobCommand, BlobGetArgs, BlobPutArgs};
use crate::commands::{Context, engine, print};
use crate::failure::{Failure, Result};
use crate::size;

/// Fetches and puts single blobs.
pub(super) async fn run(context: &Context, command: &BlobCommand) -> Result<()> {
    match command {
        BlobCommand::Get(args) => get(context, args).await,
        BlobCommand::Put(args) => put(context, args).await,
    }
}

/// Nothing is written before the last byte is verified, so the blob passes through the store.
async fn get(context: &Context, args: &BlobGetArgs) -> Result<()> {
    let reference = reference(&args.blob)?;
    let digest = reference.digest().ok_or_else(|| {
        Failure::usage(format!("`{}` names no blob", args.blob)).hint("write it as REPOSITORY@sha256:…")
    })?;
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::usage("a blob is no text for a terminal").hint("pass `-o FILE`, or a pipe"));
    }
    let size = with_engine(context, args.output.is_none(), "blob", async |engine| {
        let size =
            engine.client.blob_size(&reference, digest).await?.ok_or_else(|| {
                Failure::new(format!("there is no blob {digest} in `{}`", reference.name()))
            })?;
        let blob = Descriptor::new("application/octet-stream", digest, size);
        engine.client.fetch(&reference, &blob, &engine.store, |_| {}).await?;
        let (store, output) = (engine.store.clone(), args.output.clone());
        engine::blocking(move || {
            let mut input = store.open_blob(&digest)?;
            let copied = match &output {
                None => io::copy(&mut input, &mut io::stdout().lock()),
                Some(path) => File::create(path).and_then(|mut file| io::copy(&mut input, &mut file)),
            };
            let place = output.as_deref().unwrap_or(Path::new("standard output"));
            copied.map_err(|error| Failure::new(format!("cannot write `{}`: {error}", place.display())))
        })
        .await
    })
    .await?;
    if args.json {
        return print(&format!("{:#}\n", json!({ "digest": digest, "size": size })));
    }
    Ok(())
}

async fn put(context: &Context, args: &BlobPutArgs) -> Result<()> {
    let reference = reference(&args.repository)?;
    let file = args.file.clone();
    let (blob, moved) = with_engine(context, false, "blob", async |engine| {
        let store = engine.store.clone();
        let blob = engine::blocking(move || Ok(store.put_stream(&mut open(&file)?)?)).await?;
        let moved = engine.client.put_blob(&reference, &engine.store, &blob).await?;
        Ok((blob, moved))
    })
    .await?;
    if args.json {
        let value = json!({ "digest": blob.digest, "size": blob.size, "moved": moved });
        return print(&format!("{value:#}\n"));
    }
    let what = if moved { "" } else { ", which was there" };
    print(&format!("{}@{} ({}{what})\n", reference.name(), blob.digest, size::bytes(blob.size)))
}

/// A file, or standard input.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path);
    let file = file.map_err(|error| Failure::new(format!("cannot open `{}`: {error}", path.display())))?;
    Ok(Box::new(file))
}

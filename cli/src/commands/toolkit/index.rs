//! `rbuild index`

use std::collections::BTreeMap;

use builder::Engine;
use builder::edit::Entries;
use builder::exchange::{Location, Opened, OpenedImage};
use builder::output::Packing;
use layer_store::Manifest;
use registry_client::Platforms;

use super::delivery::{deliver, show};
use super::open::{location, pair, with_engine};
use crate::args::toolkit::{IndexArgs, IndexCommand, IndexRemoveArgs};
use crate::commands::Context;
use crate::failure::Result;

/// Makes indexes and changes them.
pub(super) async fn run(context: &Context, command: &IndexCommand) -> Result<()> {
    match command {
        IndexCommand::Create(args) => put(context, args, false).await,
        IndexCommand::Add(args) => put(context, args, true).await,
        IndexCommand::Remove(args) => remove(context, args).await,
    }
}

async fn put(context: &Context, args: &IndexArgs, add: bool) -> Result<()> {
    let target = location(&args.index)?;
    let sources = args.images.iter().map(|text| location(text)).collect::<Result<Vec<_>>>()?;
    let annotations = annotations(&args.annotation)?;
    let delivered = with_engine(context, args.delivery.quiet, "index", async |engine| {
        let mut entries = Entries::default();
        let old = if add { Some(take(engine, &target, &mut entries).await?) } else { None };
        for source in &sources {
            take(engine, source, &mut entries).await?;
        }
        finish(engine, &entries, old.as_ref(), &annotations, &target, args.delivery.dry_run).await
    })
    .await?;
    show(&delivered, args.delivery)
}

async fn remove(context: &Context, args: &IndexRemoveArgs) -> Result<()> {
    let target = location(&args.index)?;
    let delivered = with_engine(context, args.delivery.quiet, "index", async |engine| {
        let mut entries = Entries::default();
        let old = take(engine, &target, &mut entries).await?;
        entries.remove(&args.entries)?;
        finish(engine, &entries, Some(&old), &BTreeMap::new(), &target, args.delivery.dry_run).await
    })
    .await?;
    show(&delivered, args.delivery)
}

/// Adds what is at a place; gives its manifest or index.
async fn take(engine: &Engine, source: &Location, entries: &mut Entries) -> Result<Manifest> {
    let opened = engine.open_images(source, false, Packing::default()).await?;
    engine.add_entries(entries, &opened, &Platforms::All).await?;
    Ok(opened.only()?.top.clone())
}

async fn finish(
    engine: &Engine,
    entries: &Entries,
    old: Option<&Manifest>,
    annotations: &BTreeMap<String, String>,
    target: &Location,
    dry_run: bool,
) -> Result<Vec<builder::exchange::Delivered>> {
    let tree = entries.finish(old, annotations)?;
    let images = vec![OpenedImage { top: tree.top().clone(), name: None }];
    let opened = Opened { supply: engine.with_store(&entries.supply), images };
    deliver(engine, &opened, tree, target, dry_run).await
}

fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>> {
    texts
        .iter()
        .map(|text| pair("--annotation", text).map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect()
}

//! `rbuild manifest`

use builder::Engine;
use builder::exchange::Location;
use builder::output::Packing;
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent};
use layer_store::{Descriptor, ImageConfig, Manifest};
use registry_client::{Platforms, Supply};
use serde_json::{Value, json};

use super::open::{location, platforms, with_engine};
use crate::args::toolkit::{ManifestArgs, ManifestCommand};
use crate::commands::{Context, print, print_bytes};
use crate::failure::{Failure, Result};
use crate::{size, table};

/// Shows manifests of images wherever they are.
pub(super) async fn run(context: &Context, command: &ManifestCommand) -> Result<()> {
    match command {
        ManifestCommand::Inspect(args) => inspect(context, args).await,
        ManifestCommand::Raw(args) => {
            let (manifest, _) = read(context, args).await?;
            print_bytes(&manifest.raw)
        }
        ManifestCommand::Digest(args) => digest(context, args).await,
        ManifestCommand::Platforms(args) => list_platforms(context, args).await,
    }
}

/// The manifest that is meant, and where its parts are.
async fn read(context: &Context, args: &ManifestArgs) -> Result<(Manifest, Supply)> {
    let location = location(&args.image)?;
    let platforms = platforms(args.platform.as_slice())?;
    with_engine(context, true, "manifest", async |engine| open(engine, &location, &platforms).await).await
}

async fn open(engine: &Engine, location: &Location, platforms: &Platforms) -> Result<(Manifest, Supply)> {
    let opened = engine.open_images(location, false, Packing::default()).await?;
    let top = opened.only()?.top.clone();
    if *platforms == Platforms::All {
        return Ok((top, opened.supply));
    }
    let tree = engine.client.tree(&opened.supply.repositories, top, platforms).await?;
    Ok((tree.top().clone(), opened.supply))
}

/// A registry is asked by HEAD, which Docker Hub does not count.
async fn digest(context: &Context, args: &ManifestArgs) -> Result<()> {
    let location = location(&args.image)?;
    let descriptor = match (&location, &args.platform) {
        (Location::Registry(reference), None) => {
            let found = with_engine(context, true, "manifest", async |engine| {
                Ok(engine.client.head(reference).await?)
            });
            found.await?.ok_or_else(|| {
                Failure::new(format!("there is no image `{reference}`"))
                    .hint(format!("`rbuild tags {}` lists what there is", reference.name()))
            })?
        }
        _ => read(context, args).await?.0.descriptor(),
    };
    if args.json {
        let value = serde_json::to_value(&descriptor).unwrap_or_default();
        return print(&format!("{value:#}\n"));
    }
    print(&format!("{}\n", descriptor.digest))
}

async fn list_platforms(context: &Context, args: &ManifestArgs) -> Result<()> {
    let location = location(&args.image)?;
    let platforms = platforms(args.platform.as_slice())?;
    let rows: Vec<(String, Descriptor)> = with_engine(context, true, "manifest", async |engine| {
        let (manifest, supply) = open(engine, &location, &platforms).await?;
        Ok(match &manifest.content {
            ManifestContent::Index { manifests, .. } => manifests
                .iter()
                .filter_map(|entry| {
                    let platform = entry.platform.as_ref().filter(|platform| platform.os != "unknown")?;
                    Some((platform.to_string(), entry.clone()))
                })
                .collect(),
            ManifestContent::Image { .. } => {
                let config = config(engine, &manifest, &supply).await?;
                vec![(config.platform().to_string(), manifest.descriptor())]
            }
        })
    })
    .await?;
    if args.json {
        let one = |(platform, entry): &(String, Descriptor)| json!({ "platform": platform, "digest": entry.digest, "size": entry.size });
        return print(&format!("{:#}\n", Value::from_iter(rows.iter().map(one))));
    }
    print(&rows.iter().map(|(platform, _)| format!("{platform}\n")).collect::<String>())
}

async fn config(engine: &Engine, manifest: &Manifest, supply: &Supply) -> Result<ImageConfig> {
    let ManifestContent::Image { config, .. } = &manifest.content else {
        return Err(Failure::new("an index has no configuration"));
    };
    let bytes = engine.client.small_blob(supply, config, DOCUMENT_LIMIT).await?;
    ImageConfig::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("the configuration {} is malformed: {error}", config.digest)))
}

async fn inspect(context: &Context, args: &ManifestArgs) -> Result<()> {
    let (manifest, _) = read(context, args).await?;
    let digest = manifest.digest();
    if args.json {
        let raw: Value = serde_json::from_slice(&manifest.raw)
            .map_err(|error| Failure::new(format!("the manifest {digest} is malformed: {error}")))?;
        let size = manifest.raw.len();
        let value =
            json!({ "mediaType": manifest.media_type, "digest": digest, "size": size, "manifest": raw });
        return print(&format!("{value:#}\n"));
    }
    let mut text =
        format!("Name:      {}\nType:      {}\nDigest:    {digest}\n", args.image, manifest.media_type);
    let (rows, annotations) = match &manifest.content {
        ManifestContent::Index { manifests, annotations } => {
            let what = |entry: &Descriptor| {
                let platform = entry.platform.as_ref().map(ToString::to_string);
                platform.or_else(|| entry.artifact_type.clone()).unwrap_or_else(|| "-".to_owned())
            };
            (manifests.iter().map(|entry| row(&what(entry), entry)).collect(), annotations)
        }
        ManifestContent::Image { config, layers, annotations } => {
            let mut rows = vec![row("config", config)];
            rows.extend(layers.iter().map(|layer| row("layer", layer)));
            (rows, annotations)
        }
    };
    for (key, value) in annotations {
        text.push_str(&format!("Annotation: {key}={value}\n"));
    }
    let rows: Vec<[String; 4]> = rows;
    text.push('\n');
    text.push_str(&table::columns(["WHAT", "DIGEST", "SIZE", "TYPE"], &rows));
    print(&text)
}

fn row(what: &str, entry: &Descriptor) -> [String; 4] {
    [what.to_owned(), entry.digest.to_string(), size::bytes(entry.size), entry.media_type.clone()]
}

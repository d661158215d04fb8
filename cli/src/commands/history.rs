//! `rbuild history`

use builder::Outcome;
use jiff::Timestamp;
use serde_json::json;

use super::{Context, print};
use crate::args::image::HistoryArgs;
use crate::builds::{self, Build};
use crate::catalog;
use crate::failure::Result;
use crate::progress::{Ending, printable, shortened};
use crate::{size, table};

/// Prints the steps that made an image, or the builds of the past.
pub(super) fn run(context: &Context, args: &HistoryArgs) -> Result<()> {
    match &args.image {
        Some(image) => of_image(context, args, image),
        None => of_builds(context, args),
    }
}

/// The builds that the store remembers, the newest first.
fn of_builds(context: &Context, args: &HistoryArgs) -> Result<()> {
    let builds = builds::all(&context.store_root()?);
    if args.quiet {
        return print(&builds.iter().map(|build| format!("{}\n", build.id)).collect::<String>());
    }
    if args.format == "json" {
        let object = |build: &Build| format!("{}\n", json!({"id": build.id, "build": build.journal}));
        return print(&builds.iter().map(object).collect::<String>());
    }
    let rows: Vec<[String; 6]> = builds
        .iter()
        .map(|build| {
            let Some(journal) = &build.journal else {
                let unknown = || "-".to_owned();
                return [
                    build.id.clone(),
                    "unfinished".to_owned(),
                    unknown(),
                    unknown(),
                    unknown(),
                    unknown(),
                ];
            };
            let result = match journal.result {
                Ending::Done => "done",
                Ending::Failed => "failed",
                Ending::Stopped => "stopped",
            };
            let names = if journal.names.is_empty() { "<none>".to_owned() } else { journal.names.join(", ") };
            [
                build.id.clone(),
                result.to_owned(),
                size::short_duration(std::time::Duration::from_millis(journal.elapsed_ms)),
                journal.count(&Outcome::Done).to_string(),
                journal.count(&Outcome::Cached).to_string(),
                printable(&names),
            ]
        })
        .collect();
    print(&table::columns(["BUILD", "RESULT", "TIME", "RAN", "CACHED", "NAMES"], &rows))
}

/// The steps that made an image, the last one first, in Docker's columns.
fn of_image(context: &Context, args: &HistoryArgs, name: &str) -> Result<()> {
    let store = context.store()?;
    let image = catalog::find(&store, name)?;
    let id = if args.no_trunc { image.id.to_string() } else { image.id.short() };
    if args.quiet {
        return print(&format!("{id}\n"));
    }
    let manifest = image.manifest(&store);
    let blobs = match manifest.map(|manifest| manifest.content) {
        Some(layer_store::manifest::ManifestContent::Image { layers, .. }) => layers,
        _ => Vec::new(),
    };
    let mut layers = image.config.rootfs.diff_ids.iter().enumerate();
    let mut rows: Vec<[String; 5]> = image
        .config
        .history
        .iter()
        .map(|step| {
            let layer = if step.empty_layer { None } else { layers.next() };
            let bytes = layer.map_or(0, |(at, diff_id)| {
                let blob = || blobs.get(at).map_or(0, |blob| blob.size);
                catalog::layer_size(&store, diff_id).unwrap_or_else(blob)
            });
            let created: Option<Timestamp> = step.created.as_deref().and_then(|text| text.parse().ok());
            let age = created.map_or_else(
                || "N/A".to_owned(),
                |created| {
                    size::ago(u64::try_from(Timestamp::now().duration_since(created).as_secs()).unwrap_or(0))
                },
            );
            let by = printable(step.created_by.as_deref().unwrap_or_default()).replace('\t', " ");
            let by = if args.no_trunc { by } else { shortened(&by, 45) };
            let comment = printable(step.comment.as_deref().unwrap_or_default());
            ["<missing>".to_owned(), age, by, size::bytes(bytes), comment]
        })
        .collect();
    if let Some(last) = rows.last_mut() {
        last[0] = id;
    }
    rows.reverse();
    if args.format == "json" {
        let object = |[id, age, by, size, comment]: &[String; 5]| {
            let object =
                json!({"ID": id, "CreatedSince": age, "CreatedBy": by, "Size": size, "Comment": comment});
            format!("{object}\n")
        };
        return print(&rows.iter().map(object).collect::<String>());
    }
    print(&table::columns(["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"], &rows))
}

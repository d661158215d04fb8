//! `rbuild history`

use jiff::Timestamp;

use super::{Context, print};
use crate::args::image::HistoryArgs;
use crate::catalog;
use crate::failure::Result;
use crate::progress::{printable, shortened};
use crate::{size, table};

/// Prints the steps that made an image, the last one first, in Docker's columns.
pub(super) fn run(context: &Context, args: &HistoryArgs) -> Result<()> {
    let store = context.store()?;
    let image = catalog::find(&store, &args.image)?;
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
    print(&table::columns(["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"], &rows))
}

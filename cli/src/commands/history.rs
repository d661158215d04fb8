//! `rbuild history`

use builder::Outcome;
use jiff::Timestamp;
use layer_store::config::History;
use layer_store::manifest::ManifestContent;
use serde_json::{Value, json};

use super::{Context, print};
use crate::args::image::HistoryArgs;
use crate::builds::{self, Build};
use crate::catalog;
use crate::failure::{Failure, Result};
use crate::progress::{Ending, printable, shortened};
use crate::{size, table, template};

/// What `docker history` prints.
const DOCKERS_TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// What stands above columns whose field has another name.
const HEADERS: [(&str, &str); 4] =
    [("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"), ("CreatedBy", "CREATED BY")];

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
    if args.format != "table" {
        return Err(Failure::usage(format!(
            "builds are listed as `table` or `json`, not as `{}`",
            args.format
        )));
    }
    let time = |millis| size::short_duration(std::time::Duration::from_millis(millis));
    let rows: Vec<[String; 7]> = builds
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
                time(journal.elapsed_ms),
                time(journal.waited_ms()),
                journal.count(&Outcome::Done).to_string(),
                journal.count(&Outcome::Cached).to_string(),
                printable(&names),
            ]
        })
        .collect();
    print(&table::columns(["BUILD", "RESULT", "TIME", "WAITED", "RAN", "CACHED", "NAMES"], &rows))
}

/// The steps that made an image, the last one first, in Docker's columns.
fn of_image(context: &Context, args: &HistoryArgs, name: &str) -> Result<()> {
    let store = context.store()?;
    let image = catalog::find(&store, name)?;
    let manifest = image.manifest(&store);
    let blobs = match manifest.map(|manifest| manifest.content) {
        Some(ManifestContent::Image { layers, .. }) => layers,
        _ => Vec::new(),
    };
    let mut layers = image.config.rootfs.diff_ids.iter().enumerate();
    let mut steps: Vec<Value> = image
        .config
        .history
        .iter()
        .map(|step| {
            let layer = if step.empty_layer { None } else { layers.next() };
            let bytes = layer.map_or(0, |(at, diff_id)| {
                let blob = || blobs.get(at).map_or(0, |blob| blob.size);
                catalog::layer_size(&store, diff_id).unwrap_or_else(blob)
            });
            described(step, bytes, args)
        })
        .collect();
    if let Some(last) = steps.last_mut() {
        last["ID"] = json!(if args.no_trunc { image.id.to_string() } else { image.id.short() });
    }
    steps.reverse();
    let format = match (args.quiet, args.format.as_str()) {
        (true, _) => "{{.ID}}",
        (false, "table") => DOCKERS_TABLE,
        (false, format) => format,
    };
    print(&template::rows(format, &HEADERS, &steps)?)
}

/// A step of an image, in the fields of `docker history --format`. Only the last one has an id.
fn described(step: &History, bytes: u64, args: &HistoryArgs) -> Value {
    let created: Option<Timestamp> = step.created.as_deref().and_then(|text| text.parse().ok());
    let at = created.map_or_else(|| "N/A".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let seconds = created.map(|created| Timestamp::now().duration_since(created).as_secs());
    let since =
        seconds.map_or_else(|| "N/A".to_owned(), |seconds| size::ago(u64::try_from(seconds).unwrap_or(0)));
    let by = printable(step.created_by.as_deref().unwrap_or_default()).replace('\t', " ");
    json!({
        "ID": "<missing>",
        "CreatedAt": at,
        "CreatedSince": if args.human { &since } else { &at },
        "CreatedBy": if args.no_trunc { by } else { shortened(&by, 45) },
        "Size": if args.human { size::bytes(bytes) } else { bytes.to_string() },
        "Comment": printable(step.comment.as_deref().unwrap_or_default()),
    })
}

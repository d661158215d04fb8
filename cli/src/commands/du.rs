//! `rbuild du`

use jiff::Timestamp;
use layer_store::store::{Category, Item, Share, Space, Usage};
use registry_client::Reference;
use serde_json::{Value, json};

use super::{Context, print};
use crate::args::store::DuArgs;
use crate::failure::Result;
use crate::settings::prune::{filters, type_of};
use crate::{catalog, size, table, template};

/// The rows of the table, in their order.
const ROWS: [(Category, &str); 8] = [
    (Category::Image, "Images"),
    (Category::Step, "Build Cache"),
    (Category::Mount, "Cache Mounts"),
    (Category::Context, "Contexts"),
    (Category::Record, "Records"),
    (Category::Download, "Downloads"),
    (Category::Log, "Logs"),
    (Category::Leftover, "Leftovers"),
];

/// Explains the disk, in the columns of `docker system df`.
pub(super) fn run(context: &Context, args: &DuArgs) -> Result<()> {
    let now = Timestamp::now();
    let filters = filters(&args.filter, now)?;
    let store = context.store()?;
    let mut usage = store.usage()?;
    usage.items.retain(|item| filters.iter().all(|filter| filter.accepts(item)));
    if args.json {
        let mut value = json!(usage);
        value["root"] = json!(store.root());
        return print(&format!("{value:#}\n"));
    }
    if let Some(format) = args.format.as_deref().filter(|format| *format != "table") {
        let values: Vec<Value> = shares(&usage).into_iter().map(described).collect();
        return print(&template::rows(format, &[("TotalCount", "TOTAL")], &values)?);
    }
    let mut text = summary(&usage);
    if args.verbose || !filters.is_empty() {
        text += &details(&usage, now);
    }
    text += &format!("\nTotal: {} in {}\n", size::bytes(usage.total), store.root().display());
    print(&text)
}

/// The columns of the table for each kind of thing.
fn shares(usage: &Usage) -> [[String; 5]; 8] {
    ROWS.map(|(category, name)| {
        let none = Share { category, count: 0, active: 0, bytes: 0, reclaimable: 0 };
        let share = usage.shares.iter().find(|share| share.category == category).copied().unwrap_or(none);
        let percent = (share.reclaimable * 100).checked_div(share.bytes);
        let reclaimable = size::bytes(share.reclaimable);
        [
            name.to_owned(),
            share.count.to_string(),
            share.active.to_string(),
            size::bytes(share.bytes),
            percent.map_or(reclaimable.clone(), |percent| format!("{reclaimable} ({percent}%)")),
        ]
    })
}

/// A row in the fields of `docker system df --format`.
fn described([kind, total, active, size, reclaimable]: [String; 5]) -> Value {
    json!({"Type": kind, "TotalCount": total, "Active": active, "Size": size, "Reclaimable": reclaimable})
}

fn summary(usage: &Usage) -> String {
    let forms = [
        ("Blobs", usage.forms.blobs),
        ("Indexes", usage.forms.indexes),
        ("Tars", usage.forms.tars),
        ("Trees", usage.forms.trees),
    ];
    let forms =
        forms.map(|(name, Space { count, bytes })| [name.to_owned(), count.to_string(), size::bytes(bytes)]);
    table::columns(["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"], &shares(usage))
        + "\n"
        + &table::columns(["FORM OF LAYERS", "TOTAL", "SIZE"], &forms)
}

fn details(usage: &Usage, now: Timestamp) -> String {
    let (images, rest): (Vec<Item>, Vec<Item>) =
        usage.items.iter().cloned().partition(|item| item.category == Category::Image);
    let rows: Vec<[String; 6]> = images
        .iter()
        .map(|item| {
            let reference = Reference::parse(&item.name).ok();
            let none = || "<none>".to_owned();
            [
                reference.as_ref().map_or_else(none, catalog::repository),
                reference.as_ref().and_then(Reference::tag).map_or_else(none, str::to_owned),
                ago(item, now),
                size::bytes(item.size),
                size::bytes(item.size - item.unique),
                size::bytes(item.unique),
            ]
        })
        .collect();
    let header = ["REPOSITORY", "TAG", "LAST USED", "SIZE", "SHARED SIZE", "UNIQUE SIZE"];
    format!(
        "\nImages space usage:\n\n{}\nOther space usage:\n\n{}",
        table::columns(header, &rows),
        table(&rest, now)
    )
}

/// Things one by one.
pub(super) fn table(items: &[Item], now: Timestamp) -> String {
    let rows: Vec<[String; 6]> = items
        .iter()
        .map(|item| {
            let is_digest = item.id.len() == 64 && item.id.bytes().all(|byte| byte.is_ascii_hexdigit());
            [
                if is_digest { item.id[..12].to_owned() } else { item.id.clone() },
                type_of(item.category).to_owned(),
                size::bytes(item.size),
                ago(item, now),
                (item.unique < item.size).to_string(),
                crate::progress::shortened(&crate::progress::printable(&item.name), 60).to_string(),
            ]
        })
        .collect();
    table::columns(["ID", "TYPE", "SIZE", "LAST USED", "SHARED", "DESCRIPTION"], &rows)
}

fn ago(item: &Item, now: Timestamp) -> String {
    if item.last_used == 0 {
        return String::new();
    }
    size::ago(u64::try_from(now.as_second() - item.last_used).unwrap_or(0))
}

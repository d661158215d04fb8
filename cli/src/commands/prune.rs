//! `rbuild prune`

use std::io::{BufRead as _, IsTerminal as _};

use jiff::Timestamp;
use layer_store::store::{Category, Item, Prune, Pruned};
use serde_json::json;

use super::{Context, du, engine, print, tell};
use crate::args::store::PruneArgs;
use crate::failure::{Failure, Result};
use crate::settings::prune::{filters, limits};
use crate::size;

/// Removes what nothing needs, and more where that is asked for; nothing that a running build uses.
pub(super) async fn run(context: &Context, args: &PruneArgs) -> Result<()> {
    let limits = limits(args)?;
    let now = Timestamp::now();
    let filters = filters(&args.filter, now)?;
    if args.all && !args.force && !args.dry_run && !confirmed()? {
        return Err(Failure::new("nothing was removed"));
    }
    let (engine, _renderer) = engine::open(context, true)?;
    let store = engine.store.clone();
    let (all, dry_run, narrowed) = (args.all, args.dry_run, !filters.is_empty() || limits.is_some());
    let pruned = engine::blocking(move || {
        let select = |item: &Item| {
            let unnamed = is_unnamed(item);
            let wanted = if all {
                true
            } else if narrowed {
                unnamed || !matches!(item.category, Category::Image | Category::Record)
            } else {
                unnamed
            };
            wanted && filters.iter().all(|filter| filter.accepts(item))
        };
        store.prune(&Prune { select: &select, limits, dry_run }).map_err(|error| {
            let busy = matches!(error, layer_store::Error::Busy);
            Failure::from(error)
                .hint(busy.then(|| "somebody reads the store read-only; try again later".to_owned()))
        })
    })
    .await?;
    report(args, &pruned, now)?;
    let over = limits.and_then(|limits| limits.max_used).filter(|most| pruned.left > *most);
    match over {
        Some(most) if !args.dry_run => Err(Failure::new(format!(
            "the store takes {}, more than {}",
            size::bytes(pruned.left),
            size::bytes(most)
        ))
        .hint("named images stay unless `--all` is given; `rbuild du` shows them, and `rbuild rmi` removes some")),
        _ => Ok(()),
    }
}

/// Whether an item is an image that lost its name or never had one.
fn is_unnamed(item: &Item) -> bool {
    item.category == Category::Image && item.name.starts_with("<none>@")
}

fn report(args: &PruneArgs, pruned: &Pruned, now: Timestamp) -> Result<()> {
    if args.json {
        let value = json!({"items": pruned.items, "freed": pruned.freed, "left": pruned.left, "dryRun": args.dry_run});
        return print(&format!("{value:#}\n"));
    }
    let mut text = String::new();
    if args.dry_run || args.verbose {
        text += &du::table(&pruned.items, now);
        text.push('\n');
    }
    let reclaimed = if args.dry_run { "Space that would be reclaimed" } else { "Total reclaimed space" };
    print(&(text + &format!("{reclaimed}: {}\n", size::bytes(pruned.freed))))
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("`--all` removes every image and the whole build cache")
            .hint("pass `--force` where nobody can be asked"));
    }
    tell("This removes every image and the whole build cache, as far as filters let it. Go on? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

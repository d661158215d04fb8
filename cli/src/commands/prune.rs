//! `rbuild prune`

use std::io::{BufRead as _, IsTerminal as _};

use super::{Context, engine, print, tell};
use crate::args::image::PruneArgs;
use crate::failure::{Failure, Result};
use crate::size;

/// Where the store keeps what steps came to.
const STEPS: &str = "steps";

/// Removes what nothing needs.
pub(super) async fn run(context: &Context, args: &PruneArgs) -> Result<()> {
    if args.all && !args.force && !confirmed()? {
        return Err(Failure::new("nothing was removed"));
    }
    let (engine, _renderer) = engine::open(context, true)?;
    let store = engine.store.clone();
    let all = args.all;
    let bytes = engine::blocking(move || {
        if all {
            for record in store.images()? {
                store.untag(&record.name)?;
            }
            // Without its records no layer is held by the build cache.
            for key in store.record_keys(STEPS)? {
                store.remove_record(STEPS, &key)?;
            }
        }
        store.collect().map_err(|error| {
            let busy = matches!(error, layer_store::Error::Busy);
            Failure::from(error)
                .hint(busy.then(|| "try again when no build, pull or push is running".to_owned()))
        })
    })
    .await?;
    print(&format!("Total reclaimed space: {}\n", size::bytes(bytes)))
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("`--all` removes every image and the whole build cache")
            .hint("pass `--force` where nobody can be asked"));
    }
    tell("This removes every image and the whole build cache. Go on? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

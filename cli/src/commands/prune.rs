//! `rbuild prune`

use std::io::{BufRead as _, IsTerminal as _};

use super::{Context, engine, print, tell};
use crate::args::image::PruneArgs;
use crate::failure::{Failure, Result};
use crate::size;

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
            forget(&store.root().join("steps"))?;
        }
        Ok(store.collect()?)
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

fn forget(records: &std::path::Path) -> Result<()> {
    for entry in std::fs::read_dir(records)? {
        let path = entry?.path();
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|error| Failure::new(format!("cannot remove `{}`: {error}", path.display())))?;
    }
    Ok(())
}

//! `rbuild store check`

use std::fmt::Write as _;

use layer_store::store::{Checked, Problem, Remedy, Repaired};
use layer_store::{Error, Store};
use serde_json::{Value, json};

use super::{Context, engine, print, tell};
use crate::args::store::{CheckStoreArgs, StoreCommand};
use crate::failure::{Failure, Result};
use crate::size;

/// Runs a command about the store.
pub(super) async fn run(context: &Context, command: &StoreCommand) -> Result<()> {
    match command {
        StoreCommand::Check(args) => check(context, args).await,
        // The parser has put them under their first names.
        StoreCommand::Du(_) | StoreCommand::Prune(_) => Err(Failure::usage("this is a command of its own")),
    }
}

/// Says what is damaged, and repairs it if that is wanted. Fails while anything is wrong.
async fn check(context: &Context, args: &CheckStoreArgs) -> Result<()> {
    // Files of a plain user's images may belong to ids that only the sandbox can read.
    let (engine, _renderer) = engine::open(context, true)?;
    let (store, repair) = (engine.store.clone(), args.repair);
    let (checked, repaired, left) = engine::blocking(move || look(&store, repair)).await?;
    if args.json {
        print(&format!("{:#}\n", as_json(&checked, &repaired)))?;
    } else {
        print(&as_text(&checked.problems, &repaired))?;
        tell(&format!(
            "read {} blobs, {} layers, {} images and {} records: {}",
            checked.blobs,
            checked.layers,
            checked.images,
            checked.records,
            size::bytes(checked.bytes)
        ));
    }
    match left.len() {
        0 => Ok(()),
        count if repair => Err(Failure::new(format!("{} left", problems(count)))
            .hint("build or pull the images that are named again, or remove them with `rbuild rmi`")),
        count => Err(Failure::new(format!("the store has {}", problems(count))).hint(
            "`rbuild store check --repair` takes away what is damaged and makes it again where it can",
        )),
    }
}

/// What a check found, what became of it, and what is wrong after that.
fn look(store: &Store, repair: bool) -> Result<(Checked, Vec<Repaired>, Vec<Problem>)> {
    let checked = store.check()?;
    if !repair || checked.problems.is_empty() {
        let left = checked.problems.clone();
        return Ok((checked, Vec::new(), left));
    }
    let repaired = store.repair(&checked.problems).map_err(|error| {
        let busy = matches!(error, Error::Busy);
        let hint = "nothing was changed; try again when no build, pull or push is running";
        Failure::from(error).hint(busy.then(|| hint.to_owned()))
    })?;
    let left = store.check()?.problems;
    Ok((checked, repaired, left))
}

fn problems(count: usize) -> String {
    format!("{count} problem{}", if count == 1 { "" } else { "s" })
}

fn as_text(problems: &[Problem], repaired: &[Repaired]) -> String {
    let mut text = String::new();
    for problem in problems {
        let remedy = repaired.iter().find(|one| one.problem == *problem).map(|one| said(one.remedy));
        let _ = writeln!(text, "{problem}{}", remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default());
    }
    text
}

fn said(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Made => "made again",
        Remedy::Removed => "removed; it is made again from what is left when it is needed",
        Remedy::Lost => "removed; it is fetched or built again when it is needed",
        Remedy::Left => "left as it is",
    }
}

fn as_json(checked: &Checked, repaired: &[Repaired]) -> Value {
    let mut value = json!(checked);
    value["problems"] = checked
        .problems
        .iter()
        .map(|problem| {
            let mut one = json!(problem);
            one["text"] = json!(problem.to_string());
            if let Some(repaired) = repaired.iter().find(|one| one.problem == *problem) {
                one["remedy"] = json!(repaired.remedy);
            }
            one
        })
        .collect();
    value
}

//! `rbuild mutate`

use builder::edit::{ConfigEdit, split_words};

use super::delivery::rework;
use super::open::pair;
use crate::args::toolkit::MutateArgs;
use crate::commands::Context;
use crate::failure::{Failure, Result};

/// Annotations of the index are written so, as in `docker buildx`.
const OF_INDEX: &str = "index:";
/// Those of manifests may be.
const OF_MANIFEST: &str = "manifest:";

/// Changes what an image says about itself. No layer moves.
pub(super) async fn run(context: &Context, args: &MutateArgs) -> Result<()> {
    let edit = edit(args)?;
    let on_index = changes("--annotation", &args.annotation, &args.remove_annotation, |key| {
        key.strip_prefix(OF_INDEX).map(str::to_owned)
    })?;
    rework(
        context,
        "mutate",
        &args.image,
        &args.result,
        async |_, draft, _, _| edit.apply(draft),
        |annotations| {
            for (key, value) in &on_index {
                match value {
                    Some(value) => drop(annotations.insert(key.clone(), value.clone())),
                    None => drop(annotations.remove(key)),
                }
            }
        },
    )
    .await
}

fn edit(args: &MutateArgs) -> Result<ConfigEdit> {
    let any = |key: &str| Some(key.to_owned());
    let of_manifest = |key: &str| {
        (!key.starts_with(OF_INDEX)).then(|| key.strip_prefix(OF_MANIFEST).unwrap_or(key).to_owned())
    };
    let words = |text: &Option<String>| {
        let words = text.as_deref().map(split_words).transpose();
        words.map_err(|error| Failure::usage(error.to_string()))
    };
    Ok(ConfigEdit {
        labels: changes("--label", &args.label, &args.remove_label, any)?,
        annotations: changes("--annotation", &args.annotation, &args.remove_annotation, of_manifest)?,
        env: changes("--env", &args.env, &args.remove_env, any)?,
        entrypoint: words(&args.entrypoint)?,
        cmd: words(&args.cmd)?,
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
    })
}

/// What is set and what is removed, of the keys that `key` lets through.
fn changes(
    option: &str,
    set: &[String],
    removed: &[String],
    key: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, Option<String>)>> {
    let mut changes = Vec::new();
    for text in set {
        let (name, value) = pair(option, text)?;
        changes.extend(key(name).map(|name| (name, Some(value.to_owned()))));
    }
    changes.extend(removed.iter().filter_map(|name| key(name).map(|name| (name, None))));
    Ok(changes)
}

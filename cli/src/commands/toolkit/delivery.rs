//! What is shown of images that were brought somewhere, or would be.

use std::fmt::Write as _;

use builder::edit::Reworked;
use builder::exchange::{Delivered, Location, Opened};
use builder::output::Packing;
use builder::{Engine, edit};
use registry_client::{Copied, Plan, Step};
use serde_json::{Value, json};

use super::open::{location, platforms, with_engine};
use crate::args::toolkit::{DeliveryArgs, ResultArgs};
use crate::commands::{Context, print, tell};
use crate::failure::Result;
use crate::settings;
use crate::size;

/// Prints what was delivered: for each image its name and digest, on standard error what moved.
pub(in crate::commands) fn show(delivered: &[Delivered], how: DeliveryArgs) -> Result<()> {
    if how.json {
        let images: Vec<Value> = delivered.iter().map(value).collect();
        return print(&format!("{:#}\n", json!({ "images": images })));
    }
    let mut text = String::new();
    for one in delivered {
        match &one.plan {
            Some(plan) if !how.quiet => text.push_str(&planned(one, plan)),
            _ if how.quiet => text.push_str(&format!("{}\n", one.digest)),
            _ => text.push_str(&format!("{}: digest: {}\n", one.target, one.digest)),
        }
        if one.plan.is_none() && !how.quiet {
            tell(&summary(one.copied));
        }
    }
    print(&text)
}

fn value(one: &Delivered) -> Value {
    let mut value = json!({ "target": one.target, "digest": one.digest });
    match &one.plan {
        Some(plan) => value["plan"] = serde_json::to_value(plan).unwrap_or_default(),
        None => {
            let Copied { moved, bytes, mounted, skipped } = one.copied;
            value["copied"] =
                json!({ "moved": moved, "bytes": bytes, "mounted": mounted, "skipped": skipped });
        }
    }
    value
}

/// `3 blobs moved (27.3MB), 1 mounted, 2 were there`
fn summary(copied: Copied) -> String {
    let Copied { moved, bytes, mounted, skipped } = copied;
    let plural = if moved == 1 { "" } else { "s" };
    let mut text = format!("{moved} blob{plural} moved");
    if moved > 0 {
        let _ = write!(text, " ({})", size::bytes(bytes));
    }
    if mounted > 0 {
        let _ = write!(text, ", {mounted} mounted");
    }
    if skipped > 0 {
        let _ = write!(text, ", {skipped} there already");
    }
    text
}

fn planned(one: &Delivered, plan: &Plan) -> String {
    let mut text = format!("{}: digest: {} (dry run)\n", one.target, one.digest);
    let mut line = |what: &str, digest: &layer_store::Digest, bytes: u64, step: &str| {
        let _ = writeln!(text, "  {what:<8}  {}  {:>8}  {step}", digest.short(), size::bytes(bytes));
    };
    for blob in &plan.blobs {
        let step = match &blob.step {
            Step::There => "there".to_owned(),
            Step::Mount { from } => format!("mount from {from}"),
            Step::Move => "move".to_owned(),
        };
        line("blob", &blob.digest, blob.size, &step);
    }
    for manifest in &plan.manifests {
        line("manifest", &manifest.digest, manifest.size, if manifest.there { "there" } else { "write" });
    }
    let moving = plan.blobs.iter().filter(|blob| blob.step == Step::Move).count();
    let _ =
        writeln!(text, "  {moving} of {} blobs would move, {}", plan.blobs.len(), size::bytes(plan.bytes));
    text
}

/// Opens an image, lets `change` make another of each of its platforms, and brings that to its place.
pub(super) async fn rework(
    context: &Context,
    what: &str,
    image: &str,
    args: &ResultArgs,
    change: impl AsyncFn(&Engine, &mut edit::Draft, &Opened, Packing) -> builder::Result<()>,
    on_index: impl Fn(&mut std::collections::BTreeMap<String, String>),
) -> Result<()> {
    let (source, target) = (location(image)?, location(&args.to)?);
    let (platforms, packing) = (platforms(&args.platform)?, settings::packing(&args.compression)?);
    let delivered = with_engine(context, args.delivery.quiet, what, async |engine| {
        let opened = engine.open_images(&source, false, packing).await?;
        let repositories = &opened.supply.repositories;
        let top = opened.only()?.top.clone();
        let tree = engine.client.tree(repositories, top, &platforms).await?;
        let change =
            async |engine: &Engine, draft: &mut edit::Draft| change(engine, draft, &opened, packing).await;
        let Reworked { tree, left_out } = engine.rework(&tree, &opened.supply, change, on_index).await?;
        if left_out > 0 && !args.delivery.quiet {
            tell(&format!(
                "warning: {left_out} attestation{} left out: the images that they are about have changed",
                if left_out == 1 { " was" } else { "s were" }
            ));
        }
        let opened = Opened { supply: engine.with_store(&opened.supply), ..opened.clone() };
        deliver(engine, &opened, tree, &target, args.delivery.dry_run).await
    })
    .await?;
    show(&delivered, args.delivery)
}

/// Brings one tree to its place.
pub(super) async fn deliver(
    engine: &Engine,
    opened: &Opened,
    tree: registry_client::Tree,
    target: &Location,
    dry_run: bool,
) -> Result<Vec<Delivered>> {
    Ok(engine.deliver_trees(opened, vec![tree], target, dry_run).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_in_words() {
        let copied = |moved, bytes, mounted, skipped| summary(Copied { moved, bytes, mounted, skipped });
        assert_eq!(copied(3, 27_300_000, 1, 2), "3 blobs moved (27.3MB), 1 mounted, 2 there already");
        assert_eq!(copied(1, 10, 0, 0), "1 blob moved (10B)");
        assert_eq!(copied(0, 0, 0, 5), "0 blobs moved, 5 there already");
    }
}

//! `rbuild delete`

use registry_client::Deleted;
use serde_json::{Value, json};

use super::open::{reference, with_client};
use crate::args::toolkit::DeleteArgs;
use crate::commands::{Context, print};
use crate::failure::{Failure, Result};

/// Takes tags or manifests away from registries.
pub(super) async fn run(context: &Context, args: &DeleteArgs) -> Result<()> {
    let mut references = Vec::new();
    for text in &args.images {
        let reference = reference(text)?;
        // Nobody should lose `latest` by leaving something out.
        if reference.tag().is_none() && reference.digest().is_none() {
            return Err(Failure::usage(format!("`{text}` names neither a tag nor a digest"))
                .hint(format!("`rbuild tags {text}` lists what there is")));
        }
        references.push(reference);
    }
    let mut deleted = Vec::new();
    for reference in &references {
        let what = with_client(context, "delete", async |client| Ok(client.delete(reference).await?)).await;
        let what = what.map_err(|failure| {
            failure.note(
                "a registry may have deletion switched off (REGISTRY_STORAGE_DELETE_ENABLED of distribution)",
            )
        })?;
        let name = match what {
            Deleted::Tag | Deleted::TagByReplacement => "tag",
            Deleted::Manifest => "manifest",
        };
        if !args.json {
            print(&format!("{reference}: {name} deleted\n"))?;
        }
        deleted.push(json!({ "name": reference.to_string(), "deleted": name }));
    }
    if args.json { print(&format!("{:#}\n", Value::from(deleted))) } else { Ok(()) }
}

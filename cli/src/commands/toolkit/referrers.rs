//! `rbuild referrers`

use registry_client::{Client, Platforms, Reference, Repository};
use serde_json::{Value, json};

use super::open::{platforms, reference, with_client};
use crate::args::toolkit::ReferrersArgs;
use crate::commands::{Context, print};
use crate::failure::{Failure, Result};
use crate::{size, table};

/// Lists what refers to an image: signatures, attestations, SBOMs.
pub(super) async fn run(context: &Context, args: &ReferrersArgs) -> Result<()> {
    let reference = reference(&args.image)?;
    let platforms = platforms(args.platform.as_slice())?;
    let (subject, found) = with_client(context, "referrers", async |client| {
        let subject = subject(client, &reference, &platforms).await?.digest;
        let found = client.referrers(&reference, subject, args.artifact_type.as_deref()).await?;
        Ok((subject, found))
    })
    .await?;
    if args.json {
        let list: Vec<Value> = found
            .iter()
            .map(|one| {
                let mut value = serde_json::to_value(&one.descriptor).unwrap_or_default();
                value["artifactType"] = json!(one.artifact_type);
                value
            })
            .collect();
        return print(&format!("{:#}\n", json!({ "subject": subject, "referrers": list })));
    }
    let rows: Vec<[String; 3]> = found
        .iter()
        .map(|one| {
            let kind = one.artifact_type.clone().unwrap_or_else(|| "-".to_owned());
            [kind, one.descriptor.digest.to_string(), size::bytes(one.descriptor.size)]
        })
        .collect();
    print(&table::columns(["TYPE", "DIGEST", "SIZE"], &rows))
}

/// The manifest that something refers to: the index, or the image of one platform.
pub(super) async fn subject(
    client: &Client,
    reference: &Reference,
    platforms: &Platforms,
) -> Result<layer_store::Descriptor> {
    if *platforms == Platforms::All {
        return client.head(reference).await?.ok_or_else(|| {
            Failure::new(format!("there is no image `{reference}`"))
                .hint(format!("`rbuild tags {}` lists what there is", reference.name()))
        });
    }
    let top = client.manifest(reference).await?;
    let tree = client.tree(&[Repository::Remote(reference.clone())], top, platforms).await?;
    Ok(tree.top().descriptor())
}

//! `rbuild tags`

use serde_json::json;

use super::open::{reference, with_client};
use crate::args::toolkit::TagsArgs;
use crate::commands::{Context, print};
use crate::failure::Result;

/// Lists the tags of a repository, sorted.
pub(super) async fn run(context: &Context, args: &TagsArgs) -> Result<()> {
    let reference = reference(&args.repository)?;
    let tags = with_client(context, "tags", async |client| Ok(client.tags(&reference).await?)).await?;
    if args.json {
        return print(&format!("{:#}\n", json!({ "name": reference.name(), "tags": tags })));
    }
    print(&tags.iter().map(|tag| format!("{tag}\n")).collect::<String>())
}

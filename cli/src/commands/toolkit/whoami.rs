//! `rbuild whoami`

use registry_client::Reference;
use serde_json::json;

use super::open::with_client;
use crate::args::toolkit::WhoamiArgs;
use crate::commands::login::host;
use crate::commands::{Context, print};
use crate::failure::{Failure, Result};

/// Says whose credentials are used at a registry, where they come from, and that they are taken.
pub(super) async fn run(context: &Context, args: &WhoamiArgs) -> Result<()> {
    let text = args.registry.as_deref();
    // A repository may have credentials of its own; of a registry alone any repository will do.
    let reference = match text.filter(|text| text.contains('/') && !text.contains("://")) {
        Some(repository) => Reference::parse(repository),
        None => Reference::parse(&format!("{}/x", host(text)?)),
    };
    let reference = reference.map_err(|error| Failure::usage(error.to_string()))?;
    let account = with_client(context, "whoami", async |client| Ok(client.whoami(&reference).await?)).await?;
    let registry = reference.domain();
    if args.json {
        let (user, source) =
            account.as_ref().map_or((None, None), |one| (one.user.clone(), Some(&one.source)));
        let value =
            json!({ "registry": registry, "loggedIn": account.is_some(), "user": user, "source": source });
        return print(&format!("{value:#}\n"));
    }
    let account = account.ok_or_else(|| {
        Failure::new(format!("there are no credentials for `{registry}`"))
            .hint(format!("`rbuild login {registry}` stores some"))
    })?;
    let user = account.user.as_deref().unwrap_or("a token without a name");
    print(&format!("{user} at {registry}, from {}\n", account.source))
}

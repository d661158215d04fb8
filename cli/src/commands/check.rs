//! `rbuild check`, `rbuild build --check` and `--call check`

use std::path::Path;

use layer_store::{Store, StoreOptions};

use super::{Context, print, read, tell};
use crate::args::build::BuildArgs;
use crate::args::call::Format;
use crate::failure::{Failure, Result};
use crate::findings::Findings;
use crate::place;

/// Says what is wrong or doubtful in the Dockerfile, on standard output. Findings make it fail, as in Docker, unless
/// `ignore_status`.
pub(super) async fn run(
    context: &Context,
    args: &BuildArgs,
    format: Format,
    ignore_status: bool,
) -> Result<()> {
    let (text, found) = findings(context, args, format).await?;
    print(&text)?;
    match found {
        Some(failure) if ignore_status => {
            tell(&failure.to_string());
            Ok(())
        }
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// The findings as they are written, and the failure that they are where there is one.
pub(super) async fn findings(
    context: &Context,
    args: &BuildArgs,
    format: Format,
) -> Result<(String, Option<Failure>)> {
    let request = read::request(context, args).await?;
    // What is known of base images helps; a check makes no store to know nothing.
    let store = context.store_root().ok().and_then(|root| existing(&root));
    let checked = builder::check::check(&request, store.as_ref())
        .map_err(|error| Failure::of(&error).hint(error.hint()))?;
    let findings = Findings { source: &request.dockerfile, list: &checked.findings };
    let mut text = uncoloured(&findings.render(format));
    let annotated = |finding| place::annotated(&request.dockerfile, finding);
    context.annotate(&checked.findings.iter().map(annotated).collect::<Vec<_>>());
    for message in checked.unused_arguments {
        tell(&format!("warning: {message}"));
    }
    let name = &request.dockerfile.name;
    let count = findings.count();
    if count.is_none() && format == Format::Text {
        text = format!("{text}`{name}`: nothing found\n");
    }
    Ok((text, count.map(|count| Failure::new(format!("`{name}` has {count}")))))
}

/// Findings as they are, or without colours where standard output does not show them.
fn uncoloured(text: &str) -> String {
    match anstream::stdout().current_choice() {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

fn existing(root: &Path) -> Option<Store> {
    root.is_dir().then(|| Store::open(root, StoreOptions::default()).ok()).flatten()
}

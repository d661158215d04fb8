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
    let request = read::request(context, args).await?;
    // What is known of base images helps; a check makes no store to know nothing.
    let store = context.store_root().ok().and_then(|root| existing(&root));
    let checked = builder::check::check(&request, store.as_ref())
        .map_err(|error| Failure::of(&error).hint(error.hint()))?;
    let findings = Findings { source: &request.dockerfile, list: &checked.findings };
    print(&uncoloured(&findings.render(format)))?;
    let annotated = |finding| place::annotated(&request.dockerfile, finding);
    context.annotate(&checked.findings.iter().map(annotated).collect::<Vec<_>>());
    for message in checked.unused_arguments {
        tell(&format!("warning: {message}"));
    }
    let name = &request.dockerfile.name;
    match findings.count() {
        None if format == Format::Text => print(&format!("`{name}`: nothing found\n")),
        None => Ok(()),
        Some(count) if ignore_status => {
            tell(&format!("`{name}` has {count}"));
            Ok(())
        }
        Some(count) => Err(Failure::new(format!("`{name}` has {count}"))),
    }
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

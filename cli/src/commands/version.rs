//! `rbuild version`

use layer_store::Platform;

use super::{Context, print};
use crate::failure::Result;

/// Prints the version, and what people are asked for in reports.
pub(super) fn run(context: &Context) -> Result<()> {
    let root = context.store_root().map_or_else(|_| "none".to_owned(), |root| root.display().to_string());
    print(&format!(
        "rbuild {}\nplatform  {}\nstore     {root}\n",
        env!("CARGO_PKG_VERSION"),
        Platform::host(),
    ))
}

//! `rbuild version`

use layer_store::Platform;
use serde_json::{Value, json};

use super::{Context, print};
use crate::args::store::VersionArgs;
use crate::failure::Result;
use crate::template::Template;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the version, and what people are asked for in reports.
pub(super) fn run(context: &Context, args: &VersionArgs) -> Result<()> {
    match args.format.as_deref() {
        Some("json") => print(&format!("{}\n", facts())),
        Some(format) => print(&format!("{}\n", Template::parse(format)?.fill(&facts())?)),
        None => {
            let root = context.store_root();
            let root = root.map_or_else(|_| "none".to_owned(), |root| root.display().to_string());
            print(&format!("rbuild {VERSION}\nplatform  {}\nstore     {root}\n", Platform::host()))
        }
    }
}

/// Docker's field names, where it has the field. There is no server: its version, which scripts ask for, is this one.
fn facts() -> Value {
    let platform = Platform::host();
    let machine = rustix::system::uname();
    let client = json!({
        "Platform": {"Name": "rbuild"},
        "Version": VERSION,
        "Os": platform.os,
        "Arch": platform.architecture,
    });
    let mut server = client.clone();
    server["KernelVersion"] = machine.release().to_string_lossy().into();
    json!({ "Client": client, "Server": server })
}

//! `rbuild export`

use std::io::{self, IsTerminal as _};

use builder::output::{Destination, Output, Packing};
use registry_client::Platforms;
use serde_json::json;

use super::open::{location, with_engine};
use crate::args::toolkit::ExportArgs;
use crate::commands::{Context, print};
use crate::failure::{Failure, Result};
use crate::settings;

/// Writes the files of an image, without its layers, history and configuration.
pub(super) async fn run(context: &Context, args: &ExportArgs) -> Result<()> {
    let source = location(&args.image)?;
    let platform = settings::platform(args.platform.as_deref())?;
    let output = match args.output.as_deref() {
        None | Some("-") => Output::Tar { dest: Destination::Stdout },
        Some(path) if path.ends_with('/') => Output::Local { dest: path.into() },
        Some(path) => Output::Tar { dest: Destination::File(path.into()) },
    };
    let to_stdout = output == (Output::Tar { dest: Destination::Stdout });
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage("a tar is no text for a terminal").hint("pass `-o FILE`, or a pipe"));
    }
    let digest = with_engine(context, to_stdout, "export", async |engine| {
        let opened = engine.open_images(&source, false, Packing::default()).await?;
        let (repositories, top) = (&opened.supply.repositories, opened.only()?.top.clone());
        let tree = engine.client.tree(repositories, top, &Platforms::Only(vec![platform.clone()])).await?;
        engine.export_files(tree.top(), &opened.supply, &output).await?;
        Ok(tree.top().digest())
    })
    .await?;
    match &args.output {
        Some(path) if args.json => print(&format!("{:#}\n", json!({ "digest": digest, "output": path }))),
        _ => Ok(()),
    }
}

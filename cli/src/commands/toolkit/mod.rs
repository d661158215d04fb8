//! The registry toolkit: images copied, looked at and changed wherever they are. Each command only wires; what is done
//! is in `builder::exchange`, `builder::edit` and the registry client.

mod append;
mod attach;
mod blob;
mod copy;
mod delete;
mod delivery;
mod export;
mod flatten;
mod index;
mod manifest;
mod mutate;
mod open;
mod rebase;
mod referrers;
mod search;
mod tags;
mod whoami;

use super::Context;
use crate::args::Toolkit;
use crate::failure::Result;

pub(super) use delivery::show;

/// Runs a command of the toolkit.
pub(super) async fn run(context: &Context, command: Toolkit) -> Result<()> {
    match command {
        Toolkit::Copy(args) => copy::run(context, &args).await,
        Toolkit::Tags(args) => tags::run(context, &args).await,
        Toolkit::Manifest(command) => manifest::run(context, &command).await,
        Toolkit::Index(command) => index::run(context, &command).await,
        Toolkit::Blob(command) => blob::run(context, &command).await,
        Toolkit::Append(args) => append::run(context, &args).await,
        Toolkit::Mutate(args) => mutate::run(context, &args).await,
        Toolkit::Rebase(args) => rebase::run(context, &args).await,
        Toolkit::Flatten(args) => flatten::run(context, &args).await,
        Toolkit::Export(args) => export::run(context, &args).await,
        Toolkit::Delete(args) => delete::run(context, &args).await,
        Toolkit::Referrers(args) => referrers::run(context, &args).await,
        Toolkit::Attach(args) => attach::run(context, &args).await,
        Toolkit::Search(args) => search::run(context, &args).await,
        Toolkit::Whoami(args) => whoami::run(context, &args).await,
    }
}

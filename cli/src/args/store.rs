//! Arguments of the commands about the store as a whole.

use clap::{Args, Subcommand};

/// `rbuild store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read all that the store holds and say what the disk damaged
    Check(CheckStoreArgs),
}

/// `rbuild store check`
#[derive(Debug, Args)]
pub(crate) struct CheckStoreArgs {
    /// Take away what is damaged, and make it again where another form of it is left
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

//! Arguments of the commands that ask registries and change nothing here.

use clap::{Args, Subcommand};

/// `rbuild mirrors`
#[derive(Debug, Subcommand)]
pub(crate) enum MirrorsCommand {
    /// Ask each endpoint of an image whether it answers, what it has and how fast it is
    Test(MirrorsTestArgs),
}

/// `rbuild mirrors test`
#[derive(Debug, Args)]
pub(crate) struct MirrorsTestArgs {
    /// The image to ask for
    #[arg(default_value = "busybox")]
    pub(crate) image: String,
    /// The platform whose layers are fetched
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// The same as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

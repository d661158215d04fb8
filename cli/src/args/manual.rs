//! Arguments of the commands that explain the program itself.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `rbuild completion`
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell whose script is printed
    pub(crate) shell: Shell,
}

/// `rbuild man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command whose page is printed, `build` for instance [default: the program's own page]
    #[arg(conflicts_with = "directory")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands into a directory
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

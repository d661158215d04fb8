//! Arguments of the commands about builds of the past.

use std::path::PathBuf;

use clap::Args;

/// `rbuild logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Id of a build, or its beginning [default: the newest]
    pub(crate) build: Option<String>,
    /// Print where the log is instead
    #[arg(long)]
    pub(crate) path: bool,
}

/// `rbuild report`
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Id of a build, or its beginning [default: the newest]
    pub(crate) build: Option<String>,
    /// The page to write
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) output: PathBuf,
}

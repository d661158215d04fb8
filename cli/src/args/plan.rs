//! Arguments of the commands that say what a build does and why.

use clap::{Args, ValueEnum};

use super::build::BuildArgs;

/// `rbuild plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    /// How the plan is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: FormatArg,
}

/// `rbuild why`
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Only steps of this line of the Dockerfile (`12`, `Dockerfile:12`), or whose text has these words
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// How the answer is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: FormatArg,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// For people
    Text,
    /// For programs
    Json,
}

//! Arguments of `rbuild run`. Names and meaning are those of `docker run`.

use clap::Args;

use super::build::SandboxArgs;

/// `rbuild run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Image name, fetched where it is not here
    pub(crate) image: String,
    /// Command and arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Pass on standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Variable of the environment; without `=` it is taken from this one
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// User, and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Program in the place of the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Taken for compatibility: what the command changes is always gone with it
    #[arg(long)]
    pub(crate) rm: bool,
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Network: `default`, `host`, `none`, or `private` (its own, by `pasta`)
    #[arg(long, value_name = "MODE")]
    pub(crate) network: Option<String>,
    /// Platform of the image [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// When the image is fetched: `missing`, `always` or `never`
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = ["missing", "always", "never"])]
    pub(crate) pull: String,
    /// Lowest isolation that is good enough
    #[arg(long, value_name = "RUNG")]
    pub(crate) isolation: Option<String>,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
}

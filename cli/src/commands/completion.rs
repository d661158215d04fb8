//! `rbuild completion`

use super::print;
use crate::args::definition;
use crate::args::manual::CompletionArgs;
use crate::failure::Result;

/// Prints the script that completes commands and options in a shell.
pub(super) fn run(args: &CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "rbuild", &mut script);
    print(&String::from_utf8_lossy(&script))
}

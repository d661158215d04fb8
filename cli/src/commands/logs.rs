//! `rbuild logs`

use std::fs::File;
use std::io::{self, Write as _};

use super::{Context, print};
use crate::args::builds::LogsArgs;
use crate::builds;
use crate::failure::{Failure, Result};

/// Prints the whole log of a build, byte for byte.
pub(super) fn run(context: &Context, args: &LogsArgs) -> Result<()> {
    let build = builds::find(&context.store_root()?, args.build.as_deref())?;
    if args.path {
        return print(&format!("{}\n", build.log.display()));
    }
    let mut log = File::open(&build.log)
        .map_err(|error| Failure::new(format!("cannot open `{}`: {error}", build.log.display())))?;
    let mut output = io::stdout().lock();
    match io::copy(&mut log, &mut output).and_then(|_| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

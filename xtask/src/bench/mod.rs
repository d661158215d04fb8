//! `cargo xtask bench`: what rbuild costs beside the tools that people have, on this machine, in the same run.

mod build;
mod far;
mod frame;
mod registry;
mod run;
mod store;
mod sys;

use anyhow::{Result, bail};

/// Runs the benchmark that is named, or all of them.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let reports = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => vec![store::run()?, build::run()?, registry::run()?, run::run()?],
        ["store"] => vec![store::run()?],
        ["build"] => vec![build::run()?],
        ["registry"] => vec![registry::run()?],
        ["run"] => vec![run::run()?],
        _ => bail!(
            "there is no benchmark `{}`; there are `store`, `build`, `registry` and `run`",
            words.join(" ")
        ),
    };
    for report in &reports {
        report.show()?;
    }
    Ok(())
}

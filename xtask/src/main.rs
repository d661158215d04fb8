//! The project's chores: `cargo xtask demo`, `test`, `fuzz`, `dist`, `isolation`, `report-page`, `bench`.

mod bench;
mod demo;
mod dist;
mod fuzz;
mod test;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <chore>

  demo   builds rbuild and shows a whole build: base image, RUN, COPY --from, cache, push
  test   formatting, lints, unit, integration and end-to-end tests
  fuzz   [TARGET] [--seconds N]: runs the fuzz targets, or one
  dist   the self-contained release binary, checked in an empty root
  isolation
         builds one Dockerfile as each user and in each container, and writes the table of docs/isolation.md
  report-page
         checks the page of `rbuild report` in a browser, which it installs (80 MB and what that needs)
  bench  what rbuild costs beside other tools: `bench store`, `build`, `registry`, `run`

`cargo xtask test` takes further words as `cargo test` does.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["demo"] => demo::run(),
        ["test", ..] => test::run(&words[1..]),
        ["fuzz", ..] => fuzz::run(&words[1..]),
        ["dist"] => dist::run(),
        ["isolation"] => test::isolation(),
        ["report-page"] => test::report_page(),
        ["bench", ..] => bench::run(&words[1..]),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs this.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(xtask::repository());
    cargo
}

/// Rust's linker driver and the C parts of the dependencies need a C compiler; a fresh Debian has none.
fn need_compiler() -> Result<()> {
    let missing = xtask::packages::install(&[("gcc", "gcc"), ("libc6-dev", "gcc")])?;
    if !missing.is_empty() {
        bail!("a C compiler is needed to build; install it with `apt-get install gcc libc6-dev`");
    }
    Ok(())
}

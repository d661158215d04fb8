//! The rbuild binary: arguments, settings, progress, reports and exit statuses. What a build is, the library crates
//! know.

mod args;
mod auth_file;
mod bake;
mod builds;
mod catalog;
mod commands;
mod console;
mod csv;
mod failure;
mod findings;
mod place;
mod progress;
mod settings;
mod size;
mod table;
mod template;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox starts this program again as its helper; such a process must do nothing before it is one.
    builder::sandbox::run_helper_if_asked();
    match args::parse(std::env::args_os()) {
        Ok(cli) => commands::run(cli),
        Err(error) => {
            // Help goes to standard output and is no failure; everything else is a wrong command line.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { failure::Exit::Usage as u8 } else { 0 })
        }
    }
}

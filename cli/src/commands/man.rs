//! `rbuild man`: manual pages from the definition of the command line.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::print;
use crate::args::definition;
use crate::args::manual::ManArgs;
use crate::failure::{Failure, Result};

/// Prints one page, or writes all.
pub(super) fn run(args: &ManArgs) -> Result<()> {
    let mut program = definition();
    program.build();
    if let Some(directory) = &args.directory {
        return write_all(&program, "rbuild", directory);
    }
    let mut command = &program;
    let mut name = "rbuild".to_owned();
    for word in &args.command {
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::usage(format!("there is no command `{name} {word}`"))
                .hint("`rbuild --help` lists the commands")
        })?;
        name = format!("{name}-{}", command.get_name());
    }
    print(&String::from_utf8_lossy(&page(command, &name)?))
}

/// The page of a command, in roff.
fn page(command: &Command, name: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    // What a person types stands in the synopsis; the page has the file's name.
    let command = command.clone().display_name(name.to_owned()).disable_help_subcommand(true);
    // A manual leaves nothing out that the short help does.
    let command = command.mut_args(|arg| arg.hide_short_help(false));
    Man::new(command).title(name.to_uppercase()).render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n");
    let text = text.replace(".SH EXTRA\n", ".SH NOTES\n").replace("\nExit status:\n", ".SH EXIT STATUS\n");
    Ok(text.into_bytes())
}

fn write_all(command: &Command, name: &str, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command, name)?)
        .map_err(|error| Failure::new(format!("cannot write `{}`: {error}", path.display())))?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_all(inner, &format!("{name}-{}", inner.get_name()), directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let mut program = definition();
        program.build();
        write_all(&program, "rbuild", directory.path()).unwrap();
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            let path = directory.path().join(format!("rbuild-{}.1", command.get_name()));
            let page = fs::read_to_string(&path).unwrap();
            assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{}", path.display());
        }
        let build = fs::read_to_string(directory.path().join("rbuild-build.1")).unwrap();
        for part in ["build\\-context", "Capability beyond", ".SH EXAMPLES\n", "The store of images"] {
            assert!(build.contains(part), "{part}: {build}");
        }
        let program = fs::read_to_string(directory.path().join("rbuild.1")).unwrap();
        assert!(program.contains(".SH EXIT STATUS\n  0    done\n"), "{program}");
    }
}

//! What `-h` and `--help` say beside the options: a short help of everyday options, and a long one with examples.

use std::fmt::Write as _;

use clap::Command;

use super::examples::EXAMPLES;

/// The heading of options that every command has.
const GLOBAL: &str = "Global options";

/// Options of `build` that the short help shows; people who look for another one read the long help.
const EVERYDAY: [&str; 17] = [
    "context",
    "tag",
    "file",
    "build_arg",
    "target",
    "platform",
    "label",
    "no_cache",
    "cache_from",
    "cache_to",
    "pull",
    "push",
    "output",
    "secret",
    "ssh",
    "progress",
    "quiet",
];

/// Every command with examples behind its long help, and the rarer options out of its short one.
pub(super) fn complete(program: Command) -> Command {
    let program = EXAMPLES.iter().fold(program, |program, (path, examples)| {
        let mut text = "Examples:".to_owned();
        for (line, what) in *examples {
            let _ = write!(text, "\n  {what}:\n    $ {line}");
        }
        at(program, path, &|command| command.after_long_help(text.clone()))
    });
    let program = ["build", "check", "plan", "image build"].iter().fold(program, |program, path| {
        at(program, path, &|command| {
            let rare = |arg: clap::Arg| {
                let everyday = EVERYDAY.contains(&arg.get_id().as_str()) || arg.get_id() == "format";
                arg.hide_short_help(!everyday)
            };
            command.mut_args(rare).after_help("`--help` shows all options, and examples")
        })
    });
    // Options of the whole program stand in the short help of the program alone, where they are no surprise.
    let program = program
        .mut_args(|arg| if arg.get_help_heading() == Some(GLOBAL) { arg.hide_short_help(true) } else { arg });
    program.after_long_help(STATUS)
}

/// The end of the program's own help and manual page.
const STATUS: &str = "`rbuild -t app:1.0 .` is `rbuild build -t app:1.0 .`

Exit status:
  0    done
  1    the build or command failed; standard error says what, where, why and what to do
  2    the command line is wrong, or asks for something that is not supported
  130  stopped by Ctrl-C (SIGINT)
  143  stopped by SIGTERM
  `rbuild run` ends with the status of its command; 125 where rbuild itself failed, 126 where the
  command cannot be started, 127 where there is none of that name";

/// Changes the command at `path`.
fn at(program: Command, path: &str, change: &dyn Fn(Command) -> Command) -> Command {
    let (first, rest) = path.split_once(' ').unwrap_or((path, ""));
    program.mut_subcommand(
        first,
        |command| {
            if rest.is_empty() { change(command) } else { at(command, rest, change) }
        },
    )
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::EXAMPLES;
    use crate::args::{definition, parse};

    /// The names of all commands that help shows and that do something themselves.
    fn commands(command: &Command, path: &str, found: &mut Vec<String>) {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let path = format!("{path} {}", inner.get_name()).trim_start().to_owned();
            if inner.has_subcommands() {
                commands(inner, &path, found);
            } else {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_command_has_examples() {
        let mut all = Vec::new();
        commands(&definition(), "", &mut all);
        for command in &all {
            assert!(EXAMPLES.iter().any(|(path, _)| path == command), "`rbuild {command}` has no example");
        }
        for (path, _) in EXAMPLES {
            assert!(all.iter().any(|command| command == path), "there is no command `{path}`");
        }
    }

    #[test]
    fn examples_are_command_lines() {
        for (line, _) in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            let line = line.split(['>', '|']).next().unwrap();
            let words = builder::edit::split_words(line).unwrap();
            parse(words.into_iter().map(Into::into)).unwrap_or_else(|error| panic!("{line}\n{error}"));
        }
    }
}

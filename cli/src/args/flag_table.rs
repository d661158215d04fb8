//! Tables of the flags that another program has, each with what becomes of it here. The command line refuses by such a
//! table, and a page of the documentation is checked against it.

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does its work: the flag stands among the arguments of the command.
    Works,
    /// It is accepted and has nothing to do, for this reason.
    NothingToDo(&'static str),
    /// It is refused, for this reason, which also names the nearest thing.
    Refused(&'static str),
}

/// A flag of another program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Its long name.
    pub(crate) name: &'static str,
    /// Its letter.
    pub(crate) short: Option<char>,
    /// Whether it takes a value.
    pub(crate) value: bool,
    /// The value that asks for what happens anyway, which is no reason to refuse it.
    pub(crate) anyway: &'static str,
    /// What becomes of it.
    pub(crate) state: State,
}

pub(crate) const fn works(name: &'static str) -> Flag {
    Flag { name, short: None, value: true, anyway: "", state: State::Works }
}

pub(crate) const fn nothing(name: &'static str, value: bool, reason: &'static str) -> Flag {
    Flag { name, short: None, value, anyway: "", state: State::NothingToDo(reason) }
}

pub(crate) const fn refused(name: &'static str, value: bool, reason: &'static str) -> Flag {
    Flag { name, short: None, value, anyway: "false", state: State::Refused(reason) }
}

/// A flag that is on in other programs, and here: only `--flag=false` is refused.
pub(crate) const fn refused_off(name: &'static str, reason: &'static str) -> Flag {
    Flag { anyway: "true", ..refused(name, false, reason) }
}

/// The flags that the command's own arguments do not have, for the parser: hidden from the help, since they do nothing.
pub(crate) fn arguments(flags: impl IntoIterator<Item = &'static Flag>) -> impl Iterator<Item = Arg> {
    flags.into_iter().filter(|flag| flag.state != State::Works).map(|flag| {
        let arg = Arg::new(flag.name).long(flag.name).hide(true);
        let arg = flag.short.into_iter().fold(arg, Arg::short);
        if flag.value {
            arg.action(ArgAction::Append)
        } else {
            // `--rm` and `--rm=false` are both written in Docker.
            arg.action(ArgAction::Append).num_args(0..=1).require_equals(true)
        }
    })
}

/// Why a command with these flags is refused.
pub(crate) fn refusal<'a>(flags: impl IntoIterator<Item = &'a Flag>, matches: &ArgMatches) -> Option<String> {
    flags.into_iter().find_map(|flag| {
        let State::Refused(reason) = flag.state else { return None };
        (typed(flag, matches) && !asks_for_nothing(flag, matches))
            .then(|| format!("`--{}` is not supported: {reason}", flag.name))
    })
}

/// Whether all values of a flag ask for what happens anyway. A flag alone is on.
fn asks_for_nothing(flag: &Flag, matches: &ArgMatches) -> bool {
    let values: Vec<&str> =
        matches.get_many::<String>(flag.name).into_iter().flatten().map(String::as_str).collect();
    if values.is_empty() { flag.anyway == "true" } else { values.iter().all(|value| *value == flag.anyway) }
}

/// The typed flags that have nothing to do, each with the reason.
pub(crate) fn notes(flags: &[Flag], matches: &ArgMatches) -> Vec<String> {
    let note = |flag: &Flag| match flag.state {
        State::NothingToDo(reason) if typed(flag, matches) => {
            Some(format!("`--{}` has nothing to do: {reason}", flag.name))
        }
        _ => None,
    };
    flags.iter().filter_map(note).collect()
}

fn typed(flag: &Flag, matches: &ArgMatches) -> bool {
    matches.value_source(flag.name) == Some(ValueSource::CommandLine)
}

/// The checks that hold for every table: it agrees with the definition of its command and with its page.
#[cfg(test)]
pub(crate) fn check(flags: &[Flag], command: &str, page: &str) {
    let definition = super::definition();
    let command = definition.find_subcommand(command).unwrap();
    assert!(flags.is_sorted_by_key(|flag| flag.name));
    for flag in flags {
        let found = command.get_arguments().filter(|arg| {
            arg.get_long() == Some(flag.name)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&flag.name))
        });
        assert_eq!(found.count(), 1, "--{}", flag.name);
        let row = match flag.state {
            State::Works => format!("| `--{}` | works | ", flag.name),
            State::NothingToDo(reason) => format!("| `--{}` | nothing to do | {reason} |", flag.name),
            State::Refused(reason) => format!("| `--{}` | refused | {reason} |", flag.name),
        };
        assert!(page.contains(&row), "the page should have the row\n{row}");
        if let State::NothingToDo(reason) | State::Refused(reason) = flag.state {
            assert!(reason.len() > 20 && !reason.ends_with('.'), "--{}", flag.name);
        }
    }
    // The page speaks of no flag that is not in the table.
    for row in page.lines().filter_map(|line| line.strip_prefix("| `--")) {
        let Some((name, rest)) = row.split_once("` | ") else { continue };
        let stated = ["works |", "nothing to do |", "refused |"].iter().any(|state| rest.starts_with(state));
        assert!(!stated || flags.iter().any(|flag| flag.name == name), "--{name} is not in the table");
    }
}

//! The flags of `docker build` and `docker buildx build`, each with what becomes of it here. This is the one table:
//! the command line refuses by it, and `docs/cli.md` is checked against it.

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does its work: the flag stands in [`super::build::BuildArgs`].
    Works,
    /// It is accepted and has nothing to do, for this reason.
    NothingToDo(&'static str),
    /// It is refused, for this reason, which also names the nearest thing.
    Refused(&'static str),
}

/// A flag of `docker build`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DockerFlag {
    /// Its long name.
    pub(crate) name: &'static str,
    /// Its letter.
    pub(crate) short: Option<char>,
    /// Whether it takes a value.
    pub(crate) value: bool,
    /// What becomes of it.
    pub(crate) state: State,
}

const fn works(name: &'static str) -> DockerFlag {
    DockerFlag { name, short: None, value: true, state: State::Works }
}

const fn nothing(name: &'static str, value: bool, reason: &'static str) -> DockerFlag {
    DockerFlag { name, short: None, value, state: State::NothingToDo(reason) }
}

const fn refused(name: &'static str, value: bool, reason: &'static str) -> DockerFlag {
    DockerFlag { name, short: None, value, state: State::Refused(reason) }
}

/// Every flag of `docker build` and `docker buildx build`, by name.
pub(crate) const FLAGS: &[DockerFlag] = &[
    works("add-host"),
    works("allow"),
    works("annotation"),
    works("attest"),
    works("build-arg"),
    works("build-context"),
    nothing("builder", true, "there is one builder, this program"),
    works("cache-from"),
    works("cache-to"),
    works("call"),
    works("cgroup-parent"),
    works("check"),
    nothing("compress", false, "the context is read where it lies and never sent"),
    works("cpu-period"),
    works("cpu-quota"),
    works("cpu-shares"),
    works("cpuset-cpus"),
    works("cpuset-mems"),
    nothing("disable-content-trust", false, "content trust of notary was switched off in Docker too"),
    works("file"),
    nothing("force-rm", false, "nothing is left behind by a step, whether it fails or not"),
    works("iidfile"),
    works("isolation"),
    works("label"),
    works("load"),
    works("memory"),
    works("memory-swap"),
    works("metadata-file"),
    works("network"),
    works("no-cache"),
    works("no-cache-filter"),
    works("output"),
    works("platform"),
    refused("policy", true, "policies are not evaluated; check the Dockerfile with `rbuild build --check`"),
    works("progress"),
    works("provenance"),
    works("pull"),
    works("push"),
    works("quiet"),
    refused("resource", true, "name each limit by its own flag: `--memory`, `--cpu-quota`, `--cpuset-cpus`"),
    nothing("rm", false, "nothing is left behind by a step"),
    works("sbom"),
    works("secret"),
    works("security-opt"),
    works("shm-size"),
    works("squash"),
    works("ssh"),
    works("tag"),
    works("target"),
    works("ulimit"),
];

/// The flags that [`super::build::BuildArgs`] does not have, for the parser: hidden from the help, since they do
/// nothing.
pub(crate) fn arguments() -> impl Iterator<Item = Arg> {
    FLAGS.iter().filter(|flag| flag.state != State::Works).map(|flag| {
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

/// Why a build with these flags is refused.
pub(crate) fn refusal(build: &ArgMatches) -> Option<String> {
    FLAGS.iter().find_map(|flag| {
        let State::Refused(reason) = flag.state else { return None };
        let typed = build.value_source(flag.name) == Some(ValueSource::CommandLine);
        typed.then(|| format!("`--{}` is not supported: {reason}", flag.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_is_defined_once() {
        let definition = super::super::definition();
        let build = definition.find_subcommand("build").unwrap();
        assert!(FLAGS.is_sorted_by_key(|flag| flag.name));
        for flag in FLAGS {
            let found = build.get_arguments().filter(|arg| arg.get_long() == Some(flag.name)).count();
            assert_eq!(found, 1, "--{}", flag.name);
        }
    }

    #[test]
    fn every_refusal_names_a_reason() {
        for flag in FLAGS {
            if let State::NothingToDo(reason) | State::Refused(reason) = flag.state {
                assert!(reason.len() > 20 && !reason.ends_with('.'), "--{}", flag.name);
            }
        }
    }

    /// `docs/cli.md` has one row for each flag, with its state and reason.
    #[test]
    fn the_manual_has_every_flag() {
        let manual = include_str!("../../../docs/cli.md");
        for flag in FLAGS {
            let row = match flag.state {
                State::Works => format!("| `--{}` | works | |", flag.name),
                State::NothingToDo(reason) => format!("| `--{}` | nothing to do | {reason} |", flag.name),
                State::Refused(reason) => format!("| `--{}` | refused | {reason} |", flag.name),
            };
            assert!(manual.contains(&row), "docs/cli.md should have the row\n{row}");
        }
    }
}

//! Rules of rbuild's own about RUN and the cache: what bites in silence.

use std::collections::BTreeMap;

use super::rules::{APT_GET_UPDATE_ALONE, ARG_BREAKS_CACHE_EARLY, HEREDOC_WITHOUT_ERREXIT};
use super::text::help;
use super::{Dockerfile, Findings};
use crate::dockerfile::{Command, Instruction, InstructionKind, Run, Script};

pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    for stage in &dockerfile.stages {
        let mut shell_stops = false;
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Shell(arguments) => {
                    let flags = arguments.iter().filter(|argument| argument.starts_with('-'));
                    shell_stops = flags.clone().any(|flag| !flag.starts_with("--") && flag.contains('e'))
                        || arguments.iter().any(|argument| argument == "errexit");
                }
                InstructionKind::Run(run) => {
                    if !shell_stops {
                        heredoc(instruction, run, findings);
                    }
                    package_lists(instruction, run, findings);
                }
                _ => {}
            }
        }
        early_arguments(&stage.instructions, findings);
    }
}

/// A script of several commands goes on after one that fails, and the step succeeds if the last does.
fn heredoc(instruction: &Instruction, run: &Run, findings: &mut Findings<'_>) {
    let lone =
        matches!(&run.command, Command::Shell(text) if crate::dockerfile::heredoc::is_lone_marker(text));
    let Script::Shell(script) = run.script(&instruction.heredocs) else { return };
    if !lone || commands(&script) < 2 || script.lines().any(stops_at_errors) {
        return;
    }
    let message = "the script goes on after a command that fails".to_owned();
    let finding = findings.report(
        HEREDOC_WITHOUT_ERREXIT,
        instruction.check.as_ref(),
        instruction.keyword.span,
        message,
    );
    help(finding, || "let its first line be `set -e`".to_owned());
}

/// Lines that start a command of their own.
fn commands(script: &str) -> usize {
    let mut count = 0;
    let mut continued = false;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if !continued {
            count += 1;
        }
        continued = line.ends_with(['\\', '|']) || line.ends_with("&&");
    }
    count
}

fn stops_at_errors(line: &str) -> bool {
    let mut words = line.split(|c: char| c.is_whitespace() || c == ';');
    if words.find(|word| !word.is_empty()) != Some("set") {
        return false;
    }
    words.any(|word| word == "errexit" || (word.starts_with('-') && word[1..].contains('e')))
}

/// Package lists that a step of their own fetched are as old as its cached layer.
fn package_lists(instruction: &Instruction, run: &Run, findings: &mut Findings<'_>) {
    let Script::Shell(script) = run.script(&instruction.heredocs) else { return };
    // A cache mount keeps the lists out of the layer.
    if run.mounts.iter().any(|mount| mount.text.contains("/var/lib/apt")) {
        return;
    }
    let words: Vec<&str> =
        script.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')')).collect();
    // The verb is the first word after the program that is no option.
    let verbs: Vec<&str> = words
        .iter()
        .enumerate()
        .filter(|(_, word)| matches!(**word, "apt-get" | "apt" | "aptitude"))
        .filter_map(|(at, _)| {
            words[at + 1..].iter().find(|word| !word.is_empty() && !word.starts_with('-')).copied()
        })
        .collect();
    if verbs.contains(&"update") && verbs.iter().all(|verb| matches!(*verb, "update" | "clean")) {
        let message =
            "`apt-get update` alone: later steps install from lists as old as this layer".to_owned();
        let local = instruction.check.as_ref();
        let finding = findings.report(APT_GET_UPDATE_ALONE, local, instruction.span, message);
        help(finding, || "apt-get update && apt-get install -y …, in one RUN".to_owned());
    }
}

/// An argument is part of the key of every RUN below it. One that is used further down spoils the
/// steps in between for nothing.
fn early_arguments(instructions: &[Instruction], findings: &mut Findings<'_>) {
    let uses = uses(instructions);
    let mut runs_before = Vec::with_capacity(instructions.len());
    let mut runs = 0;
    for instruction in instructions {
        runs_before.push(runs);
        runs += usize::from(matches!(instruction.kind, InstructionKind::Run(_)));
    }
    for (at, instruction) in instructions.iter().enumerate() {
        let InstructionKind::Arg(declarations) = &instruction.kind else { continue };
        for declaration in declarations {
            let Some(uses) = uses.get(declaration.name.as_str()) else { continue };
            let Some(&first) = uses.get(uses.partition_point(|place| *place <= at)) else { continue };
            let steps = runs_before[first] - runs_before[at];
            if steps == 0 {
                continue;
            }
            let (plural, verb) = if steps == 1 { ("", "does") } else { ("s", "do") };
            let message = format!(
                "a change of `{}` re-runs {steps} RUN step{plural} that {verb} not use it",
                declaration.name
            );
            let local = instruction.check.as_ref();
            let finding = findings.report(ARG_BREAKS_CACHE_EARLY, local, declaration.span, message);
            help(finding, || {
                format!("move it down to line {}, where it is used first", instructions[first].line)
            });
        }
    }
}

/// The instructions that have `$name` or `${name…` in them, by name. A RUN may read its environment,
/// so that any word in it is a use.
fn uses(instructions: &[Instruction]) -> BTreeMap<&str, Vec<usize>> {
    let mut uses: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, instruction) in instructions.iter().enumerate() {
        let run = matches!(instruction.kind, InstructionKind::Run(_));
        let texts = std::iter::once(instruction.original.as_str())
            .chain(instruction.heredocs.iter().map(|heredoc| heredoc.content.as_str()));
        for (name, variable) in texts.flat_map(identifiers) {
            if run || variable {
                let places = uses.entry(name).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
        }
    }
    uses
}

/// Words of letters, digits and `_`, and whether `$` or `${` stands before them.
fn identifiers(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let start = rest.find(is_part)?;
        let variable = rest[..start].ends_with('$') || rest[..start].ends_with("${");
        let word = &rest[start..];
        let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        rest = after;
        Some((word, variable))
    })
}

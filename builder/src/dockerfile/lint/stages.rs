//! Rules that need the state of a stage: its variables, its shell, what it starts from.

use std::collections::BTreeMap;

use super::from::From;
use super::rules::{
    COPY_IGNORED_FILE, EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING, JSON_ARGS_RECOMMENDED,
    MOUNT_SHADOWS_FILES, MULTIPLE_INSTRUCTIONS_DISALLOWED, SECRETS_USED_IN_ARG_OR_ENV, UNDEFINED_VAR,
    WORKDIR_RELATIVE_PATH,
};
use super::state::State;
use super::text::help;
use super::{Dockerfile, Findings, LintContext};
use crate::dockerfile::expand::{Expanded, Scope, expand, expand_heredoc, expand_words};
use crate::dockerfile::globals::{Given, Globals};
use crate::dockerfile::mount::{Mount, parse_mount_with, resolve_target};
use crate::dockerfile::port::parse_port;
use crate::dockerfile::stages::{StageGraph, Start};
use crate::dockerfile::values::clean_path;
use crate::dockerfile::{Command, CopySource, Instruction, InstructionKind, Span, Word};

pub(super) fn check(dockerfile: &Dockerfile, context: &LintContext<'_>, findings: &mut Findings<'_>) {
    let escape = dockerfile.directives.escape;
    let given = Given {
        build_args: &context.build_args,
        platform: &context.platform,
        build_platform: &context.build_platform,
        target: context.target.as_deref(),
    };
    let (globals, _) = Globals::new(dockerfile, given);
    let (defaults, _) = Globals::new(dockerfile, Given { build_args: &BTreeMap::new(), ..given });
    let graph = StageGraph::new(dockerfile, &globals);
    let wanted = wanted_stages(dockerfile, context, &graph);
    let mut states: Vec<State> = Vec::new();
    for stage in &dockerfile.stages {
        let Start { image: base, stage: earlier } = graph.start(stage.index);
        let (globals, defaults) = (&globals, &defaults);
        let from = From { stage, base, earlier: earlier.is_some(), context, escape, globals, defaults };
        let facts = from.check(findings);
        let mut state = match earlier {
            Some(index) => states[*index].child(),
            None => State::new(facts, base),
        };
        if wanted[stage.index] {
            let mut walk = Walk { state, context, globals, escape, findings };
            for instruction in &stage.instructions {
                walk.instruction(instruction);
            }
            state = walk.state;
        }
        states.push(state);
    }
}

/// The target and what it needs; everything without a target, or with one that does not exist.
fn wanted_stages(dockerfile: &Dockerfile, context: &LintContext<'_>, graph: &StageGraph<'_>) -> Vec<bool> {
    let count = dockerfile.stages.len();
    let last = if context.all_stages { None } else { count.checked_sub(1) };
    let Some(target) = context.target.as_deref().and_then(|name| graph.find(name)).or(last) else {
        return vec![true; count];
    };
    let mut wanted = vec![false; count];
    for index in graph.needed(target, |_| false) {
        wanted[index] = true;
    }
    wanted
}

struct Walk<'a, 'f> {
    state: State,
    context: &'a LintContext<'a>,
    globals: &'a Globals,
    escape: char,
    findings: &'a mut Findings<'f>,
}

impl Walk<'_, '_> {
    fn instruction(&mut self, instruction: &Instruction) {
        match &instruction.kind {
            InstructionKind::Arg(declarations) => {
                for declaration in declarations {
                    self.secret(instruction, &declaration.name, declaration.span);
                    let given = self.context.build_args.get(&declaration.name).cloned();
                    let value = match (given, &declaration.default) {
                        (Some(given), _) => Some(given),
                        (None, Some(default)) => Some(self.expand(instruction, default)),
                        (None, None) => self.globals.value(&declaration.name).map(str::to_owned),
                    };
                    if let Some(value) = value {
                        self.state.env.insert_mut(declaration.name.clone(), value);
                    }
                    self.state.declared.insert_mut(declaration.name.clone());
                }
            }
            InstructionKind::Env(pairs) => {
                // All of one instruction see the environment before it.
                let expanded: Vec<_> = pairs
                    .iter()
                    .map(|(key, value)| (self.expand(instruction, key), self.expand(instruction, value)))
                    .collect();
                for ((key, value), (word, _)) in expanded.into_iter().zip(pairs) {
                    self.secret(instruction, &key, word.span);
                    self.state.env.insert_mut(key, value);
                }
            }
            InstructionKind::Label(pairs) => {
                for (key, value) in pairs {
                    self.expand(instruction, key);
                    self.expand(instruction, value);
                }
            }
            InstructionKind::Copy(copy) => {
                self.expand_optional(instruction, [&copy.chown, &copy.chmod]);
                let local = copy.from.is_none();
                self.copied(instruction, &copy.sources, &copy.destination, local);
            }
            InstructionKind::Add(add) => {
                self.expand_optional(instruction, [&add.chown, &add.chmod, &add.checksum]);
                self.copied(instruction, &add.sources, &add.destination, true);
            }
            InstructionKind::Workdir(word) => self.workdir(instruction, word),
            InstructionKind::User(word) | InstructionKind::StopSignal(word) => {
                self.expand(instruction, word);
            }
            InstructionKind::Volume(words) => {
                for word in words {
                    self.expand(instruction, word);
                }
            }
            InstructionKind::Expose(words) => self.expose(instruction, words),
            InstructionKind::Run(run) => self.mounts(instruction, &run.mounts),
            InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => {
                self.once(instruction);
                let name = instruction.kind.name();
                if matches!(command, Command::Shell(_)) && !self.state.has_shell {
                    let message =
                        format!("JSON arguments recommended for {name}, so that signals reach the program");
                    let local = instruction.check.as_ref();
                    let finding =
                        self.findings.report(JSON_ARGS_RECOMMENDED, local, instruction.span, message);
                    help(finding, || {
                        format!("{name} [\"program\", \"argument\"], or say with SHELL that a shell is meant")
                    });
                }
            }
            InstructionKind::Healthcheck(_) => self.once(instruction),
            InstructionKind::Shell(_) => self.state.has_shell = true,
            InstructionKind::OnBuild(_) | InstructionKind::Maintainer(_) => {}
        }
    }

    fn expand(&mut self, instruction: &Instruction, word: &Word) -> String {
        let lookup = |name: &str| self.state.env.get(name).cloned();
        let scope = Scope { lookup: &lookup };
        let expanded = self.findings.afford(|| expand(&word.text, self.escape, &scope));
        let Some(expanded) = expanded else { return String::new() };
        self.undefined(instruction, &expanded, word.span);
        expanded.text
    }

    fn expand_optional<const N: usize>(&mut self, instruction: &Instruction, words: [&Option<Word>; N]) {
        for word in words.into_iter().flatten() {
            self.expand(instruction, word);
        }
    }

    /// A variable with a default is provided for. Where the base image's environment is unknown, only
    /// a name that is nearly a known one is worth a word.
    fn undefined(&mut self, instruction: &Instruction, expanded: &Expanded, span: Span) {
        for name in &expanded.undefined_plain {
            if self.state.declared.contains(name.as_str())
                || matches!(name.as_str(), "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
            {
                continue;
            }
            let known = self.state.env.keys().chain(self.state.declared.iter()).map(String::as_str);
            let near = self.findings.nearest(name, known);
            if near.is_none() && !self.state.env_is_known {
                continue;
            }
            let message = format!("usage of undefined variable `${name}`");
            let finding = self.findings.report(UNDEFINED_VAR, instruction.check.as_ref(), span, message);
            if let Some(near) = near {
                help(finding, || format!("did you mean `${near}`?"));
            }
        }
    }

    fn once(&mut self, instruction: &Instruction) {
        let name = instruction.kind.name();
        if let Some(earlier) = self.state.commands.insert(name, instruction.span) {
            let message = format!("of several {name} instructions in a stage only the last one counts");
            let local = instruction.check.as_ref();
            self.findings.report(MULTIPLE_INSTRUCTIONS_DISALLOWED, local, earlier, message);
        }
    }

    fn secret(&mut self, instruction: &Instruction, name: &str, span: Span) {
        if looks_like_secret(name) {
            let lower = name.to_lowercase();
            let keyword = instruction.kind.name();
            let message =
                format!("{keyword} `{name}` looks like a secret, and stays in the image's metadata");
            let local = instruction.check.as_ref();
            let finding = self.findings.report(SECRETS_USED_IN_ARG_OR_ENV, local, span, message);
            help(finding, || format!("RUN --mount=type=secret,id={lower},env={name}"));
        }
    }

    fn workdir(&mut self, instruction: &Instruction, word: &Word) {
        let path = self.expand(instruction, word);
        if !self.state.workdir_is_set && !path.starts_with('/') {
            let message = format!("relative workdir `{path}` depends on what the base image has set");
            let local = instruction.check.as_ref();
            self.findings.report(WORKDIR_RELATIVE_PATH, local, word.span, message);
        }
        self.state.workdir_is_set = true;
        self.state.workdir = self.state.absolute(&path);
    }

    fn copied(&mut self, instruction: &Instruction, sources: &[CopySource], destination: &Word, local: bool) {
        for source in sources {
            match source {
                CopySource::Path(word) => {
                    let path = self.expand(instruction, word);
                    if local {
                        self.ignored(instruction, &path, word.span);
                    }
                }
                CopySource::Heredoc(index) => {
                    let Some(heredoc) = instruction.heredocs.get(*index).filter(|heredoc| heredoc.expand)
                    else {
                        continue;
                    };
                    let lookup = |name: &str| self.state.env.get(name).cloned();
                    let scope = Scope { lookup: &lookup };
                    let expanded = self.findings.afford(|| expand_heredoc(&heredoc.body(), &scope));
                    if let Some(expanded) = expanded {
                        self.undefined(instruction, &expanded, heredoc.span);
                    }
                }
            }
        }
        let destination = self.expand(instruction, destination);
        let destination = self.state.absolute(&destination);
        self.state.copied_to(destination);
    }

    /// Exceptions make it undecidable whether a directory has something to copy, so that BuildKit
    /// and we ask nothing where there are any.
    fn ignored(&mut self, instruction: &Instruction, source: &str, span: Span) {
        let Some(matcher) = self.context.ignore.filter(|matcher| !matcher.has_exceptions()) else { return };
        if !self.findings.afford_steps(matcher.rules().len() * source.len()) {
            return;
        }
        if source.contains("://") || source.starts_with("git@") || source.starts_with("github.com/") {
            return;
        }
        let path = clean_path(source);
        let path = path.trim_start_matches('/');
        let root = path.is_empty() || path == ".";
        let everything = matcher.rules().iter().find(|rule| matches!(rule.pattern(), "*" | "**" | "**/*"));
        let rule = if root { everything } else { matcher.decide(path).rule };
        if let Some(rule) = rule {
            let verb = if instruction.kind.name() == "ADD" { "add" } else { "copy" };
            let message = format!("attempting to {verb} `{source}`, which .dockerignore excludes");
            let finding = self.findings.report(COPY_IGNORED_FILE, instruction.check.as_ref(), span, message);
            help(finding, || format!("its line {} says `{}`", rule.line, rule.text));
        }
    }

    fn expose(&mut self, instruction: &Instruction, words: &[Word]) {
        for word in words {
            let lookup = |name: &str| self.state.env.get(name).cloned();
            let scope = Scope { lookup: &lookup };
            if !self.findings.afford_steps(word.text.len()) {
                return;
            }
            let ports = expand_words(&word.text, self.escape, &scope).unwrap_or_default();
            for text in ports {
                let Ok(port) = parse_port(&text) else { continue };
                let local = instruction.check.as_ref();
                if port.odd_case {
                    let message = format!("protocol of `{text}` should be lowercase");
                    self.findings.report(EXPOSE_PROTO_CASING, local, word.span, message);
                }
                if port.has_host_part {
                    let message = format!("`{text}` has an address or a host port, which mean nothing here");
                    let finding = self.findings.report(EXPOSE_INVALID_FORMAT, local, word.span, message);
                    help(finding, || "say them when the container is started".to_owned());
                }
            }
        }
    }

    fn mounts(&mut self, instruction: &Instruction, mounts: &[Word]) {
        for word in mounts {
            let mut missing = Vec::new();
            let env = &self.state.env;
            let lookup = |name: &str| env.get(name).cloned();
            let scope = Scope { lookup: &lookup };
            let escape = self.escape;
            let mount = parse_mount_with(&word.text, &mut |value| {
                let expanded = expand(value, escape, &scope)?;
                let text = expanded.text.clone();
                missing.push(expanded);
                Ok(text)
            });
            self.findings.afford_steps(missing.iter().map(|expanded| expanded.cost).sum());
            for expanded in missing {
                self.undefined(instruction, &expanded, word.span);
            }
            let target = match &mount {
                Ok(Mount::Bind(bind)) => &bind.target,
                Ok(Mount::Cache(cache)) => &cache.target,
                Ok(Mount::Tmpfs(tmpfs)) => &tmpfs.target,
                _ => continue,
            };
            let Ok(target) = resolve_target(target, &self.state.workdir) else { continue };
            let hidden = self.state.copied_below(&target).map(str::to_owned);
            if let Some(hidden) = hidden {
                let message = format!("mount on `{target}` hides what was copied to `{hidden}`");
                let local = instruction.check.as_ref();
                let finding = self.findings.report(MOUNT_SHADOWS_FILES, local, word.span, message);
                help(finding, || "mount on a directory below it, or drop the copy".to_owned());
            }
        }
    }
}

/// Whether a variable of that name probably holds a secret: BuildKit's words.
#[must_use]
pub fn looks_like_secret(name: &str) -> bool {
    const DENIED: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const ALLOWED: [&str; 3] = ["public", "file", "version"];
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&DENIED) && !has(&ALLOWED)
}

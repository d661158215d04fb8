//! Rules that need the state of a stage: its variables, its shell, what it starts from.

use std::collections::{BTreeMap, BTreeSet};

use layer_store::Platform;
use registry_client::Reference;

use super::rules::{
    COPY_IGNORED_FILE, EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING, FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    INVALID_BASE_IMAGE_PLATFORM, INVALID_DEFAULT_ARG_IN_FROM, JSON_ARGS_RECOMMENDED, MOUNT_SHADOWS_FILES,
    MULTIPLE_INSTRUCTIONS_DISALLOWED, REDUNDANT_TARGET_PLATFORM, SECRETS_USED_IN_ARG_OR_ENV,
    UNDEFINED_ARG_IN_FROM, UNDEFINED_VAR, UNPINNED_BASE_IMAGE, WORKDIR_RELATIVE_PATH,
};
use super::text::help;
use super::{Dockerfile, Findings, LintContext};
use crate::dockerfile::expand::{Expanded, Scope, expand, expand_heredoc, expand_words};
use crate::dockerfile::mount::{Mount, parse_mount_with, resolve_target};
use crate::dockerfile::port::parse_port;
use crate::dockerfile::suggest::nearest;
use crate::dockerfile::values::clean_path;
use crate::dockerfile::{Command, CopySource, Instruction, InstructionKind, Span, Stage, StageName, Word};

pub(super) fn check(dockerfile: &Dockerfile, context: &LintContext<'_>, findings: &mut Findings<'_>) {
    let escape = dockerfile.directives.escape;
    let globals = Globals::new(dockerfile, context, &context.build_args);
    let defaults = Globals::new(dockerfile, context, &BTreeMap::new());
    let mut states: Vec<State> = Vec::new();
    let bases: Vec<String> = dockerfile
        .stages
        .iter()
        .map(|stage| globals.expand(&stage.image, escape).map(|image| image.text).unwrap_or_default())
        .collect();
    let wanted = wanted_stages(dockerfile, context, &bases);
    for (stage, base) in dockerfile.stages.iter().zip(&bases) {
        let earlier = earlier_stage(&dockerfile.stages[..stage.index], base);
        let from = From { stage, base, earlier: earlier.is_some(), context, escape };
        let facts = from.check(&globals, &defaults, findings);
        let mut state = match earlier {
            Some(index) => State { commands: Commands::default(), ..states[index].clone() },
            None => State::new(facts, base),
        };
        if wanted[stage.index] {
            let mut walk = Walk { state, context, globals: &globals, escape, findings };
            for instruction in &stage.instructions {
                walk.instruction(instruction);
            }
            state = walk.state;
        }
        states.push(state);
    }
}

/// The stage that a FROM means: the last one of the name above it.
fn earlier_stage(above: &[Stage], name: &str) -> Option<usize> {
    let name = StageName::new(name)?;
    above.iter().rposition(|stage| stage.name.as_ref() == Some(&name))
}

/// The target and what it needs; everything without a target, or with one that does not exist.
fn wanted_stages(dockerfile: &Dockerfile, context: &LintContext<'_>, bases: &[String]) -> Vec<bool> {
    let find = |name: &str| match name.parse::<usize>() {
        Ok(index) if index < dockerfile.stages.len() => Some(index),
        _ => dockerfile.stage(name).map(|stage| stage.index),
    };
    let Some(target) = context.target.as_deref().and_then(find) else {
        return vec![true; dockerfile.stages.len()];
    };
    let mut wanted = vec![false; dockerfile.stages.len()];
    let mut queue = vec![target];
    while let Some(index) = queue.pop() {
        if std::mem::replace(&mut wanted[index], true) {
            continue;
        }
        queue.extend(earlier_stage(&dockerfile.stages[..index], &bases[index]));
        for instruction in &dockerfile.stages[index].instructions {
            match &instruction.kind {
                InstructionKind::Copy(copy) => {
                    queue.extend(copy.from.as_ref().and_then(|from| find(&from.text)));
                }
                InstructionKind::Run(run) => {
                    // `from` is never a variable, so the fields can be looked at as they are.
                    let fields = run.mounts.iter().flat_map(|mount| mount.text.split(','));
                    let names = fields.filter_map(|field| field.strip_prefix("from="));
                    queue.extend(names.filter_map(|name| Some(dockerfile.stage(name)?.index)));
                }
                _ => {}
            }
        }
    }
    wanted
}

/// The variables of FROM.
struct Globals {
    values: BTreeMap<String, String>,
    /// Declared, possibly without a value.
    names: BTreeSet<String>,
}

impl Globals {
    fn new(dockerfile: &Dockerfile, context: &LintContext<'_>, given: &BTreeMap<String, String>) -> Self {
        let mut values = BTreeMap::new();
        for (prefix, platform) in [("BUILD", &context.build_platform), ("TARGET", &context.platform)] {
            values.insert(format!("{prefix}PLATFORM"), platform.to_string());
            values.insert(format!("{prefix}OS"), platform.os.clone());
            values.insert(format!("{prefix}OSVERSION"), platform.os_version.clone().unwrap_or_default());
            values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
            values.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
        }
        let target = context.target.clone().unwrap_or_else(|| "default".to_owned());
        values.insert("TARGETSTAGE".to_owned(), target);
        for (name, value) in &mut values {
            if let Some(given) = given.get(name) {
                value.clone_from(given);
            }
        }
        let names = values.keys().cloned().collect();
        let mut globals = Self { values, names };
        for instruction in &dockerfile.meta_args {
            let InstructionKind::Arg(declarations) = &instruction.kind else { continue };
            for declaration in declarations {
                globals.names.insert(declaration.name.clone());
                let value = given.get(&declaration.name).cloned().or_else(|| {
                    let default = declaration.default.as_ref()?;
                    Some(globals.expand(default, dockerfile.directives.escape)?.text)
                });
                if let Some(value) = value {
                    globals.values.insert(declaration.name.clone(), value);
                }
            }
        }
        globals
    }

    fn expand(&self, word: &Word, escape: char) -> Option<Expanded> {
        let lookup = |name: &str| self.values.get(name).cloned();
        expand(&word.text, escape, &Scope { lookup: &lookup }).ok()
    }
}

/// One FROM.
struct From<'a> {
    stage: &'a Stage,
    /// Its image, expanded.
    base: &'a str,
    /// The image is a stage above.
    earlier: bool,
    context: &'a LintContext<'a>,
    escape: char,
}

impl From<'_> {
    /// Checks the line and returns what is known about the base image.
    fn check(
        &self,
        globals: &Globals,
        defaults: &Globals,
        findings: &mut Findings<'_>,
    ) -> Option<super::BaseImage> {
        let Self { stage, base, context, .. } = *self;
        let local = stage.check.as_ref();
        self.undefined(&stage.image, globals, findings);
        let mut platform = context.platform.clone();
        if let Some(word) = &stage.platform {
            self.undefined(word, globals, findings);
            if let Some(expanded) = globals.expand(word, self.escape) {
                self.platform(word, &expanded, globals, findings);
                platform = expanded.text.parse().unwrap_or(platform);
            }
        }
        if self.earlier || base == "scratch" {
            return None;
        }
        if let Some(default) = defaults.expand(&stage.image, self.escape)
            && !(default.used.is_empty() && default.undefined.is_empty())
            && Reference::parse(&default.text).is_err()
        {
            let message = format!(
                "default value for ARG in `{}` results in an empty or invalid image name",
                stage.image
            );
            findings.report(INVALID_DEFAULT_ARG_IN_FROM, local, stage.image.span, message);
        }
        if context.named_contexts.contains(base) {
            return None;
        }
        if let Ok(reference) = Reference::parse(base)
            && reference.digest().is_none()
            && reference.tag().is_none_or(|tag| tag == "latest")
        {
            let message = format!("base image `{base}` is whatever `latest` is on the day of the build");
            help(findings.report(UNPINNED_BASE_IMAGE, local, stage.image.span, message), || {
                "name a version, or a digest".to_owned()
            });
        }
        let facts = context.base.and_then(|lookup| lookup(base, &platform));
        if let Some(actual) = facts.as_ref().and_then(|facts| facts.platform.as_ref())
            && (&actual.os, &actual.architecture) != (&platform.os, &platform.architecture)
        {
            let message = format!("base image `{base}` is for `{actual}`, and `{platform}` is built");
            findings.report(INVALID_BASE_IMAGE_PLATFORM, local, stage.image.span, message);
        }
        facts
    }

    fn undefined(&self, word: &Word, globals: &Globals, findings: &mut Findings<'_>) {
        let Some(expanded) = globals.expand(word, self.escape) else { return };
        for name in expanded.undefined.iter().filter(|name| !globals.names.contains(*name)) {
            let message = format!("FROM argument `{name}` is not declared");
            let finding =
                findings.report(UNDEFINED_ARG_IN_FROM, self.stage.check.as_ref(), word.span, message);
            if let Some(known) = nearest(name, globals.names.iter().map(String::as_str)) {
                help(finding, || format!("did you mean `{known}`?"));
            }
        }
    }

    fn platform(&self, word: &Word, expanded: &Expanded, globals: &Globals, findings: &mut Findings<'_>) {
        let local = self.stage.check.as_ref();
        let target = globals.values.get("TARGETPLATFORM");
        if expanded.undefined.is_empty()
            && expanded.used == ["TARGETPLATFORM"]
            && target == Some(&expanded.text)
        {
            let message =
                format!("setting platform to predefined `{word}` is redundant, as this is the default");
            findings.report(REDUNDANT_TARGET_PLATFORM, local, word.span, message);
        }
        if expanded.used.is_empty()
            && expanded.undefined.is_empty()
            && let Ok(platform) = expanded.text.parse::<Platform>()
        {
            // A stage that has the platform in its name means it.
            let name = self.stage.name.as_ref().map(StageName::as_str).unwrap_or_default();
            if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
                let message = format!("`--platform` should not be the constant `{word}`");
                help(findings.report(FROM_PLATFORM_FLAG_CONST_DISALLOWED, local, word.span, message), || {
                    "use `$BUILDPLATFORM` or an ARG, or put the platform in the stage's name".to_owned()
                });
            }
        }
    }
}

/// What a stage has become so far.
#[derive(Clone)]
struct State {
    env: BTreeMap<String, String>,
    /// Whether `env` is all of it; not so above an image of which nothing is known.
    env_is_known: bool,
    /// Names of ARG, possibly without a value.
    declared: BTreeSet<String>,
    has_shell: bool,
    workdir_is_set: bool,
    workdir: String,
    /// Absolute destinations of COPY and ADD.
    copied: Vec<String>,
    commands: Commands,
}

/// Where instructions stand of which only the last counts.
#[derive(Clone, Default)]
struct Commands {
    seen: BTreeMap<&'static str, Span>,
}

impl State {
    fn new(facts: Option<super::BaseImage>, base: &str) -> Self {
        let known = facts.is_some() || base == "scratch";
        let facts = facts.unwrap_or_default();
        let mut env = facts.env;
        env.entry("PATH".to_owned())
            .or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        Self {
            env,
            env_is_known: known,
            declared: BTreeSet::new(),
            has_shell: facts.has_shell,
            workdir_is_set: false,
            workdir: "/".to_owned(),
            copied: Vec::new(),
            commands: Commands::default(),
        }
    }
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
                        (None, None) => self.globals.values.get(&declaration.name).cloned(),
                    };
                    if let Some(value) = value {
                        self.state.env.insert(declaration.name.clone(), value);
                    }
                    self.state.declared.insert(declaration.name.clone());
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
                    self.state.env.insert(key, value);
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
        let Ok(expanded) = expand(&word.text, self.escape, &Scope { lookup: &lookup }) else {
            return String::new();
        };
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
            if self.state.declared.contains(name)
                || matches!(name.as_str(), "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
            {
                continue;
            }
            let known = self.state.env.keys().chain(&self.state.declared).map(String::as_str);
            let near = nearest(name, known);
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
        if let Some(earlier) = self.state.commands.seen.insert(name, instruction.span) {
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
        self.state.workdir = self.absolute(&path);
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            clean_path(path)
        } else {
            clean_path(&format!("{}/{path}", self.state.workdir))
        }
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
                    if let Ok(expanded) = expand_heredoc(&heredoc.body(), &Scope { lookup: &lookup }) {
                        self.undefined(instruction, &expanded, heredoc.span);
                    }
                }
            }
        }
        let destination = self.expand(instruction, destination);
        let destination = self.absolute(&destination);
        self.state.copied.push(destination);
    }

    /// Exceptions make it undecidable whether a directory has something to copy, so that BuildKit
    /// and we ask nothing where there are any.
    fn ignored(&mut self, instruction: &Instruction, source: &str, span: Span) {
        let Some(matcher) = self.context.ignore.filter(|matcher| !matcher.has_exceptions()) else { return };
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
            let mount = parse_mount_with(&word.text, &mut |value| {
                let expanded = expand(value, self.escape, &scope)?;
                let text = expanded.text.clone();
                missing.push(expanded);
                Ok(text)
            });
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
            let hidden = self.state.copied.iter().find(|path| {
                path.strip_prefix(target.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
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

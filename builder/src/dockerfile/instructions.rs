//! From split instructions to typed ones: arities, flags and the checks that need no variables.

use std::time::Duration;

use super::ast::{
    Add, ArgDecl, Command, Copy, CopySource, Healthcheck, HealthcheckCommand, InstructionKind, OnBuild, Run,
};
use super::expand::{Scope, expand};
use super::flags::{Flags, Table, Takes};
use super::raw::{KEYWORDS, RawInstruction};
use super::suggest::nearest;
use super::values::{Sign, parse_duration};
use super::{Diagnostic, Heredoc, Instruction, Level, Word, directives, heredoc, mount};

/// A typed instruction as far as it could be understood. Its heredocs are the raw one's and one
/// without lines for every source that looks like a marker and has none.
pub(crate) fn typed(raw: &RawInstruction, diagnostics: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let before = diagnostics.len();
    let mut typist = Typist { raw, heredocs: raw.heredocs.clone(), diagnostics };
    let kind = typist.kind();
    let heredocs = typist.heredocs;
    let failed = diagnostics[before..].iter().any(Diagnostic::is_error);
    let kind = kind.filter(|_| !failed)?;
    Some(Instruction {
        span: raw.span,
        line: raw.line,
        keyword: raw.keyword.clone(),
        original: raw.original.trim().to_owned(),
        kind,
        heredocs,
        flags: raw.flags.clone(),
        legacy_pairs: raw.legacy_pairs,
        comments: raw.comments.clone(),
        empty_continuations: raw.empty_continuations.clone(),
        check: directives::check_from_comments(&raw.comments),
    })
}

/// An error about a keyword that does not exist; `follows` when an instruction stands above it.
pub(crate) fn unknown_instruction(keyword: &Word, follows: bool) -> Diagnostic {
    if keyword.text.is_empty() {
        return Diagnostic::error(keyword.span, "unknown instruction: nothing follows the escape character");
    }
    let error = Diagnostic::error(keyword.span, format!("unknown instruction: {}", keyword.text));
    match nearest(&keyword.text, KEYWORDS) {
        Some(known) => error.with_help(format!("did you mean {known}?")),
        None if follows => {
            error.with_help("if it belongs to the line above, that line needs an escape character at its end")
        }
        None => error,
    }
}

/// The description in a comment `# name text` among those above.
pub(crate) fn description(comments: &[Word], name: &str) -> Option<String> {
    let text = |comment: &Word| Some(comment.text.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
    comments.iter().find_map(text).filter(|_| !name.is_empty())
}

/// Whether expansion with nothing set would make another text of it.
fn would_change(text: &str) -> bool {
    let scope = Scope { lookup: &|_| None };
    expand(text, '\\', &scope).map_or(true, |expanded| expanded.text != text)
}

const NO_FLAGS: Table = &[];
const RUN: Table = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];
const COPY: Table = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::Values),
];
const ADD: Table = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("keep-git-dir", Takes::Bool),
    ("checksum", Takes::Value),
    ("unpack", Takes::Bool),
    ("exclude", Takes::Values),
];
const HEALTHCHECK: Table = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

struct Typist<'a> {
    raw: &'a RawInstruction,
    heredocs: Vec<Heredoc>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Typist<'_> {
    fn kind(&mut self) -> Option<InstructionKind> {
        let keyword = self.raw.keyword.text.to_ascii_uppercase();
        Some(match keyword.as_str() {
            "ARG" => self.arg()?,
            "ENV" => InstructionKind::Env(self.pairs("ENV")?),
            "LABEL" => InstructionKind::Label(self.pairs("LABEL")?),
            "RUN" => self.run(),
            "COPY" => self.copy()?,
            "ADD" => self.add()?,
            "WORKDIR" => InstructionKind::Workdir(self.one_argument("WORKDIR")?),
            "USER" => InstructionKind::User(self.one_argument("USER")?),
            "STOPSIGNAL" => {
                self.ignored_flags();
                InstructionKind::StopSignal(self.exactly_one("STOPSIGNAL")?)
            }
            "MAINTAINER" => InstructionKind::Maintainer(self.one_argument("MAINTAINER")?.text),
            "VOLUME" => self.volume()?,
            "EXPOSE" => self.expose()?,
            "CMD" => {
                self.flags(NO_FLAGS);
                InstructionKind::Cmd(self.command(&self.raw.arguments))
            }
            "ENTRYPOINT" => {
                self.flags(NO_FLAGS);
                InstructionKind::Entrypoint(self.command(&self.raw.arguments))
            }
            "HEALTHCHECK" => InstructionKind::Healthcheck(self.healthcheck()?),
            "SHELL" => self.shell()?,
            "ONBUILD" => self.on_build()?,
            _ => {
                self.diagnostics.push(unknown_instruction(&self.raw.keyword, false));
                return None;
            }
        })
    }

    fn error(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.error_at(self.raw.span, message)
    }

    fn error_at(&mut self, span: super::Span, message: impl Into<String>) -> &mut Diagnostic {
        let at = self.diagnostics.len();
        self.diagnostics.push(Diagnostic::error(span, message));
        &mut self.diagnostics[at]
    }

    fn flags(&mut self, table: Table) -> Flags {
        Flags::parse(&self.raw.flags, table, self.diagnostics)
    }

    /// BuildKit never looks at the flags of some instructions; a build must not fail for them.
    fn ignored_flags(&mut self) {
        for flag in &self.raw.flags {
            let message = format!("`{}` has no effect on this instruction", flag.text);
            self.diagnostics.push(Diagnostic::warning("IgnoredFlag", flag.span, message));
        }
    }

    fn at_least_one(&mut self, name: &str) -> Option<()> {
        if self.raw.arguments.is_empty() {
            self.error(format!("{name} requires at least one argument"));
            return None;
        }
        Some(())
    }

    fn exactly_one(&mut self, name: &str) -> Option<Word> {
        match self.raw.arguments.as_slice() {
            [argument] => Some(argument.clone()),
            _ => {
                self.error(format!("{name} requires exactly one argument"));
                None
            }
        }
    }

    fn one_argument(&mut self, name: &str) -> Option<Word> {
        self.flags(NO_FLAGS);
        self.exactly_one(name)
    }

    fn command(&self, arguments: &[Word]) -> Command {
        let texts = arguments.iter().map(|word| word.text.clone());
        if self.raw.json { Command::Exec(texts.collect()) } else { Command::Shell(texts.collect()) }
    }

    fn arg(&mut self) -> Option<InstructionKind> {
        self.ignored_flags();
        self.at_least_one("ARG")?;
        let mut declarations = Vec::new();
        for word in &self.raw.arguments {
            let (name, default) = match word.text.split_once('=') {
                None => (word.text.clone(), None),
                Some(("", _)) => {
                    self.error_at(word.span, "ARG names can not be blank");
                    continue;
                }
                Some((name, default)) => {
                    let exact = word.span.len() == word.text.len();
                    let start = if exact { word.span.start + name.len() + 1 } else { word.span.start };
                    (name.to_owned(), Some(Word::new(default, (start..word.span.end).into())))
                }
            };
            let description = description(&self.raw.comments, &name);
            declarations.push(ArgDecl { name, default, span: word.span, description });
        }
        Some(InstructionKind::Arg(declarations))
    }

    fn pairs(&mut self, name: &str) -> Option<Vec<(Word, Word)>> {
        self.flags(NO_FLAGS);
        self.at_least_one(name)?;
        let mut pairs = Vec::new();
        for pair in self.raw.arguments.chunks_exact(2) {
            if pair[0].text.is_empty() {
                self.error_at(pair[1].span.to(pair[0].span), format!("{name} names can not be blank"));
            }
            pairs.push((pair[0].clone(), pair[1].clone()));
        }
        Some(pairs)
    }

    fn run(&mut self) -> InstructionKind {
        let flags = self.flags(RUN);
        let mounts = flags.values("mount");
        for mount in &mounts {
            if let Err(error) = mount::check_unexpanded(&mount.text) {
                let diagnostic = self.error_at(mount.span, error.message);
                diagnostic.help = error.help;
            }
        }
        let devices = flags.values("device");
        for device in &devices {
            if let Err(error) = mount::parse_device(&device.text) {
                let diagnostic = self.error_at(device.span, error.message);
                diagnostic.help = error.help;
            }
        }
        let network = self.one_of(&flags, "network", &["default", "none", "host"]);
        let security = self.one_of(&flags, "security", &["sandbox", "insecure"]);
        let command = self.command(&self.raw.arguments);
        InstructionKind::Run(Run { mounts, network, security, devices, command })
    }

    fn one_of(&mut self, flags: &Flags, name: &str, values: &[&'static str]) -> Option<String> {
        let value = flags.value(name)?;
        if !values.contains(&value.text.as_str()) {
            let nearest = nearest(&value.text, values.iter().copied());
            let diagnostic = self.error_at(value.span, format!("invalid {name} mode `{}`", value.text));
            diagnostic.help = Some(match nearest {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("it is one of `{}`", values.join("`, `")),
            });
        }
        Some(value.text)
    }

    fn copy(&mut self) -> Option<InstructionKind> {
        let flags = self.flags(COPY);
        let (sources, destination) = self.sources("COPY")?;
        let from = flags.non_empty("from");
        if let Some(from) = &from
            && would_change(&from.text)
        {
            let error = self.error_at(from.span, "variable expansion is not supported for `--from`");
            error.help = Some(
                "start a stage `FROM $IMAGE AS name` with an ARG above the first FROM, and copy from it"
                    .into(),
            );
        }
        Some(InstructionKind::Copy(Copy {
            from,
            chown: flags.non_empty("chown"),
            chmod: flags.non_empty("chmod"),
            link: flags.boolean("link").unwrap_or(false),
            parents: flags.boolean("parents").unwrap_or(false),
            exclude: flags.values("exclude"),
            sources,
            destination,
        }))
    }

    fn add(&mut self) -> Option<InstructionKind> {
        let flags = self.flags(ADD);
        let (sources, destination) = self.sources("ADD")?;
        Some(InstructionKind::Add(Add {
            chown: flags.non_empty("chown"),
            chmod: flags.non_empty("chmod"),
            link: flags.boolean("link").unwrap_or(false),
            keep_git_dir: flags.boolean("keep-git-dir"),
            checksum: flags.non_empty("checksum"),
            unpack: flags.boolean("unpack"),
            exclude: flags.values("exclude"),
            sources,
            destination,
        }))
    }

    fn sources(&mut self, name: &str) -> Option<(Vec<CopySource>, Word)> {
        let Some((destination, sources)) =
            self.raw.arguments.split_last().filter(|(_, rest)| !rest.is_empty())
        else {
            let count = if self.raw.arguments.is_empty() { "none was" } else { "only one was" };
            self.error(format!(
                "{name} requires at least two arguments, but {count} provided; destination could not be determined"
            ));
            return None;
        };
        if heredoc::parse_marker(&destination.text).is_some() {
            self.error_at(destination.span, format!("{name} cannot accept a heredoc as a destination"));
            return None;
        }
        let mut list = Vec::with_capacity(sources.len());
        for source in sources {
            list.push(match heredoc::parse_marker(&source.text) {
                Some(marker) => CopySource::Heredoc(self.heredoc_of(marker, source)),
                None => CopySource::Path(source.clone()),
            });
        }
        Some((list, destination.clone()))
    }

    /// The heredoc that a source names, the last one of the name. One that is written in JSON or on
    /// a line whose quotes do not match has no lines.
    fn heredoc_of(&mut self, marker: heredoc::Marker, source: &Word) -> usize {
        if let Some(index) = self.heredocs.iter().rposition(|heredoc| heredoc.name == marker.name) {
            return index;
        }
        let heredoc::Marker { name, expand, chomp, fd } = marker;
        self.heredocs.push(Heredoc { name, content: String::new(), expand, chomp, fd, span: source.span });
        self.heredocs.len() - 1
    }

    fn volume(&mut self) -> Option<InstructionKind> {
        self.flags(NO_FLAGS);
        self.at_least_one("VOLUME")?;
        let mut volumes = Vec::new();
        for word in &self.raw.arguments {
            let trimmed = word.text.trim();
            if trimmed.is_empty() {
                self.error_at(word.span, "VOLUME specified can not be an empty string");
            }
            volumes.push(Word::new(trimmed, word.span));
        }
        Some(InstructionKind::Volume(volumes))
    }

    fn expose(&mut self) -> Option<InstructionKind> {
        self.flags(NO_FLAGS);
        self.at_least_one("EXPOSE")?;
        let mut ports = self.raw.arguments.clone();
        ports.sort_by(|a, b| a.text.cmp(&b.text));
        Some(InstructionKind::Expose(ports))
    }

    fn healthcheck(&mut self) -> Option<Healthcheck> {
        self.at_least_one("HEALTHCHECK")?;
        let (kind, command) = self.raw.arguments.split_first()?;
        let keyword = kind.text.to_uppercase();
        if keyword == "NONE" {
            self.ignored_flags();
            if !command.is_empty() {
                self.error("HEALTHCHECK NONE takes no arguments");
            }
            return Some(Healthcheck::None);
        }
        let flags = self.flags(HEALTHCHECK);
        if keyword != "CMD" {
            let error = self.error_at(kind.span, format!("unknown type `{}` in HEALTHCHECK", kind.text));
            error.help = Some("try `HEALTHCHECK CMD …` or `HEALTHCHECK NONE`".into());
            return None;
        }
        if command.is_empty() {
            self.error("missing command after HEALTHCHECK CMD");
            return None;
        }
        Some(Healthcheck::Check(HealthcheckCommand {
            interval: self.duration(&flags, "interval"),
            timeout: self.duration(&flags, "timeout"),
            start_period: self.duration(&flags, "start-period"),
            start_interval: self.duration(&flags, "start-interval"),
            retries: self.retries(&flags),
            command: self.command(command),
        }))
    }

    /// Nothing for 0, which means inherited as well.
    fn duration(&mut self, flags: &Flags, name: &str) -> Option<Duration> {
        let word = flags.non_empty(name)?;
        let Some((duration, sign)) = parse_duration(&word.text) else {
            let error = self.error_at(word.span, format!("invalid duration `{}` for `--{name}`", word.text));
            error.help = Some("a duration is a number and a unit, such as `30s`, `1m30s` or `500ms`".into());
            return None;
        };
        if duration.is_zero() {
            return None;
        }
        if sign == Sign::Negative || duration < Duration::from_millis(1) {
            self.error_at(word.span, format!("`--{name}` cannot be less than 1ms"));
            return None;
        }
        Some(duration)
    }

    fn retries(&mut self, flags: &Flags) -> Option<u32> {
        let word = flags.non_empty("retries")?;
        match word.text.parse::<i32>() {
            Ok(0) => None,
            Ok(retries) if retries > 0 => Some(retries.unsigned_abs()),
            Ok(retries) => {
                self.error_at(word.span, format!("`--retries` cannot be negative ({retries})"));
                None
            }
            Err(_) => {
                self.error_at(word.span, format!("`--retries` is no number: `{}`", word.text));
                None
            }
        }
    }

    fn shell(&mut self) -> Option<InstructionKind> {
        self.flags(NO_FLAGS);
        self.at_least_one("SHELL")?;
        if !self.raw.json {
            let error = self.error("SHELL requires the arguments to be in JSON form");
            error.help = Some(r#"for example `SHELL ["/bin/bash", "-c"]`"#.into());
            return None;
        }
        Some(InstructionKind::Shell(self.raw.arguments.iter().map(|word| word.text.clone()).collect()))
    }

    fn on_build(&mut self) -> Option<InstructionKind> {
        let Some(trigger) = &self.raw.trigger else {
            return self.at_least_one("ONBUILD").and(None);
        };
        self.flags(NO_FLAGS);
        match trigger.keyword.text.to_uppercase().as_str() {
            "ONBUILD" => {
                self.error_at(trigger.keyword.span, "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
                return None;
            }
            forbidden @ ("MAINTAINER" | "FROM") => {
                self.error_at(
                    trigger.keyword.span,
                    format!("{forbidden} isn't allowed as an ONBUILD trigger"),
                );
                return None;
            }
            _ => {}
        }
        // What is stored is the text; whether it can be built is the child's concern.
        let mut found = Vec::new();
        let instruction = typed(trigger, &mut found).map(Box::new);
        for diagnostic in &mut found {
            diagnostic.level = Level::Warning;
            diagnostic.code.get_or_insert("InvalidTrigger");
        }
        self.diagnostics.append(&mut found);
        let mut text = self.raw.original.trim_start()[self.raw.keyword.text.len()..].trim_start().to_owned();
        for heredoc in &self.raw.heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        Some(InstructionKind::OnBuild(OnBuild { text, instruction }))
    }
}

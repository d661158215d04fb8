//! From split instructions to typed ones: arities, flags and the checks that need no variables.

use std::collections::HashMap;
use std::time::Duration;

use super::ast::{
    Add, ArgDecl, Command, Copy, CopySource, Healthcheck, HealthcheckCommand, InstructionKind, OnBuild, Run,
};
use super::expand::{Scope, expand};
use super::flags::{Flags, Table, Takes};
use super::raw::{KEYWORDS, RawInstruction};
use super::suggest::nearest;
use super::values::{Sign, parse_duration};
use super::{Diagnostic, Heredoc, Instruction, Level, Span, Word, directives, heredoc, mount};

/// A typed instruction as far as it could be understood. Its heredocs are the raw one's and one
/// without lines for every source that looks like a marker and has none.
pub(crate) fn typed(raw: RawInstruction, diagnostics: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let before = diagnostics.len();
    let mut typist = Typist { raw, diagnostics };
    let kind = typist.kind();
    let raw = typist.raw;
    let failed = diagnostics[before..].iter().any(Diagnostic::is_error);
    let kind = kind.filter(|_| !failed)?;
    Some(Instruction {
        span: raw.span,
        line: raw.line,
        keyword: raw.keyword,
        original: trimmed(raw.original),
        kind,
        heredocs: raw.heredocs,
        flags: raw.flags,
        legacy_pairs: raw.legacy_pairs,
        check: directives::check_from_comments(&raw.comments),
        comments: raw.comments,
        empty_continuations: raw.empty_continuations,
    })
}

/// Without space at both ends; most texts have none and are not copied.
pub(crate) fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    if text.starts_with(char::is_whitespace) { text.trim_start().to_owned() } else { text }
}

/// An error about a keyword that does not exist.
pub(crate) fn unknown_instruction(keyword: &Word) -> Diagnostic {
    if keyword.text.is_empty() {
        return Diagnostic::error(keyword.span, "unknown instruction: nothing follows the escape character");
    }
    Diagnostic::error(keyword.span, format!("unknown instruction: {}", keyword.text))
}

/// What was probably meant by it; `follows` when an instruction stands above it.
pub(crate) fn advise(keyword: &Word, follows: bool, error: &mut Diagnostic) {
    error.help = match nearest(&keyword.text, KEYWORDS) {
        Some(known) => Some(format!("did you mean {known}?")),
        None if follows && !keyword.text.is_empty() => {
            Some("if it belongs to the line above, that line needs an escape character at its end".to_owned())
        }
        None => None,
    };
}

/// The comments `# name text` above a definition, by name; the first one of a name counts.
pub(crate) struct Descriptions<'a>(HashMap<&'a str, &'a str>);

impl<'a> Descriptions<'a> {
    pub(crate) fn of(comments: &'a [Word]) -> Self {
        let pairs = comments.iter().rev().filter_map(|comment| comment.text.split_once(' '));
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }
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
    raw: RawInstruction,
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
                InstructionKind::Cmd(self.whole_command())
            }
            "ENTRYPOINT" => {
                self.flags(NO_FLAGS);
                InstructionKind::Entrypoint(self.whole_command())
            }
            "HEALTHCHECK" => InstructionKind::Healthcheck(self.healthcheck()?),
            "SHELL" => self.shell()?,
            "ONBUILD" => self.on_build()?,
            _ => {
                let mut error = unknown_instruction(&self.raw.keyword);
                advise(&self.raw.keyword, false, &mut error);
                self.diagnostics.push(error);
                return None;
            }
        })
    }

    fn error(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.error_at(self.raw.span, message)
    }

    fn error_at(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
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
        if let Ok([argument]) = <[Word; 1]>::try_from(self.arguments()) {
            return Some(argument);
        }
        self.error(format!("{name} requires exactly one argument"));
        None
    }

    fn one_argument(&mut self, name: &str) -> Option<Word> {
        self.flags(NO_FLAGS);
        self.exactly_one(name)
    }

    fn arguments(&mut self) -> Vec<Word> {
        std::mem::take(&mut self.raw.arguments)
    }

    fn whole_command(&mut self) -> Command {
        let arguments = self.arguments();
        self.command(arguments)
    }

    /// In shell form the arguments are one text at most, for which nothing was split.
    fn command(&self, arguments: Vec<Word>) -> Command {
        let mut texts = arguments.into_iter().map(|word| word.text);
        if self.raw.json {
            Command::Exec(texts.collect())
        } else {
            Command::Shell(texts.next().unwrap_or_default())
        }
    }

    fn arg(&mut self) -> Option<InstructionKind> {
        self.ignored_flags();
        self.at_least_one("ARG")?;
        let mut declarations = Vec::new();
        let arguments = self.arguments();
        let comments = std::mem::take(&mut self.raw.comments);
        let descriptions = Descriptions::of(&comments);
        for word in arguments {
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
            let description = descriptions.get(&name);
            declarations.push(ArgDecl { name, default, span: word.span, description });
        }
        self.raw.comments = comments;
        Some(InstructionKind::Arg(declarations))
    }

    fn pairs(&mut self, name: &str) -> Option<Vec<(Word, Word)>> {
        self.flags(NO_FLAGS);
        self.at_least_one(name)?;
        let mut words = self.arguments().into_iter();
        let mut pairs = Vec::with_capacity(words.len() / 2);
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            if key.text.is_empty() {
                self.error_at(key.span.to(value.span), format!("{name} names can not be blank"));
            }
            pairs.push((key, value));
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
        let command = self.whole_command();
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
        let mut sources = self.arguments();
        let count = if sources.is_empty() { "none was" } else { "only one was" };
        let destination = sources.pop().filter(|_| !sources.is_empty());
        let Some(destination) = destination else {
            self.error(format!(
                "{name} requires at least two arguments, but {count} provided; destination could not be determined"
            ));
            return None;
        };
        if heredoc::parse_marker(&destination.text).is_some() {
            self.error_at(destination.span, format!("{name} cannot accept a heredoc as a destination"));
            return None;
        }
        let names = self.raw.heredocs.iter().enumerate();
        let mut heredocs: HashMap<String, usize> = names.map(|(at, one)| (one.name.clone(), at)).collect();
        let mut list = Vec::with_capacity(sources.len());
        for source in sources {
            list.push(match heredoc::parse_marker(&source.text) {
                Some(marker) => CopySource::Heredoc(self.heredoc_of(marker, source.span, &mut heredocs)),
                None => CopySource::Path(source),
            });
        }
        Some((list, destination))
    }

    /// The heredoc that a source names, the last one of the name. One that is written in JSON or on
    /// a line whose quotes do not match has no lines.
    fn heredoc_of(
        &mut self,
        marker: heredoc::Marker,
        span: Span,
        known: &mut HashMap<String, usize>,
    ) -> usize {
        let heredoc::Marker { name, expand, chomp, fd } = marker;
        *known.entry(name).or_insert_with_key(|name| {
            let (name, content) = (name.clone(), String::new());
            self.raw.heredocs.push(Heredoc { name, content, expand, chomp, fd, span });
            self.raw.heredocs.len() - 1
        })
    }

    fn volume(&mut self) -> Option<InstructionKind> {
        self.flags(NO_FLAGS);
        self.at_least_one("VOLUME")?;
        let mut volumes = Vec::new();
        for word in self.arguments() {
            let text = trimmed(word.text);
            if text.is_empty() {
                self.error_at(word.span, "VOLUME specified can not be an empty string");
            }
            volumes.push(Word::new(text, word.span));
        }
        Some(InstructionKind::Volume(volumes))
    }

    fn expose(&mut self) -> Option<InstructionKind> {
        self.flags(NO_FLAGS);
        self.at_least_one("EXPOSE")?;
        let mut ports = self.arguments();
        ports.sort_by(|a, b| a.text.cmp(&b.text));
        Some(InstructionKind::Expose(ports))
    }

    fn healthcheck(&mut self) -> Option<Healthcheck> {
        self.at_least_one("HEALTHCHECK")?;
        let mut command = self.arguments();
        let kind = command.remove(0);
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
        Some(InstructionKind::Shell(self.arguments().into_iter().map(|word| word.text).collect()))
    }

    fn on_build(&mut self) -> Option<InstructionKind> {
        let Some(trigger) = self.raw.trigger.take() else {
            self.error("ONBUILD requires at least one argument");
            return None;
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
        let instruction = typed(*trigger, &mut found).map(Box::new);
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

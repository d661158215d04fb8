//! What a Dockerfile says, typed, before any variable is expanded.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use super::Span;

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dockerfile {
    /// The parser directives of its first lines.
    pub directives: Directives,
    /// The `ARG` instructions before the first `FROM`.
    pub meta_args: Vec<Instruction>,
    /// In order of appearance. A name may occur twice; the last one wins.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// The names that every `ARG` declares, those of triggers too.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        let stages = self.stages.iter().flat_map(|stage| &stage.instructions);
        self.meta_args
            .iter()
            .chain(stages)
            .flat_map(|instruction| {
                let kind = match &instruction.kind {
                    InstructionKind::OnBuild(OnBuild { instruction: Some(trigger), .. }) => &trigger.kind,
                    kind => kind,
                };
                let InstructionKind::Arg(declarations) = kind else { return &[][..] };
                declarations.as_slice()
            })
            .map(|declaration| declaration.name.as_str())
    }

    /// The stage that a `FROM`, `--from` or `--target` of that name means (any case), the last one
    /// if several share it. Cost: linear; [`StageGraph`](super::stages::StageGraph) is for many names.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let name = name.to_lowercase();
        self.stages.iter().rev().find(|stage| stage.name.as_ref().is_some_and(|own| own.as_str() == name))
    }
}

/// `# syntax=`, `# escape=` and `# check=`.
#[derive(Debug, Clone, PartialEq)]
pub struct Directives {
    /// The frontend that the file asks for. rbuild has its language built in and ignores it.
    pub syntax: Option<Word>,
    /// `\` or a backquote.
    pub escape: char,
    /// Controls of the lint rules for the whole file.
    pub check: Option<CheckControls>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None }
    }
}

/// `skip=A,B|all;error=true;experimental=A|all` of a `# check=` line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckControls {
    /// Rules that keep silent.
    pub skip: RuleSet,
    /// Experimental rules that speak.
    pub experimental: RuleSet,
    /// Whether a finding fails the build, if the line says so.
    pub error: Option<bool>,
    /// Where the line is.
    pub span: Span,
}

/// A selection of lint rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleSet {
    /// Every rule.
    All,
    /// Those of these ids, in small letters.
    Named(BTreeSet<String>),
}

impl RuleSet {
    /// Whether a rule is in it.
    pub fn contains(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(&rule.to_ascii_lowercase()),
        }
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

/// A stage's name: lower-case, starting with a letter, of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageName(String);

impl StageName {
    /// Lower-cases and checks a name.
    pub fn new(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
        });
        (first && rest).then_some(Self(name))
    }

    /// The lower-case text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for StageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A `FROM` and what follows up to the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The name after `AS`, lower-cased.
    pub name: Option<StageName>,
    /// The name after `AS` as written.
    pub name_word: Option<Word>,
    /// The word `AS` as written.
    pub as_word: Option<Word>,
    /// Position among the file's stages, from 0.
    pub index: usize,
    /// The image or earlier stage it starts from, unexpanded.
    pub image: Word,
    /// The value of `--platform`, unexpanded.
    pub platform: Option<Word>,
    /// The whole `FROM` instruction.
    pub from_span: Span,
    /// The 1-based line of the `FROM`.
    pub line: usize,
    /// The word `FROM` as written.
    pub keyword: Word,
    /// The logical line as progress shows it.
    pub original: String,
    /// The instructions below the `FROM`.
    pub instructions: Vec<Instruction>,
    /// The text of a comment `# name text` directly above.
    pub description: Option<String>,
    /// The comment lines directly above, without `#`.
    pub comments: Vec<Word>,
    /// Blank lines within the `FROM`.
    pub empty_continuations: Vec<Span>,
    /// `# check=` comments directly above.
    pub check: Option<CheckControls>,
}

/// One instruction of a stage, or an `ARG` above the first `FROM`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// From the keyword to the end of its last line, heredocs included.
    pub span: Span,
    /// The 1-based line of the keyword.
    pub line: usize,
    /// As written.
    pub keyword: Word,
    /// The logical line: continuations joined without the escape and the line end, comments inside
    /// dropped, surrounding space trimmed. Shown in progress and history.
    pub original: String,
    /// What it is.
    pub kind: InstructionKind,
    /// The heredocs of `RUN`, `COPY`, `ADD` (or of the trigger of an `ONBUILD`), in order.
    pub heredocs: Vec<Heredoc>,
    /// The flags, quotes and escapes removed, each with its dashes.
    pub flags: Vec<Word>,
    /// `ENV` or `LABEL` in the old `key value` form.
    pub legacy_pairs: bool,
    /// The comment lines directly above, without `#`.
    pub comments: Vec<Word>,
    /// Blank lines within.
    pub empty_continuations: Vec<Span>,
    /// `# check=` comments directly above: controls for this instruction only.
    pub check: Option<CheckControls>,
}

/// The instructions with what each takes. All words are unexpanded.
#[derive(Debug, Clone, PartialEq)]
pub enum InstructionKind {
    /// `ARG name[=default] …`
    Arg(Vec<ArgDecl>),
    /// `ENV key=value …`
    Env(Vec<(Word, Word)>),
    /// `LABEL key=value …`
    Label(Vec<(Word, Word)>),
    /// `RUN`
    Run(Run),
    /// `COPY`
    Copy(Copy),
    /// `ADD`
    Add(Add),
    /// `WORKDIR path`
    Workdir(Word),
    /// `USER user[:group]`
    User(Word),
    /// `VOLUME path …`
    Volume(Vec<Word>),
    /// `EXPOSE port …`, sorted by their text as BuildKit does before it expands them.
    Expose(Vec<Word>),
    /// `STOPSIGNAL signal`
    StopSignal(Word),
    /// `CMD`; an empty `CMD` is an empty shell form.
    Cmd(Command),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `SHELL ["…"]`, never empty.
    Shell(Vec<String>),
    /// `ONBUILD trigger`
    OnBuild(OnBuild),
    /// `MAINTAINER text`
    Maintainer(String),
}

impl InstructionKind {
    /// The keyword in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Arg(_) => "ARG",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Run(_) => "RUN",
            Self::Copy(_) => "COPY",
            Self::Add(_) => "ADD",
            Self::Workdir(_) => "WORKDIR",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Expose(_) => "EXPOSE",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Shell(_) => "SHELL",
            Self::OnBuild(_) => "ONBUILD",
            Self::Maintainer(_) => "MAINTAINER",
        }
    }
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgDecl {
    /// The name; never expanded.
    pub name: String,
    /// What follows `=`, possibly empty; `None` without `=`.
    pub default: Option<Word>,
    /// The whole `name=default`.
    pub span: Span,
    /// The text of a comment `# name text` directly above.
    pub description: Option<String>,
}

/// `RUN [--mount=…] [--network=…] [--security=…] [--device=…] command`
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The values of `--mount`, CSV, to be expanded and then given to [`parse_mount`](super::mount::parse_mount).
    pub mounts: Vec<Word>,
    /// `default`, `none` or `host`.
    pub network: Option<String>,
    /// `sandbox` or `insecure`.
    pub security: Option<String>,
    /// The values of `--device`.
    pub devices: Vec<Word>,
    /// What to run. With heredocs see [`Run::script`].
    pub command: Command,
}

/// What a `RUN` in shell form gives to the shell or to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script<'a> {
    /// This text goes to `SHELL`.
    Shell(Cow<'a, str>),
    /// This file, mode 0755, is mounted read-only as `/dev/pipes/<name>` and that path goes to `SHELL`.
    File {
        /// The heredoc's delimiter.
        name: &'a str,
        /// The content, starting with `#!`.
        content: Cow<'a, str>,
    },
    /// These arguments are executed as they are.
    Exec(&'a [String]),
}

impl Run {
    /// The names after `from=` of its mounts: stages, contexts and images. They are never variables, so that the
    /// fields can be looked at as they are.
    pub fn mount_origins(&self) -> impl Iterator<Item = &str> {
        let fields = self.mounts.iter().flat_map(|mount| mount.text.split(','));
        fields.filter_map(|field| field.strip_prefix("from="))
    }

    /// The command with its heredocs (the instruction's) put back: a lone heredoc is the script
    /// itself, or a file when it starts with `#!`; anything else is re-assembled for the shell.
    pub fn script<'a>(&'a self, heredocs: &'a [Heredoc]) -> Script<'a> {
        let text = match &self.command {
            Command::Exec(arguments) => return Script::Exec(arguments),
            Command::Shell(text) => text,
        };
        match heredocs {
            [] => Script::Shell(Cow::Borrowed(text)),
            [first, ..] if super::heredoc::is_lone_marker(text) => {
                if first.content.starts_with("#!") {
                    Script::File { name: &first.name, content: first.body() }
                } else {
                    Script::Shell(first.body())
                }
            }
            _ => {
                let mut full = text.clone();
                for heredoc in heredocs {
                    full.push('\n');
                    full.push_str(&heredoc.content);
                    full.push_str(&heredoc.name);
                }
                Script::Shell(Cow::Owned(full))
            }
        }
    }
}

/// `COPY [flags] source … destination`
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// The value of `--from`; never expanded. A number, a stage, a named context or an image.
    pub from: Option<Word>,
    /// The value of `--chown`.
    pub chown: Option<Word>,
    /// The value of `--chmod`: octal, or symbolic.
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// The values of `--exclude`; never expanded.
    pub exclude: Vec<Word>,
    /// At least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
}

/// One source of a `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq)]
pub enum CopySource {
    /// A path or pattern; for `ADD` also a URL or git reference.
    Path(Word),
    /// The heredoc of that index in the instruction's heredocs.
    Heredoc(usize),
}

/// `ADD [flags] source … destination`
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// The value of `--chown`.
    pub chown: Option<Word>,
    /// The value of `--chmod`: octal, or symbolic.
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--keep-git-dir`, if given.
    pub keep_git_dir: Option<bool>,
    /// The value of `--checksum`.
    pub checksum: Option<Word>,
    /// `--unpack`, if given.
    pub unpack: Option<bool>,
    /// The values of `--exclude`; never expanded.
    pub exclude: Vec<Word>,
    /// At least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Text for `SHELL`.
    Shell(String),
    /// A JSON array of strings: the arguments themselves.
    Exec(Vec<String>),
}

/// `HEALTHCHECK`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: no check, not even the base image's.
    None,
    /// `HEALTHCHECK [flags] CMD …`
    Check(HealthcheckCommand),
}

/// A health check; what is `None` is inherited from the base image or the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckCommand {
    /// Time between two checks, at least 1 ms.
    pub interval: Option<Duration>,
    /// Time after which a check has failed, at least 1 ms.
    pub timeout: Option<Duration>,
    /// Time in which failures do not count, at least 1 ms.
    pub start_period: Option<Duration>,
    /// Time between two checks within the start period, at least 1 ms.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
    /// What to run.
    pub command: Command,
}

/// `ONBUILD`
#[derive(Debug, Clone, PartialEq)]
pub struct OnBuild {
    /// The trigger as it is stored in the image's config, heredocs appended.
    pub text: String,
    /// The trigger parsed; `None` when it has errors, which only matter to the child's build and
    /// were reported as warnings.
    pub instruction: Option<Box<Instruction>>,
}

/// A word of the source, unexpanded: quotes, escapes and variables are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// The text, continuations joined.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Word {
    /// A word at a place.
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Self { text: text.into(), span }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A heredoc: `[fd]<<[-]name` and the lines up to `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes; also the file's name.
    pub name: String,
    /// The lines, each with its newline, tabs kept. See [`Heredoc::body`].
    pub content: String,
    /// Whether variables in it are expanded by `COPY` and `ADD`: no part of the delimiter was quoted.
    pub expand: bool,
    /// `<<-`: leading tabs of every line are stripped.
    pub chomp: bool,
    /// The number before `<<`, 0 without one.
    pub fd: u32,
    /// The lines' place, without the delimiter's line.
    pub span: Span,
}

impl Heredoc {
    /// The content as it is used: leading tabs stripped from every line for `<<-`.
    pub fn body(&self) -> Cow<'_, str> {
        if !self.chomp {
            return Cow::Borrowed(&self.content);
        }
        Cow::Owned(self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect())
    }
}

//! `SOURCE_DATE_EPOCH` that names where the time comes from, as BuildKit reads it: `context`, a named context, or a stage
//! that does nothing but add one repository. A repository gives the time of its commit; a directory gives none.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{LowerOptions, NamedContext, args, at};
use crate::context::authorization::Authorization;
use crate::context::git::GitSource;
use crate::dockerfile::ast::{Add, CopySource as Written, Dockerfile, Instruction, InstructionKind, Stage};
use crate::dockerfile::expand::{Scope, expand};
use crate::dockerfile::globals::Globals;
use crate::dockerfile::{Span, Word};
use crate::error::Result;
use crate::secret::Secrets;

pub(super) const NAME: &str = "SOURCE_DATE_EPOCH";

/// What the argument means once its source has been asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Epoch {
    /// It is not given, or as a number, which needs no asking.
    #[default]
    AsGiven,
    /// Its source has this time, in seconds.
    At(i64),
    /// It is empty, or its source has no time: as if nobody had given it.
    Nothing,
}

impl Epoch {
    /// The time that a source gave.
    pub(super) const fn time(self) -> Option<i64> {
        match self {
            Self::At(time) => Some(time),
            Self::AsGiven | Self::Nothing => None,
        }
    }

    /// Puts the time in place of the name of its source.
    pub(super) fn settle(self, globals: &mut Globals) {
        match self {
            Self::AsGiven => {}
            Self::At(time) => globals.replace(NAME, time.to_string()),
            Self::Nothing => globals.forget(NAME),
        }
    }
}

/// The options with the time in place of the name of a source, and what the argument means. Options that name none stay as
/// they are, and nobody is asked.
pub(super) async fn resolved<'o>(
    dockerfile: &Dockerfile,
    options: &'o LowerOptions,
    secrets: &Secrets,
) -> Result<(Cow<'o, LowerOptions>, Epoch)> {
    let unchanged = (Cow::Borrowed(options), Epoch::AsGiven);
    let Some(platform) = options.platforms.first() else { return Ok(unchanged) };
    let is_declared = |instruction: &Instruction| match &instruction.kind {
        InstructionKind::Arg(declarations) => declarations.iter().any(|declared| declared.name == NAME),
        _ => false,
    };
    if !options.build_args.contains_key(NAME) && !dockerfile.meta_args.iter().any(is_declared) {
        return Ok(unchanged);
    }
    let globals = args::globals(dockerfile, options, platform, None)?;
    let value = options.build_args.get(NAME).map(String::as_str).or_else(|| globals.value(NAME));
    let Some(name) = value.filter(|text| text.parse::<i64>().is_err()) else {
        return Ok(unchanged);
    };
    let git = if name.is_empty() { None } else { source(dockerfile, options, &globals, name)? };
    let epoch = match git {
        Some(git) => {
            let authorization = Authorization::of(&git.remote, secrets)?;
            let commit = git.commit(authorization.as_ref()).await?;
            Epoch::At(git.commit_time(&commit, authorization.as_ref()).await?)
        }
        None => Epoch::Nothing,
    };
    let mut options = options.clone();
    if options.build_args.remove(NAME).is_some() {
        options.build_args.extend(epoch.time().map(|time| (NAME.to_owned(), time.to_string())));
    }
    Ok((Cow::Owned(options), epoch))
}

/// The repository that a name means; `None` for a source without a time.
fn source(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    globals: &Globals,
    name: &str,
) -> Result<Option<GitSource>> {
    let context = if name == "context" { "" } else { &name.to_lowercase() };
    match options.contexts.get(context) {
        Some(NamedContext::Git(git)) => return Ok(Some(git.clone())),
        Some(_) => return Ok(None),
        None if context.is_empty() => return Ok(None),
        None => {}
    }
    let named =
        |stage: &&Stage| stage.name_word.as_ref().is_some_and(|word| word.text.eq_ignore_ascii_case(name));
    match dockerfile.stages.iter().find(named) {
        Some(stage) => of_stage(stage, globals, dockerfile.directives.escape).map(Some),
        None => {
            let declared =
                globals.declaration(NAME).and_then(|declared| declared.declaration.default.as_ref());
            let span = declared.map(|default| default.span).unwrap_or_default();
            Err(at(
                span,
                format!("invalid {NAME}: `{name}` is no number of seconds, no context and no stage"),
            ))
        }
    }
}

/// The repository of a stage that adds one and does nothing else.
fn of_stage(stage: &Stage, globals: &Globals, escape: char) -> Result<GitSource> {
    let wrong = |span: Span, reason: &str| {
        at(
            span,
            format!(
                "a stage that {NAME} names consists of `FROM scratch` and one ADD of a repository: {reason}"
            ),
        )
    };
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    let text = |word: &Word, values: &BTreeMap<&str, String>| {
        let lookup =
            |name: &str| values.get(name).cloned().or_else(|| globals.value(name).map(str::to_owned));
        let expanded = expand(&word.text, escape, &Scope { lookup: &lookup });
        expanded
            .map(|word| word.text)
            .map_err(|error| at(word.span, format!("cannot expand `{word}`: {error}")))
    };
    if text(&stage.image, &values)? != "scratch" {
        return Err(wrong(stage.from_span, "it begins with an image"));
    }
    let mut found = None;
    for instruction in &stage.instructions {
        match &instruction.kind {
            InstructionKind::Arg(declarations) => {
                for declaration in declarations {
                    let given = globals.value(&declaration.name).map(str::to_owned);
                    let default = || declaration.default.as_ref().map(|word| text(word, &values)).transpose();
                    if let Some(value) = given.map_or_else(default, |given| Ok(Some(given)))? {
                        values.insert(&declaration.name, value);
                    }
                }
            }
            InstructionKind::Add(add) if found.is_none() => {
                let [Written::Path(address)] = add.sources.as_slice() else {
                    return Err(wrong(instruction.span, "it adds several sources"));
                };
                let git = GitSource::parse(&text(address, &values)?)
                    .ok_or_else(|| wrong(address.span, "what it adds is no git repository"))?;
                found = Some(with_flags(git.map_err(|error| at(address.span, error.to_string()))?, add));
            }
            InstructionKind::Add(_) => return Err(wrong(instruction.span, "it has a second ADD")),
            other => return Err(wrong(instruction.span, &format!("it has a {}", other.name()))),
        }
    }
    found.ok_or_else(|| wrong(stage.from_span, "it adds nothing"))
}

fn with_flags(mut git: GitSource, add: &Add) -> GitSource {
    git.checksum = add.checksum.as_ref().map(|word| word.text.clone()).or(git.checksum);
    git
}

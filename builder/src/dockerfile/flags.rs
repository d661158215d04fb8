//! `--flag=value` words against an instruction's table.

use std::collections::BTreeSet;

use super::suggest::nearest;
use super::{Diagnostic, Span, Word};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true`, or `=false`.
    Bool,
    /// One value, once.
    Value,
    /// One value, any number of times.
    Values,
}

pub(crate) type Table = &'static [(&'static str, Takes)];

/// The flags of one instruction by name.
pub(crate) struct Flags {
    found: Vec<(&'static str, Word)>,
}

impl Flags {
    /// Checks flags against a table; what is wrong is reported and left out.
    pub(crate) fn parse(words: &[Word], table: Table, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut found: Vec<(&'static str, Word)> = Vec::new();
        let mut given = BTreeSet::new();
        for word in words {
            match parse_one(word, table, &given) {
                Ok(flag) => {
                    given.insert(flag.0);
                    found.push(flag);
                }
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
        Self { found }
    }

    pub(crate) fn value(&self, name: &str) -> Option<Word> {
        self.values(name).pop()
    }

    /// A value that was given and is not empty, as most flags take the empty value for none.
    pub(crate) fn non_empty(&self, name: &str) -> Option<Word> {
        self.value(name).filter(|word| !word.text.is_empty())
    }

    pub(crate) fn values(&self, name: &str) -> Vec<Word> {
        self.found.iter().filter(|(own, _)| *own == name).map(|(_, word)| word.clone()).collect()
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name).map(|word| word.text != "false")
    }
}

fn parse_one(
    word: &Word,
    table: Table,
    given: &BTreeSet<&'static str>,
) -> Result<(&'static str, Word), Diagnostic> {
    let error = |message: String| Diagnostic::error(word.span, message);
    let (flag, value) =
        word.text.split_once('=').map_or((word.text.as_str(), None), |(flag, value)| (flag, Some(value)));
    let name = flag.strip_prefix("--").unwrap_or(flag);
    let Some((name, takes)) = table.iter().find(|(known, _)| *known == name) else {
        let unknown = error(format!("unknown flag: `{flag}`"));
        return Err(match nearest(name, table.iter().map(|(known, _)| *known)) {
            Some(known) => unknown.with_help(format!("did you mean `--{known}`?")),
            None if table.is_empty() => unknown.with_help("this instruction takes no flags"),
            None => unknown.with_help(format!("it takes {}", list(table))),
        });
    };
    if *takes != Takes::Values && given.contains(name) {
        return Err(error(format!("duplicate flag specified: `{flag}`")));
    }
    // The value's own place, unless quotes or a continuation moved it.
    let exact = word.span.len() == word.text.len();
    let span = if exact && value.is_some() {
        Span::new(word.span.start + flag.len() + 1, word.span.end)
    } else {
        word.span
    };
    let missing = || error(format!("missing a value on flag: `{flag}`"));
    let value = match (takes, value) {
        (Takes::Bool, None) => "true".to_owned(),
        (Takes::Bool, Some("")) => return Err(missing()),
        (Takes::Bool, Some(value)) => match value.to_lowercase().as_str() {
            known @ ("true" | "false") => known.to_owned(),
            _ => return Err(error(format!("expecting boolean value for flag `{flag}`, not: `{value}`"))),
        },
        (_, None) => return Err(missing()),
        (_, Some(value)) => value.to_owned(),
    };
    Ok((name, Word::new(value, span)))
}

fn list(table: Table) -> String {
    let names: Vec<_> = table.iter().map(|(name, _)| format!("`--{name}`")).collect();
    names.join(", ")
}

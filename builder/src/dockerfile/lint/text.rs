//! Rules that need nothing but the text.

use std::collections::BTreeSet;

use super::rules::{
    CONSISTENT_INSTRUCTION_CASING, DUPLICATE_STAGE_NAME, FROM_AS_CASING, INVALID_DEFINITION_DESCRIPTION,
    LEGACY_KEY_VALUE_FORMAT, MAINTAINER_DEPRECATED, NO_EMPTY_CONTINUATION, RESERVED_STAGE_NAME,
    STAGE_NAME_CASING,
};
use super::{CheckControls, Diagnostic, Dockerfile, Findings};
use crate::dockerfile::{Instruction, InstructionKind, Stage, Word};

pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    casing(dockerfile, findings);
    names(dockerfile, findings);
    for instruction in &dockerfile.meta_args {
        check_instruction(instruction, findings);
    }
    for stage in &dockerfile.stages {
        check_from(stage, findings);
        for instruction in &stage.instructions {
            check_instruction(instruction, findings);
        }
    }
}

fn check_from(stage: &Stage, findings: &mut Findings<'_>) {
    let local = stage.check.as_ref();
    for span in &stage.empty_continuations {
        findings.report(NO_EMPTY_CONTINUATION, local, *span, "empty continuation line".into());
    }
    if let Some(name) = &stage.name_word
        && name.text != name.text.to_lowercase()
    {
        let message = format!("stage name `{}` should be lowercase", name.text);
        help(findings.report(STAGE_NAME_CASING, local, name.span, message), || name.text.to_lowercase());
    }
    if let Some(word) = &stage.as_word {
        let from = &stage.keyword.text;
        let expected = match case_of(from) {
            Some(Case::Lower) => word.text.to_lowercase(),
            Some(Case::Upper) => word.text.to_uppercase(),
            None => word.text.clone(),
        };
        if word.text != expected {
            let message = format!("the case of `{}` and `{from}` do not match", word.text);
            help(findings.report(FROM_AS_CASING, local, word.span, message), || expected);
        }
    }
    if let Some(name) = &stage.name {
        description("FROM", &stage.keyword, &[name.as_str()], &stage.comments, local, findings);
    }
}

fn check_instruction(instruction: &Instruction, findings: &mut Findings<'_>) {
    let local = instruction.check.as_ref();
    for span in &instruction.empty_continuations {
        findings.report(NO_EMPTY_CONTINUATION, local, *span, "empty continuation line".into());
    }
    match &instruction.kind {
        InstructionKind::Maintainer(author) => {
            let message = "MAINTAINER is deprecated in favor of a label".into();
            help(findings.report(MAINTAINER_DEPRECATED, local, instruction.span, message), || {
                format!("LABEL org.opencontainers.image.authors={author:?}")
            });
        }
        InstructionKind::Env(_) | InstructionKind::Label(_) if instruction.legacy_pairs => {
            let name = instruction.kind.name();
            let message = format!("`{name} key=value` should be used instead of legacy `{name} key value`");
            findings.report(LEGACY_KEY_VALUE_FORMAT, local, instruction.span, message);
        }
        InstructionKind::Arg(declarations) => {
            let names: Vec<_> = declarations.iter().map(|declaration| declaration.name.as_str()).collect();
            description("ARG", &instruction.keyword, &names, &instruction.comments, local, findings);
        }
        _ => {}
    }
}

/// The comment next to a definition describes it, or is apart from it.
fn description(
    instruction: &str,
    keyword: &Word,
    names: &[&str],
    comments: &[Word],
    local: Option<&CheckControls>,
    findings: &mut Findings<'_>,
) {
    let (Some(comment), Some(first)) = (comments.last(), names.first()) else { return };
    let word = comment.text.split(' ').next().unwrap_or_default();
    if names.contains(&word) || (local.is_some() && comment.text.contains("check")) {
        return;
    }
    let name = if names.len() > 1 { "<arg_key>" } else { first };
    let message = format!("comment for {instruction} should follow the format `# {name} <description>`");
    help(findings.report(INVALID_DEFINITION_DESCRIPTION, local, keyword.span, message), || {
        "if it is no description, put an empty comment line below it".to_owned()
    });
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Case {
    Lower,
    Upper,
}

/// The case of a word that has one throughout.
fn case_of(word: &str) -> Option<Case> {
    if word == word.to_lowercase() {
        Some(Case::Lower)
    } else if word == word.to_uppercase() {
        Some(Case::Upper)
    } else {
        None
    }
}

/// Every keyword in the case that most have; capitals when there are as many of both.
fn casing(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    let keywords: Vec<(&Word, Option<&CheckControls>)> = dockerfile
        .stages
        .iter()
        .flat_map(|stage| {
            let own = (&stage.keyword, stage.check.as_ref());
            let rest = stage.instructions.iter().map(|line| (&line.keyword, line.check.as_ref()));
            std::iter::once(own).chain(rest)
        })
        .collect();
    let count = |case| keywords.iter().filter(|(word, _)| case_of(&word.text) == Some(case)).count();
    let majority = if count(Case::Lower) > count(Case::Upper) { Case::Lower } else { Case::Upper };
    for (word, local) in keywords {
        if case_of(&word.text) == Some(majority) {
            continue;
        }
        let (expected, name) = match majority {
            Case::Lower => (word.text.to_lowercase(), "lowercase"),
            Case::Upper => (word.text.to_uppercase(), "uppercase"),
        };
        let message = format!("command `{}` should match the case of the majority ({name})", word.text);
        help(findings.report(CONSISTENT_INSTRUCTION_CASING, local, word.span, message), || expected);
    }
}

fn names(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for stage in &dockerfile.stages {
        let (Some(name), Some(word)) = (&stage.name, &stage.name_word) else { continue };
        let local = stage.check.as_ref();
        if matches!(name.as_str(), "scratch" | "context") {
            let message = format!("stage name should not be the reserved name `{name}`");
            findings.report(RESERVED_STAGE_NAME, local, word.span, message);
        }
        if !seen.insert(name) {
            let message = format!("duplicate stage name `{name}`, stage names should be unique");
            findings.report(DUPLICATE_STAGE_NAME, local, word.span, message);
        }
    }
}

/// Adds help to what was reported.
pub(super) fn help(finding: Option<&mut Diagnostic>, text: impl FnOnce() -> String) {
    if let Some(finding) = finding {
        finding.help = Some(text());
    }
}

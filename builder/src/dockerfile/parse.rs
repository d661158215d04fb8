//! A whole file: global arguments, stages, and errors about their order.

use super::ast::{CheckControls, Directives, Dockerfile, Instruction, InstructionKind, Stage, StageName};
use super::flags::{Flags, Takes};
use super::raw::{self, RawInstruction};
use super::{Diagnostic, Source, Span, Word, directives, instructions, words};

/// Parses a Dockerfile. Whatever could be understood is in the tree; if any diagnostic is an
/// error, the tree is not fit to build from. Diagnostics are in the order of their places.
pub fn parse(source: &Source) -> (Dockerfile, Vec<Diagnostic>) {
    let (file, mut diagnostics) = raw::split(source);
    let mut dockerfile = Dockerfile {
        directives: read_directives(source, file.escape, &mut diagnostics),
        ..Dockerfile::default()
    };
    let mut before_first_stage = None;
    let last = file.instructions.last().map(|instruction| instruction.span);
    for (index, raw) in file.instructions.into_iter().enumerate() {
        if !raw::is_keyword(&raw.keyword.text) {
            let mut error = instructions::unknown_instruction(&raw.keyword);
            // Advice costs time, and in a file that is no Dockerfile nobody reads it all.
            if diagnostics.len() < ADVISED {
                instructions::advise(&raw.keyword, index > 0, &mut error);
            }
            diagnostics.push(error);
            continue;
        }
        if raw.keyword.text.eq_ignore_ascii_case("FROM") {
            let index = dockerfile.stages.len();
            dockerfile.stages.push(stage(raw, index, &mut diagnostics));
            continue;
        }
        let instruction = instructions::typed(raw, &mut diagnostics);
        match (dockerfile.stages.last_mut(), instruction) {
            (Some(stage), Some(instruction)) => stage.instructions.push(instruction),
            (None, Some(instruction)) if matches!(instruction.kind, InstructionKind::Arg(_)) => {
                dockerfile.meta_args.push(instruction);
            }
            // One is enough: with the FROM forgotten, every line below would have the same.
            (None, Some(instruction)) => _ = before_first_stage.get_or_insert(instruction.keyword.span),
            (_, None) => {}
        }
    }
    // Where not even one instruction could be split, that was said already.
    if last.is_some() || diagnostics.is_empty() {
        diagnostics.extend(missing_stage(source, last, &dockerfile, before_first_stage));
    }
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    (dockerfile, diagnostics)
}

/// So many errors have advice.
const ADVISED: usize = 100;

/// Parses one trigger (an `OnBuild` string of a base image's config), which is written with `\` as
/// its escape character whatever the file it came from said. Spans are places in `text`.
///
/// # Errors
/// What is wrong with it; also when it is not exactly one instruction, or a `FROM`.
pub fn parse_trigger(text: &str) -> Result<Instruction, Vec<Diagnostic>> {
    let source = Source::new("ONBUILD", text);
    let (file, mut diagnostics) = raw::split(&source);
    let whole = Span::new(0, text.len());
    if let Ok([raw]) = <[RawInstruction; 1]>::try_from(file.instructions) {
        if raw.keyword.text.eq_ignore_ascii_case("FROM") {
            let message = "FROM isn't allowed as an ONBUILD trigger";
            diagnostics.push(Diagnostic::error(raw.keyword.span, message));
        } else {
            let instruction = instructions::typed(raw, &mut diagnostics);
            if let Some(instruction) = instruction.filter(|_| !diagnostics.iter().any(Diagnostic::is_error)) {
                return Ok(instruction);
            }
        }
    } else if diagnostics.is_empty() {
        diagnostics.push(Diagnostic::error(whole, "an ONBUILD trigger must be a single instruction"));
    }
    Err(diagnostics)
}

fn read_directives(source: &Source, escape: char, diagnostics: &mut Vec<Diagnostic>) -> Directives {
    let (syntax, check) = directives::syntax_and_check(source);
    let check: Option<CheckControls> = check.and_then(|value| match directives::check_controls(&value) {
        Ok(controls) => Some(controls),
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            None
        }
    });
    Directives { syntax, escape, check }
}

fn missing_stage(
    source: &Source,
    last: Option<Span>,
    dockerfile: &Dockerfile,
    before_first_stage: Option<Span>,
) -> Option<Diagnostic> {
    const HELP: &str = "a Dockerfile starts with FROM; only ARG may stand before it";
    let top = Span::new(0, 0);
    if source.text.is_empty() {
        return Some(Diagnostic::error(top, "the Dockerfile cannot be empty").with_help(HELP));
    }
    if let Some(span) = before_first_stage {
        return Some(Diagnostic::error(span, "no build stage in current context").with_help(HELP));
    }
    let Some(last) = last else {
        return Some(Diagnostic::error(top, "file with no instructions").with_help(HELP));
    };
    if dockerfile.stages.is_empty() {
        let error = Diagnostic::error(last, "dockerfile contains no stages to build");
        return Some(error.with_help(HELP));
    }
    None
}

/// A stage for every FROM, even a broken one, so that what follows has a place to be.
fn stage(raw: RawInstruction, index: usize, diagnostics: &mut Vec<Diagnostic>) -> Stage {
    let flags = Flags::parse(&raw.flags, &[("platform", Takes::Value)], diagnostics);
    let nowhere = || Word::new("", raw.span);
    let (image, as_word, name_word) = match raw.arguments.as_slice() {
        [image] => (image.clone(), None, None),
        [image, r#as, name] if r#as.text.eq_ignore_ascii_case("as") => {
            (image.clone(), Some(r#as.clone()), Some(name.clone()))
        }
        arguments => {
            let error = Diagnostic::error(raw.span, "FROM requires either one or three arguments");
            let comment = arguments.iter().any(|word| word.text.starts_with('#'));
            let form = "the form is `FROM image` or `FROM image AS name`";
            diagnostics.push(error.with_help(if comment { words::COMMENT_HELP } else { form }));
            (arguments.first().cloned().unwrap_or_else(nowhere), None, None)
        }
    };
    let name = name_word.as_ref().and_then(|word| {
        let name = StageName::new(&word.text);
        if name.is_none() {
            let message = format!("invalid name for build stage: `{}`", word.text);
            let help = "it starts with a letter, and letters, digits, `-`, `_` and `.` follow";
            diagnostics.push(Diagnostic::error(word.span, message).with_help(help));
        }
        name
    });
    Stage {
        description: name
            .as_ref()
            .and_then(|name| instructions::Descriptions::of(&raw.comments).get(name.as_str())),
        name,
        name_word,
        as_word,
        index,
        image,
        platform: flags.non_empty("platform"),
        from_span: raw.span,
        line: raw.line,
        keyword: raw.keyword,
        original: instructions::trimmed(raw.original),
        instructions: Vec::new(),
        check: directives::check_from_comments(&raw.comments),
        comments: raw.comments,
        empty_continuations: raw.empty_continuations,
    }
}

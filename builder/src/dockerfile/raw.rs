//! Instructions split into keyword, flags and arguments, before anything is checked.
//!
//! This is the level of BuildKit's own syntax tree: unknown instructions and flags are still in it.

use super::lines::{Lines, LogicalLine, Slice};
use super::{Diagnostic, Heredoc, Source, Span, Word};
use super::{heredoc, words};

/// A file at this level.
#[derive(Debug, Clone, Default)]
pub struct RawFile {
    /// `\` or a backquote.
    pub escape: char,
    /// In order; those that could not be split are not in it.
    pub instructions: Vec<RawInstruction>,
}

/// An instruction at this level.
#[derive(Debug, Clone, PartialEq)]
pub struct RawInstruction {
    /// As written.
    pub keyword: Word,
    /// Quotes and escapes removed, dashes kept.
    pub flags: Vec<Word>,
    /// What follows the flags; how it is split depends on the keyword.
    pub arguments: Vec<Word>,
    /// The arguments came from a JSON array.
    pub json: bool,
    /// `ENV` and `LABEL`: the arguments are one key and one value, separated by space.
    pub legacy_pairs: bool,
    /// The trigger of an `ONBUILD`.
    pub trigger: Option<Box<RawInstruction>>,
    /// Of this instruction, or of its trigger.
    pub heredocs: Vec<Heredoc>,
    /// The logical line, space at its end kept.
    pub original: String,
    /// From the keyword to the end, heredocs included.
    pub span: Span,
    /// 1-based.
    pub line: usize,
    /// Comments above.
    pub comments: Vec<Word>,
    /// Blank lines within.
    pub empty_continuations: Vec<Span>,
}

/// How the arguments of a keyword are split.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grammar {
    /// At space.
    Words,
    /// A JSON array of strings, else at space.
    JsonOrWords,
    /// A JSON array of strings, else not at all.
    JsonOrText,
    /// Not at all.
    Text,
    /// At space outside quotes, each `key=value`, or one key and one value.
    Pairs,
    /// At space outside quotes.
    Names,
    /// A first word, and then as [`Grammar::JsonOrText`].
    Health,
    /// Another instruction.
    Trigger,
    /// Unknown: nothing is kept.
    Nothing,
}

/// The keywords, in capitals.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

pub(crate) fn is_keyword(keyword: &str) -> bool {
    KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(keyword))
}

fn grammar(keyword: &str) -> Grammar {
    match keyword.to_ascii_uppercase().as_str() {
        "ADD" | "COPY" | "VOLUME" => Grammar::JsonOrWords,
        "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => Grammar::JsonOrText,
        "EXPOSE" | "FROM" => Grammar::Words,
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" => Grammar::Text,
        "ENV" | "LABEL" => Grammar::Pairs,
        "ARG" => Grammar::Names,
        "HEALTHCHECK" => Grammar::Health,
        "ONBUILD" => Grammar::Trigger,
        _ => Grammar::Nothing,
    }
}

/// Triggers of triggers are refused later; this only keeps hostile text from the stack.
const MAX_TRIGGER_DEPTH: usize = 8;

/// Splits a whole file and recovers from what it cannot split.
pub fn split(source: &Source) -> (RawFile, Vec<Diagnostic>) {
    let mut lines = Lines::new(source);
    let mut instructions = Vec::new();
    let mut diagnostics = Vec::new();
    while let Some(line) = lines.logical() {
        let escape = lines.escape();
        match split_instruction(line.slice(), escape, 0) {
            Ok(mut instruction) => {
                instruction.span = line.span;
                instruction.line = line.line;
                read_heredocs(&mut instruction, &line, &mut lines, source);
                instruction.comments = line.comments;
                instruction.empty_continuations = line.empty_continuations;
                instructions.push(instruction);
            }
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    diagnostics.append(&mut lines.diagnostics);
    (RawFile { escape: lines.escape(), instructions }, diagnostics)
}

fn split_instruction(line: Slice<'_>, escape: char, depth: usize) -> Result<RawInstruction, Diagnostic> {
    let original = line.text().trim_start().to_owned();
    let line = line.trim();
    let text = line.text();
    let keyword_end = text.find(words::SPACE).unwrap_or(text.len());
    let keyword = line.part(0, keyword_end).word();
    let (flags, arguments) = words::split_flags(line.part(keyword_end, text.len()), escape);
    let arguments = arguments.trim();
    let mut instruction = RawInstruction {
        flags,
        arguments: Vec::new(),
        json: false,
        legacy_pairs: false,
        trigger: None,
        heredocs: Vec::new(),
        original,
        span: line.span(),
        line: 0,
        comments: Vec::new(),
        empty_continuations: Vec::new(),
        keyword,
    };
    let json_or =
        |instruction: &mut RawInstruction, text: Slice<'_>, otherwise: fn(Slice<'_>) -> Vec<Word>| {
            match words::json_strings(text)? {
                Some(strings) => {
                    instruction.arguments.extend(strings);
                    instruction.json = true;
                }
                None => instruction.arguments.extend(otherwise(text)),
            }
            Ok(())
        };
    let whole = |text: Slice<'_>| if text.text().is_empty() { Vec::new() } else { vec![text.word()] };
    match grammar(&instruction.keyword.text) {
        Grammar::Words => instruction.arguments = words::split_at_space(arguments),
        Grammar::JsonOrWords => json_or(&mut instruction, arguments, words::split_at_space)?,
        Grammar::JsonOrText => json_or(&mut instruction, arguments, whole)?,
        Grammar::Text => instruction.arguments = whole(arguments),
        Grammar::Names => instruction.arguments = words::split_quoted(arguments, escape),
        Grammar::Pairs => {
            let name = instruction.keyword.text.to_ascii_uppercase();
            let (pairs, legacy) = words::split_pairs(arguments, &name, escape)?;
            instruction.arguments = pairs;
            instruction.legacy_pairs = legacy;
        }
        Grammar::Health => {
            let text = arguments.text();
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            if end > 0 {
                instruction.arguments.push(arguments.part(0, end).word());
                json_or(&mut instruction, arguments.part(end, text.len()).trim(), whole)?;
            }
        }
        Grammar::Trigger if arguments.text().is_empty() => {}
        Grammar::Trigger if depth >= MAX_TRIGGER_DEPTH => {
            return Err(Diagnostic::error(arguments.span(), "triggers are nested too deeply"));
        }
        Grammar::Trigger => {
            let trigger = split_instruction(arguments, escape, depth + 1)?;
            instruction.arguments = vec![trigger.keyword.clone()];
            instruction.trigger = Some(Box::new(trigger));
        }
        Grammar::Nothing => {}
    }
    Ok(instruction)
}

fn may_have_heredocs(instruction: &RawInstruction) -> bool {
    let instruction = instruction.trigger.as_deref().unwrap_or(instruction);
    let keyword = instruction.keyword.text.to_ascii_uppercase();
    matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") && !instruction.json
}

fn read_heredocs(
    instruction: &mut RawInstruction,
    line: &LogicalLine,
    lines: &mut Lines<'_>,
    source: &Source,
) {
    if !line.has_heredoc_sign() || !may_have_heredocs(instruction) {
        return;
    }
    for marker in heredoc::markers_in(&line.text) {
        let start = instruction.span.end;
        let mut content = String::new();
        let mut span: Option<Span> = None;
        let mut terminated = false;
        while let Some(physical) = lines.physical() {
            let text = &source.text[physical.range()];
            let bare = super::lines::trim_newline(text);
            instruction.span.end = physical.start + bare.len();
            let candidate = if marker.chomp { bare.trim_start_matches('\t') } else { bare };
            if candidate == marker.name {
                terminated = true;
                span.get_or_insert(Span::new(physical.start, physical.start));
                break;
            }
            content.push_str(text);
            span = Some(span.map_or(physical, |span| span.to(physical)));
        }
        if !terminated {
            let indented = content.lines().any(|line| line.trim() == marker.name);
            let help = if indented {
                format!("`{}` must be alone on its line; tabs before it need `<<-`", marker.name)
            } else {
                format!("no line below is `{}`", marker.name)
            };
            let error = Diagnostic::error(line.span, format!("unterminated heredoc `{}`", marker.name));
            lines.diagnostics.push(error.with_help(help));
        }
        instruction.heredocs.push(Heredoc {
            name: marker.name,
            content,
            expand: marker.expand,
            chomp: marker.chomp,
            fd: marker.fd,
            span: span.unwrap_or(Span::new(start, start)),
        });
    }
    if let Some(trigger) = &mut instruction.trigger {
        trigger.heredocs.clone_from(&instruction.heredocs);
    }
}

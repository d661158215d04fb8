//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top.

use super::{CheckControls, Diagnostic, RuleSet, Source, Span, Word};

/// One directive.
pub(crate) struct Directive {
    /// Lower-case.
    pub(crate) name: &'static str,
    pub(crate) value: Word,
}

/// Reads directives until a line that is none.
pub(crate) struct DirectiveReader {
    seen: Vec<&'static str>,
    done: bool,
}

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

impl DirectiveReader {
    pub(crate) fn new() -> Self {
        Self { seen: Vec::new(), done: false }
    }

    /// From here on comments are comments.
    pub(crate) fn finish(&mut self) {
        self.done = true;
    }

    /// Reads one line that starts with `#` at a byte offset of the source.
    ///
    /// # Errors
    /// The name of a directive that was there before.
    pub(crate) fn read(&mut self, line: &str, start: usize) -> Result<Option<Directive>, &'static str> {
        if self.done {
            return Ok(None);
        }
        let Some(directive) = parse(line, start) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&directive.name) {
            return Err(directive.name);
        }
        self.seen.push(directive.name);
        Ok(Some(directive))
    }
}

/// `# name = value`, with a name that is known in any case.
fn parse(line: &str, start: usize) -> Option<Directive> {
    let body = line.strip_prefix('#')?.trim_start();
    let (name, value) = body.split_once('=')?;
    let name =
        NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim_end_matches(WHITESPACE)))?;
    let trimmed = value.trim_matches(WHITESPACE);
    if trimmed.is_empty() {
        return None;
    }
    let at = start + line.len() - value.len() + (value.len() - value.trim_start_matches(WHITESPACE).len());
    Some(Directive { name, value: Word::new(trimmed, Span::new(at, at + trimmed.len())) })
}

const WHITESPACE: [char; 5] = ['\t', '\n', '\x0c', '\r', ' '];

/// The values of `syntax` and `check`. Unlike `escape` they may follow a `#!` line, and their lines
/// must not be indented; only the first word counts.
pub(crate) fn syntax_and_check(source: &Source) -> (Option<Word>, Option<Word>) {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let mut at = source.text.len() - text.len();
    let mut reader = DirectiveReader::new();
    let (mut syntax, mut check) = (None, None);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        if index == 0 && line.starts_with("#!") {
            continue;
        }
        let line = super::lines::trim_newline(line);
        let Ok(Some(directive)) = reader.read(line, start) else { break };
        let mut value = directive.value;
        let length = value.text.find(' ').unwrap_or(value.text.len());
        value.text.truncate(length);
        value.span.end = value.span.start + length;
        match directive.name {
            "syntax" => syntax = Some(value),
            "check" => check = Some(value),
            _ => {}
        }
    }
    (syntax, check)
}

/// Parses `skip=A,B|all;error=true;experimental=A|all`.
///
/// # Errors
/// On an option that does not exist or has no value.
pub(crate) fn check_controls(value: &Word) -> Result<CheckControls, Diagnostic> {
    let error = |message: String| {
        Diagnostic::error(value.span, message)
            .with_help("the form is `skip=RULE,…;error=true;experimental=RULE,…`, and `all` is every rule")
    };
    let mut controls = CheckControls { span: value.span, ..CheckControls::default() };
    if value.text.trim().is_empty() {
        return Ok(controls);
    }
    for part in value.text.trim().splitn(3, ';') {
        let Some((key, text)) = part.split_once('=') else {
            return Err(error(format!("invalid check option `{part}`")));
        };
        let text = text.trim();
        match key.trim() {
            "skip" => controls.skip = rule_set(text),
            "experimental" => controls.experimental = rule_set(text),
            "error" => {
                let value = super::values::parse_bool(text);
                controls.error = Some(
                    value.ok_or_else(|| error(format!("check option `error` is no boolean: `{text}`")))?,
                );
            }
            other => return Err(error(format!("invalid check option `{other}`"))),
        }
    }
    Ok(controls)
}

fn rule_set(text: &str) -> RuleSet {
    if text == "all" {
        return RuleSet::All;
    }
    RuleSet::Named(text.split(',').map(|rule| rule.trim().to_ascii_lowercase()).collect())
}

/// The controls of the first `check=` among the comments above an instruction, for it alone. One
/// that cannot be read is not one.
pub(crate) fn check_from_comments(comments: &[Word]) -> Option<CheckControls> {
    comments.iter().find_map(|comment| {
        let (name, value) = comment.text.split_once('=')?;
        if !name.trim_end().eq_ignore_ascii_case("check") {
            return None;
        }
        let first = value.trim().split(' ').next().unwrap_or_default();
        check_controls(&Word::new(first, comment.span)).ok()
    })
}

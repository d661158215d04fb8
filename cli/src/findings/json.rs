//! The JSON of BuildKit's `frontend.lint`, and what it has no field for: level, column, help, and all errors.

use base64::Engine as _;
use builder::dockerfile::lint::RULES;
use builder::dockerfile::{Diagnostic, Source, Span};
use serde_json::{Value, json};

use super::place::Regions;
use super::{Findings, level};

/// `{"warnings": […], "sources": […], "buildError": …, "errors": […]}`. Errors of the grammar are in `errors`, the
/// first one in `buildError` too; findings of rules are in `warnings` even where the file makes errors of them.
pub(super) fn of(findings: &Findings<'_>) -> Value {
    let mut regions = Regions::of(findings.source);
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for finding in findings.list {
        match finding.code {
            Some(code) => warnings.push(warning(code, finding, &mut regions)),
            None => errors.push(error(finding, &mut regions)),
        }
    }
    let mut value = json!({"warnings": warnings, "sources": [source(findings.source)]});
    if let Some(first) = errors.first() {
        value["buildError"] = first.clone();
        value["errors"] = errors.into();
    }
    value
}

fn warning(code: &str, finding: &Diagnostic, regions: &mut Regions<'_>) -> Value {
    let rule = RULES.iter().find(|rule| rule.id == code);
    let mut value = json!({
        "ruleName": code,
        "description": rule.map_or("", |rule| rule.summary),
        "detail": finding.message,
        "level": level(finding),
        "location": place(finding.span, regions),
    });
    if let Some(url) = finding.url {
        value["url"] = url.into();
    }
    if let Some(help) = &finding.help {
        value["help"] = help.as_str().into();
    }
    value
}

fn error(finding: &Diagnostic, regions: &mut Regions<'_>) -> Value {
    let mut value = json!({
        "message": finding.message,
        "level": level(finding),
        "location": place(finding.span, regions),
    });
    if let Some(help) = &finding.help {
        value["help"] = help.as_str().into();
    }
    value
}

/// The place of a span in the only file.
pub(crate) fn location(source: &Source, span: Span) -> Value {
    place(span, &mut Regions::of(source))
}

fn place(span: Span, regions: &mut Regions<'_>) -> Value {
    let region = regions.region(span);
    let position = |(line, column): (usize, usize)| json!({"line": line, "column": column});
    json!({"sourceIndex": 0, "ranges": [{"start": position(region.start), "end": position(region.end)}]})
}

fn source(source: &Source) -> Value {
    json!({"filename": source.name, "language": "Dockerfile", "data": source_data(source)})
}

/// A file as base64, which is how Go writes bytes.
pub(crate) fn source_data(source: &Source) -> String {
    base64::engine::general_purpose::STANDARD.encode(source.text.as_bytes())
}

//! `--format`: Go's templates with the functions that Docker's commands have.

mod functions;

use std::collections::HashMap;

use builder::dockerfile::{Source, Span, nearest};
use gtmpl_ng::error::{ExecError, ParseError, TemplateError};
use gtmpl_ng::{Context, Value as Filling};
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::place;

/// A template that was read. What it may write, and how often it may go round, is bounded.
pub(crate) struct Template {
    source: Source,
    parsed: gtmpl_ng::Template,
}

impl Template {
    /// Reads a template. Outside of actions `\n` and `\t` are what they say, as in Docker's `--format`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Self::with_functions(text, &functions::OF_VALUES)
    }

    fn with_functions(text: &str, functions: &[(&str, gtmpl_ng::Func)]) -> Result<Self> {
        let text = unescaped(text);
        let mut template =
            Self { source: Source::new("--format", text.as_str()), parsed: gtmpl_ng::Template::default() };
        template.parsed.add_funcs(functions);
        template.parsed.parse(text).map_err(|error| template.failure(&error.into(), &Value::Null))?;
        Ok(template)
    }

    /// Fills the template with the fields of `value`. One that `value` does not have is a mistake; one that something
    /// within it does not have is nothing, as a label that an image may lack.
    pub(crate) fn fill(&self, value: &Value) -> Result<String> {
        let filling = match filling(value) {
            Filling::Map(fields) => Filling::Object(fields),
            other => other,
        };
        self.parsed.render(&Context::from(filling)).map_err(|error| self.failure(&error.into(), value))
    }

    /// The message of a mistake, with its place in the template.
    fn failure(&self, error: &TemplateError, value: &Value) -> Failure {
        let (place, message) = match error {
            TemplateError::ParseError(ParseError::WithContext(place, message)) => {
                (Some(place), message.clone())
            }
            TemplateError::ExecError(ExecError::Structured(error)) => {
                (Some(&error.context), error.message.clone())
            }
            other => (None, other.to_string()),
        };
        // What is behind it is the whole value.
        let message = message.split(" in map[").next().unwrap_or_default();
        let failure = Failure::usage(format!("the format cannot be used: {message}"));
        let Some(place) = place.filter(|place| place.line > 0) else { return failure };
        let start = self.source.line_span(place.line).start + place.col.saturating_sub(1);
        let end = (start + place.len).min(self.source.text.len());
        let failure = failure.detail(place::show(&self.source, Span::from(start..end)));
        let word = self.source.text.get(start..end).unwrap_or_default();
        let mut known: Vec<&str> = match word.strip_prefix('.') {
            Some(_) => value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
            None => self.parsed.funcs.keys().map(String::as_str).collect(),
        };
        known.sort_unstable();
        let name = word.trim_start_matches('.').split(['.', ' ']).next().unwrap_or_default();
        let meant = nearest(name, known).filter(|known| *known != name);
        failure.hint(meant.map(|known| format!("did you mean `{known}`?")))
    }
}

/// Rows by the `--format` of a listing command: `json`, a template, or `table TEMPLATE` with a header above columns.
/// `headers` has the header of each field that is not called by its own name.
pub(crate) fn rows(format: &str, headers: &[(&str, &str)], values: &[Value]) -> Result<String> {
    if format == "json" {
        return Ok(values.iter().map(|value| format!("{value}\n")).collect());
    }
    let Some(text) = format.strip_prefix("table ") else {
        let template = Template::parse(format)?;
        return values.iter().map(|value| template.fill(value).map(|line| line + "\n")).collect();
    };
    let template = Template::parse(text)?;
    let named = |name: &str| {
        let known = headers.iter().find(|(field, _)| *field == name);
        known.map_or_else(|| name.to_uppercase(), |(_, header)| (*header).to_owned())
    };
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '.');
    let fields = words.filter_map(|word| word.strip_prefix('.')).filter(|name| !name.is_empty());
    let header = Value::Object(fields.map(|name| (name.to_owned(), named(name).into())).collect());
    let mut lines = vec![Template::with_functions(text, &functions::OF_HEADERS)?.fill(&header)?];
    for value in values {
        lines.push(template.fill(value)?);
    }
    Ok(crate::table::aligned(&lines.iter().map(|line| line.split('\t').collect()).collect::<Vec<_>>()))
}

/// The text with `\n` and `\t` outside of actions made what they say; in actions they belong to Go's strings. In a raw
/// string a backslash is only itself, which the parser has to be told.
fn unescaped(template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    let mut within = Within::Text;
    while let Some(first) = rest.chars().next() {
        let (taken, written, then) = match within {
            Within::Text if rest.starts_with("{{") => (2, "{{", Within::Action),
            Within::Text if rest.starts_with("\\n") => (2, "\n", within),
            Within::Text if rest.starts_with("\\t") => (2, "\t", within),
            Within::Action if rest.starts_with("}}") => (2, "}}", Within::Text),
            Within::Action if rest.starts_with("/*") => {
                let end = rest.find("*/").map_or(rest.len(), |end| end + 2);
                (end, &rest[..end], within)
            }
            Within::Action if matches!(first, '"' | '\'' | '`') => (1, &rest[..1], Within::Quotes(first)),
            Within::Quotes(quote) if first == quote => (1, &rest[..1], Within::Action),
            Within::Quotes('`') if first == '\\' => (1, "\\\\", within),
            Within::Quotes(_) if rest.starts_with("\\\\") || rest.starts_with("\\\"") => {
                (2, &rest[..2], within)
            }
            _ => (first.len_utf8(), &rest[..first.len_utf8()], within),
        };
        text.push_str(written);
        rest = &rest[taken..];
        within = then;
    }
    text
}

/// Where in a template a character stands.
#[derive(Clone, Copy)]
enum Within {
    Text,
    Action,
    Quotes(char),
}

/// A value of JSON as templates have it. `null` is a field that is not set, so that what is below it is not set either.
fn filling(value: &Value) -> Filling {
    match value {
        Value::Null => Filling::NoValue,
        Value::Bool(truth) => Filling::Bool(*truth),
        Value::Number(number) => number
            .as_i64()
            .map(Filling::from)
            .or_else(|| number.as_u64().map(Filling::from))
            .unwrap_or_else(|| Filling::from(number.as_f64().unwrap_or_default())),
        Value::String(text) => Filling::String(text.clone()),
        Value::Array(list) => Filling::Array(list.iter().map(filling).collect()),
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| (name.clone(), filling(value)));
            Filling::Map(fields.collect::<HashMap<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests;

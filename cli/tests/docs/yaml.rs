//! YAML as JSON values, by the core schema of YAML 1.2. What is doubtful in a page is an error: several documents, an
//! anchor, a field twice.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Reads the one document of `text`.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut documents = Vec::new();
    // Lists and maps that are not over, each with the field that the next value is for.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let at = |message: &str| format!("line {}: {message}", span.start.line());
        let value = match event {
            Event::SequenceStart(0, _) => {
                open.push((Value::Array(Vec::new()), None));
                continue;
            }
            Event::MappingStart(0, _) => {
                open.push((Value::Object(Map::new()), None));
                continue;
            }
            Event::Scalar(text, ScalarStyle::Plain, 0, _) => plain(&text),
            Event::Scalar(text, _, 0, _) => Value::String(text.into_owned()),
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop().ok_or_else(|| at("an end without a start"))?.0
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => continue,
            Event::Alias(_) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(at("an anchor or alias"));
            }
        };
        match open.last_mut() {
            None => documents.push(value),
            Some((Value::Array(items), _)) => items.push(value),
            Some((Value::Object(fields), field)) => match (field.take(), value) {
                (None, Value::String(name)) if fields.contains_key(&name) => return Err(at("a field twice")),
                (None, Value::String(name)) => *field = Some(name),
                (None, _) => return Err(at("a field that is no text")),
                (Some(name), value) => _ = fields.insert(name, value),
            },
            Some(_) => return Err(at("a scalar that is open")),
        }
    }
    match documents.len() {
        1 => Ok(documents.remove(0)),
        count => Err(format!("{count} documents")),
    }
}

/// What a scalar without quotes is.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => {
            text.parse::<serde_json::Number>().map_or_else(|_| Value::String(text.to_owned()), Value::Number)
        }
    }
}

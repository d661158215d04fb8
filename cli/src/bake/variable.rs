//! Variables: type, default, what the environment says, validation.

use builder::dockerfile::Span;

use super::body::{self, Attribute, Block};
use super::definitions::Definitions;
use super::evaluate::{Evaluator, Locals};
use super::fault::{Fault, Result};
use super::types::Type;
use super::value::Value;

/// A variable as `--list variables` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

/// The value of a variable, or of an attribute of a file. `attribute` is that one, which comes before a variable's own
/// default.
pub(super) fn value(
    definitions: &Definitions<'_>,
    name: &str,
    attribute: Option<&Attribute>,
    depth: usize,
) -> Result<Value> {
    let variable = definitions.variables.get(name).copied();
    let wanted = variable.map(type_of).transpose()?.flatten();
    let default = attribute.or_else(|| variable.and_then(|block| block.body.attribute("default")));
    let given = variable.and_then(|_| given(definitions, name, wanted.is_some()));
    let mut value = None;
    if let Some(default) = default {
        let place = Evaluator::place(&default.value);
        let own = definitions.evaluator(&default.source, depth).value(&default.value, &Locals::default())?;
        let own = match &wanted {
            Some(wanted) => wanted.convert(own).map_err(|reason| {
                Fault::at(&default.source, place, format!("the default of `{name}`: {reason}"))
            })?,
            None => own,
        };
        value = Some(own);
    }
    let Some((variable, (text, json))) = variable.zip(given) else {
        let nothing = if wanted.is_some() { Value::Null } else { Value::text("") };
        return Ok(value.unwrap_or(nothing));
    };
    overridden(wanted.as_ref(), value.as_ref(), &text, json).map_err(|reason| {
        Fault::at(&variable.source, variable.span, format!("the value of `{name}`: {reason}"))
    })
}

/// What a text of the environment means for a variable of this type, or of the type that its default has.
fn overridden(
    wanted: Option<&Type>,
    default: Option<&Value>,
    text: &str,
    json: bool,
) -> Result<Value, String> {
    match (wanted, default) {
        (Some(wanted), _) if json => {
            let value =
                serde_json::from_str(text).map_err(|error| format!("`{text}` is no JSON: {error}"))?;
            wanted.convert(Value::of_json(value))
        }
        (Some(wanted), _) => wanted.of_text(text),
        (None, None | Some(Value::Null | Value::String(_))) => Ok(Value::text(text)),
        (None, Some(Value::Bool(_))) => Type::Bool.of_text(text),
        (None, Some(Value::Number(_))) => Type::Number.of_text(text),
        (None, Some(other)) => {
            Err(format!("it is {} and has no `type`, so no text can stand for it", other.kind()))
        }
    }
}

/// What the command line or the environment gives a variable, and whether that is JSON.
fn given(definitions: &Definitions<'_>, name: &str, typed: bool) -> Option<(String, bool)> {
    let lookup = definitions.environment.lookup;
    let plain = lookup(name);
    if plain.is_none() || typed {
        let json = format!("{name}_JSON");
        let own = definitions.variables.contains_key(json.as_str());
        if !own && let Some(text) = lookup(&json) {
            return Some((text, true));
        }
    }
    plain.map(|text| (text, false))
}

/// The type that a variable has been given.
fn type_of(block: &Block) -> Result<Option<Type>> {
    let Some(attribute) = block.body.attribute("type") else { return Ok(None) };
    let place = Evaluator::place(&attribute.value);
    let wrong = |reason: String| Fault::at(&attribute.source, place, reason);
    match &attribute.value {
        body::Value::Hcl(expression) => Type::of_expression(expression).map(Some).map_err(wrong),
        body::Value::Json(node) => {
            let text = node.name().unwrap_or_default();
            let expression = hcl_edit::parser::parse_expr(&text)
                .map_err(|_| wrong(format!("`{text}` is no type; an example is `list(string)`")))?;
            Type::of_expression(&expression).map(Some).map_err(wrong)
        }
    }
}

/// Holds a variable against what it says of itself.
pub(super) fn validate(definitions: &Definitions<'_>, block: &Block) -> Result<()> {
    let known = ["type", "default", "description", "validation"];
    if let Some(other) = block.body.attributes.iter().find(|one| !known.contains(&one.name.as_str())) {
        let message = format!("a variable has no attribute `{}`", other.name);
        return Err(Fault::at(&other.source, other.span, message).meant(&other.name, known));
    }
    for rule in block.body.blocks.iter().filter(|inner| inner.kind == "validation") {
        let needed = |name: &str| {
            rule.body
                .attribute(name)
                .ok_or_else(|| Fault::at(&rule.source, rule.span, format!("a validation has no `{name}`")))
        };
        let (condition, message) = (needed("condition")?, needed("error_message")?);
        let place = Evaluator::place(&condition.value);
        let evaluator = definitions.evaluator(&rule.source, 0);
        let holds = evaluator.value(&condition.value, &Locals::default())?;
        let holds = holds.to_bool().map_err(|reason| Fault::at(&rule.source, place, reason))?;
        if !holds {
            let message = evaluator.value(&message.value, &Locals::default())?.to_text();
            let message = message.unwrap_or_else(|_| "it does not hold".to_owned());
            let message = message.trim_end_matches('.');
            return Err(Fault::at(&rule.source, place, format!("the variable `{}`: {message}", block.label)));
        }
    }
    if let Some(inner) = block.body.blocks.iter().find(|inner| inner.kind != "validation") {
        let message = format!("a variable has no block `{}`", inner.kind);
        return Err(Fault::at(&inner.source, Span::new(inner.span.start, inner.span.end), message));
    }
    Ok(())
}

/// All variables by name.
pub(crate) fn list(definitions: &Definitions<'_>) -> Result<Vec<Listed>> {
    let each = definitions.variables.iter().map(|(name, block)| {
        let value = definitions.value_of(name, 0)?;
        let text = match value {
            Value::Null => None,
            Value::List(_) | Value::Object(_) => Some(super::print::for_html(&value.to_json().to_string())),
            other => other.to_text().ok(),
        };
        let description = match block.body.attribute("description") {
            None => String::new(),
            Some(one) => {
                let value = definitions.evaluator(&one.source, 0).value(&one.value, &Locals::default())?;
                value.to_text().unwrap_or_default()
            }
        };
        let kind = type_of(block)?.map(|wanted| wanted.name()).unwrap_or_default();
        Ok(Listed { name: (*name).to_owned(), description, kind, value: text })
    });
    each.collect()
}

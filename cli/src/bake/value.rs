//! Values of expressions in bake files.

use std::collections::BTreeMap;

use serde_json::{Number, json};

/// A value. Lists, sets and tuples are one kind here, maps and objects another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    String(String),
    /// Several values.
    List(Vec<Value>),
    /// Values by name.
    Object(BTreeMap<String, Value>),
}

/// The largest number up to which every integer has its own float.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// As a text, which a number and a bool can be.
    pub(crate) fn to_text(&self) -> Result<String, String> {
        match self {
            Self::String(text) => Ok(text.clone()),
            Self::Bool(value) => Ok(value.to_string()),
            Self::Number(number) => Ok(decimal(*number)),
            other => Err(format!("a string is needed, and this is {}", other.kind())),
        }
    }

    /// As a number, which a text can hold.
    pub(crate) fn to_number(&self) -> Result<f64, String> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        };
        number.ok_or_else(|| format!("a number is needed, and this is {}", self.kind()))
    }

    /// As a bool, which a text can hold.
    pub(crate) fn to_bool(&self) -> Result<bool, String> {
        match self {
            Self::Bool(value) => Ok(*value),
            Self::String(text) if text == "true" => Ok(true),
            Self::String(text) if text == "false" => Ok(false),
            other => Err(format!("a bool is needed, and this is {}", other.kind())),
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        const NODE: usize = 32;
        NODE + match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.len(),
            Self::List(items) => items.iter().map(Self::weight).sum(),
            Self::Object(fields) => fields.iter().map(|(name, value)| name.len() + value.weight()).sum(),
        }
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => json!(value),
            Self::Number(number) if is_whole(*number) => json!(*number as i64),
            Self::Number(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, Into::into),
            Self::String(text) => json!(text),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
            }
        }
    }

    /// Of JSON.
    pub(crate) fn of_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or(0.0)),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::of_json).collect()),
            serde_json::Value::Object(fields) => {
                Self::Object(fields.into_iter().map(|(name, value)| (name, Self::of_json(value))).collect())
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Number(count as f64)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items)
    }
}

fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < EXACT
}

/// A number as people write it: whole ones without a point.
fn decimal(number: f64) -> String {
    if is_whole(number) { (number as i64).to_string() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        for (number, text) in
            [(3.0, "3"), (-2.0, "-2"), (1.5, "1.5"), (0.1, "0.1"), (1e15, "1000000000000000")]
        {
            assert_eq!(decimal(number), text);
        }
    }

    #[test]
    fn what_can_be_converted_is() {
        assert_eq!(Value::text("1.5").to_number(), Ok(1.5));
        assert_eq!(Value::text("true").to_bool(), Ok(true));
        assert_eq!(Value::Number(7.0).to_text().unwrap(), "7");
        assert!(Value::text("inf").to_number().is_err() && Value::text("yes").to_bool().is_err());
        assert!(Value::Null.to_text().is_err() && Value::List(Vec::new()).to_text().is_err());
    }
}

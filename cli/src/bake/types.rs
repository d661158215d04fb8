//! Types of variables: `string`, `list(number)`, `object({ name = string })` and the like.

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, FuncCall, ObjectKey};

use super::value::Value;

/// What a value has to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    /// Anything.
    Any,
    /// A text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// Values of one type.
    List(Box<Type>),
    /// The same, each once and in order.
    Set(Box<Type>),
    /// Values of one type by name.
    Map(Box<Type>),
    /// A value of each of these types.
    Tuple(Vec<Type>),
    /// A value of each of these types by name; whether it may be left out.
    Object(BTreeMap<String, (Type, bool)>),
}

impl Type {
    /// Reads a type as it is written.
    pub(crate) fn of_expression(expression: &Expression) -> Result<Self, String> {
        match expression {
            Expression::Variable(name) => match name.as_str() {
                "any" => Ok(Self::Any),
                "string" => Ok(Self::String),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Bool),
                other => Err(unknown(other)),
            },
            Expression::FuncCall(call) => Self::of_call(call),
            Expression::Parenthesis(inner) => Self::of_expression(inner.inner()),
            _ => Err("this is no type; an example is `list(string)`".to_owned()),
        }
    }

    fn of_call(call: &FuncCall) -> Result<Self, String> {
        let name = call.name.name.as_str();
        let [argument] = call.args.iter().collect::<Vec<_>>()[..] else {
            return Err(format!("the type `{name}` takes one type"));
        };
        let inner = || Self::of_expression(argument).map(Box::new);
        match (name, argument) {
            ("list", _) => inner().map(Self::List),
            ("set", _) => inner().map(Self::Set),
            ("map", _) => inner().map(Self::Map),
            ("tuple", Expression::Array(items)) => {
                items.iter().map(Self::of_expression).collect::<Result<_, _>>().map(Self::Tuple)
            }
            ("object", Expression::Object(fields)) => {
                let mut types = BTreeMap::new();
                for (key, value) in fields {
                    let name = match key {
                        ObjectKey::Ident(name) => name.to_string(),
                        ObjectKey::Expression(Expression::Variable(name)) => name.to_string(),
                        ObjectKey::Expression(Expression::String(name)) => name.to_string(),
                        ObjectKey::Expression(_) => return Err("a field of an object has a name".to_owned()),
                    };
                    types.insert(name, Self::of_field(value.expr())?);
                }
                Ok(Self::Object(types))
            }
            ("tuple", _) => Err("an example of a tuple is `tuple([string, number])`".to_owned()),
            ("object", _) => Err("an example of an object is `object({ name = string })`".to_owned()),
            (other, _) => Err(unknown(other)),
        }
    }

    fn of_field(expression: &Expression) -> Result<(Self, bool), String> {
        match expression {
            Expression::FuncCall(call) if call.name.name.as_str() == "optional" => {
                let inner = call.args.iter().next().ok_or("`optional` takes a type")?;
                Ok((Self::of_expression(inner)?, true))
            }
            other => Ok((Self::of_expression(other)?, false)),
        }
    }

    /// The value as one of this type.
    pub(crate) fn convert(&self, value: Value) -> Result<Value, String> {
        let mismatch = |value: &Value| format!("{} is needed, and this is {}", self.name(), value.kind());
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (_, Value::Null) => Ok(Value::Null),
            (Self::String, value) => value.to_text().map(Value::String),
            (Self::Number, value) => value.to_number().map(Value::Number),
            (Self::Bool, value) => value.to_bool().map(Value::Bool),
            (Self::List(inner), Value::List(items)) => each(inner, items).map(Value::List),
            (Self::Set(inner), Value::List(items)) => each(inner, items).map(super::functions::set),
            (Self::Map(inner), Value::Object(fields)) => {
                let fields = fields.into_iter().map(|(name, value)| Ok((name, inner.convert(value)?)));
                fields.collect::<Result<_, String>>().map(Value::Object)
            }
            (Self::Tuple(types), Value::List(items)) if types.len() == items.len() => {
                let items = types.iter().zip(items).map(|(inner, item)| inner.convert(item));
                items.collect::<Result<_, _>>().map(Value::List)
            }
            (Self::Object(types), Value::Object(mut fields)) => {
                let mut object = BTreeMap::new();
                for (name, (inner, optional)) in types {
                    let value = match fields.remove(name) {
                        Some(value) => {
                            inner.convert(value).map_err(|reason| format!("`{name}`: {reason}"))?
                        }
                        None if *optional => Value::Null,
                        None => return Err(format!("the field `{name}` is missing")),
                    };
                    object.insert(name.clone(), value);
                }
                Ok(Value::Object(object))
            }
            (_, value) => Err(mismatch(&value)),
        }
    }

    /// The type as it is written.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Any => "any".to_owned(),
            Self::String => "string".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::List(inner) => format!("list of {}", inner.name()),
            Self::Set(inner) => format!("set of {}", inner.name()),
            Self::Map(inner) => format!("map of {}", inner.name()),
            Self::Tuple(_) => "tuple".to_owned(),
            Self::Object(_) => "object".to_owned(),
        }
    }

    /// A value as the environment has it: a word, or fields in CSV.
    pub(crate) fn of_text(&self, text: &str) -> Result<Value, String> {
        match self {
            Self::Any | Self::String => Ok(Value::text(text)),
            Self::Number => Value::text(text).to_number().map(Value::Number),
            Self::Bool => match text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                _ => Err(format!("`{text}` is no bool")),
            },
            Self::List(inner) | Self::Set(inner) if inner.is_primitive() => {
                let items: Vec<Value> = crate::csv::fields(text)?
                    .iter()
                    .map(|field| inner.of_text(field))
                    .collect::<Result<_, _>>()?;
                Ok(if matches!(self, Self::Set(_)) {
                    super::functions::set(items)
                } else {
                    Value::List(items)
                })
            }
            Self::Tuple(types) if types.iter().all(Self::is_primitive) => {
                let fields = crate::csv::fields(text)?;
                if fields.len() != types.len() {
                    return Err(format!("{} values are needed, and these are {}", types.len(), fields.len()));
                }
                let items = types.iter().zip(&fields).map(|(inner, field)| inner.of_text(field));
                items.collect::<Result<_, _>>().map(Value::List)
            }
            Self::Map(inner) if inner.is_primitive() => {
                let mut object = BTreeMap::new();
                for field in crate::csv::fields(text)? {
                    let (name, value) = field
                        .split_once(':')
                        .ok_or_else(|| format!("`{field}` is not of the form NAME:VALUE"))?;
                    object.insert(name.to_owned(), inner.of_text(value)?);
                }
                Ok(Value::Object(object))
            }
            other => Err(format!(
                "a value of the type {} has to be JSON, in a variable with `_JSON` after its name",
                other.name()
            )),
        }
    }

    fn is_primitive(&self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Bool)
    }
}

fn each(inner: &Type, items: Vec<Value>) -> Result<Vec<Value>, String> {
    items.into_iter().map(|item| inner.convert(item)).collect()
}

fn unknown(name: &str) -> String {
    format!(
        "there is no type `{name}`; types are string, number, bool, any, list, set, map, tuple and object"
    )
}

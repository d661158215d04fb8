//! Functions that files define.

use super::body::{self, Attribute, Block};
use super::evaluate::{Evaluator, Locals};
use super::fault::{Fault, Result};
use super::markup::{Markup, Node};
use super::value::Value;

/// What a function of a file takes and gives.
pub(super) struct Parameters<'a> {
    names: Vec<String>,
    variadic: Option<String>,
    /// What it gives.
    pub(super) result: &'a Attribute,
}

impl<'a> Parameters<'a> {
    /// Of its block.
    pub(super) fn of(block: &'a Block) -> Result<Self> {
        let missing = |name: &str| {
            Fault::at(&block.source, block.span, format!("the function `{}` has no `{name}`", block.label))
        };
        let params = block.body.attribute("params").ok_or_else(|| missing("params"))?;
        let result = block.body.attribute("result").ok_or_else(|| missing("result"))?;
        let known = ["params", "variadic_params", "result"];
        if let Some(other) = block.body.attributes.iter().find(|one| !known.contains(&one.name.as_str())) {
            let message = format!("a function has no attribute `{}`", other.name);
            return Err(Fault::at(&other.source, other.span, message).meant(&other.name, known));
        }
        let wrong = |attribute: &Attribute| {
            let place = Evaluator::place(&attribute.value);
            Fault::at(&attribute.source, place, "parameters are names, as in `params = [a, b]`")
        };
        let names = words(&params.value).ok_or_else(|| wrong(params))?;
        let variadic = match block.body.attribute("variadic_params") {
            None => None,
            Some(attribute) => Some(word(&attribute.value).ok_or_else(|| wrong(attribute))?),
        };
        Ok(Self { names, variadic, result })
    }

    /// The names of a call with these arguments.
    pub(super) fn given(&self, name: &str, arguments: &[Value]) -> Result<Locals> {
        let count = self.names.len();
        if arguments.len() < count || (arguments.len() > count && self.variadic.is_none()) {
            let needed = if self.variadic.is_some() { "at least " } else { "" };
            return Err(Fault::new(format!(
                "the function `{name}` takes {needed}{count} arguments, and these are {}",
                arguments.len()
            )));
        }
        let given = self.names.iter().zip(arguments);
        let locals = given.fold(Locals::default(), |locals, (name, value)| locals.with(name, value.clone()));
        Ok(match &self.variadic {
            Some(rest) => locals.with(rest, Value::List(arguments[count..].to_vec())),
            None => locals,
        })
    }
}

/// Names without a value: `[a, b]`, in JSON texts.
fn words(value: &body::Value) -> Option<Vec<String>> {
    match value {
        body::Value::Hcl(expression) => {
            expression.as_array()?.iter().map(|one| one.as_variable().map(ToString::to_string)).collect()
        }
        body::Value::Json(node) => match &node.value {
            Markup::List(items) => items.iter().map(Node::name).collect(),
            _ => None,
        },
    }
}

fn word(value: &body::Value) -> Option<String> {
    match value {
        body::Value::Hcl(expression) => expression.as_variable().map(ToString::to_string),
        body::Value::Json(node) => node.name(),
    }
}

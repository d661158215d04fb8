//! Evaluates expressions of HCL.

mod template;
mod traversal;

use std::collections::BTreeMap;

use builder::dockerfile::{Source, Span};
use hcl_edit::Span as _;
use hcl_edit::expr::{
    BinaryOperator, Conditional, Expression, ForExpr, FuncCall, Object, ObjectKey, UnaryOperator,
};

use super::body;
use super::fault::{Fault, Result, span};
use super::functions;
use super::markup::{Markup, Node};
use super::types::Type;
use super::value::Value;

/// How deep expressions may be in each other, with those of the variables and functions that they name.
const DEPTH: usize = 400;

/// What names mean outside of an expression.
pub(crate) trait Names {
    /// The value of a variable; `None` if there is none.
    fn variable(&self, name: &str, depth: usize) -> Option<Result<Value>>;
    /// What a field of a block is, or all of it; `None` where `kind` is no kind of block.
    fn block(&self, kind: &str, name: &str, field: Option<&str>, depth: usize) -> Option<Result<Value>>;
    /// What a function of the file gives; `None` if there is none.
    fn call(&self, name: &str, arguments: &[Value], depth: usize) -> Option<Result<Value>>;
    /// The functions that depend on where and when this runs.
    fn surroundings(&self) -> &functions::Surroundings;
    /// All names of variables, or of functions, for suggestions.
    fn known(&self, functions: bool) -> Vec<String>;
}

/// Values that only an expression sees: those of `for`, of parameters, of a matrix.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locals(BTreeMap<String, Value>);

impl Locals {
    /// With one more.
    pub(crate) fn with(&self, name: impl Into<String>, value: Value) -> Self {
        let mut all = self.clone();
        all.0.insert(name.into(), value);
        all
    }
}

/// Evaluates expressions of one file.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    names: &'a dyn Names,
    source: &'a Source,
    /// The place of a text of JSON: what is in it has no places of its own.
    whole: Option<Span>,
    depth: usize,
}

impl<'a> Evaluator<'a> {
    /// An evaluator for a file, in an evaluation that is `depth` names deep.
    pub(crate) fn new(names: &'a dyn Names, source: &'a Source, depth: usize) -> Self {
        Self { names, source, whole: None, depth: depth + 1 }
    }

    /// A value of an attribute.
    pub(crate) fn value(&self, value: &body::Value, locals: &Locals) -> Result<Value> {
        match value {
            body::Value::Hcl(expression) => self.expression(expression, locals),
            body::Value::Json(node) => self.json(node, locals),
        }
    }

    /// Where a value of an attribute stands.
    pub(crate) fn place(value: &body::Value) -> Span {
        match value {
            body::Value::Hcl(expression) => span(expression.span()),
            body::Value::Json(node) => node.span,
        }
    }

    fn json(&self, node: &Node, locals: &Locals) -> Result<Value> {
        Ok(match &node.value {
            Markup::Scalar { plain: true, .. } => node.to_value(),
            Markup::Scalar { text, .. } => self.within(node.span).text(text, locals)?,
            Markup::List(items) => {
                Value::List(items.iter().map(|item| self.json(item, locals)).collect::<Result<_>>()?)
            }
            Markup::Map(fields) => {
                let mut object = BTreeMap::new();
                for (key, value) in fields {
                    let name = self.within(key.span).text(&key.name().unwrap_or_default(), locals)?;
                    let name = name.to_text().map_err(|reason| self.fault(key.span, reason))?;
                    object.insert(name, self.json(value, locals)?);
                }
                Value::Object(object)
            }
        })
    }

    /// A text that is a template.
    fn text(&self, text: &str, locals: &Locals) -> Result<Value> {
        if !text.contains("${") && !text.contains("%{") {
            return Ok(Value::text(text));
        }
        let template = hcl_edit::parser::parse_template(text).map_err(|error| {
            self.fault(Span::default(), format!("this is no template: {}", error.message()))
        })?;
        self.template(&template, locals)
    }

    fn within(&self, span: Span) -> Self {
        Self { whole: Some(span), ..*self }
    }

    fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        Fault::at(self.source, self.whole.unwrap_or(span), message)
    }

    /// The value of an expression.
    pub(crate) fn expression(&self, expression: &Expression, locals: &Locals) -> Result<Value> {
        if self.depth > DEPTH {
            return Err(self
                .fault(span(expression.span()), "expressions and the names in them are nested too deeply"));
        }
        let deeper = Self { depth: self.depth + 1, ..*self };
        deeper.inner(expression, locals)
    }

    fn inner(&self, expression: &Expression, locals: &Locals) -> Result<Value> {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(**value)),
            Expression::Number(number) => Ok(Value::Number(number.as_f64().unwrap_or(f64::NAN))),
            Expression::String(text) => Ok(Value::text(text.as_str())),
            Expression::Array(items) => Ok(Value::List(
                items.iter().map(|item| self.expression(item, locals)).collect::<Result<_>>()?,
            )),
            Expression::Object(object) => self.object(object, locals),
            Expression::StringTemplate(template) => self.template(template, locals),
            Expression::HeredocTemplate(heredoc) => self.template(&heredoc.template, locals),
            Expression::Parenthesis(inner) => self.expression(inner.inner(), locals),
            Expression::Variable(name) => self.variable(name.as_str(), span(name.span()), locals),
            Expression::Conditional(conditional) => self.conditional(conditional, locals),
            Expression::FuncCall(call) => self.call(call, locals),
            Expression::Traversal(traversal) => self.traversal(traversal, locals),
            Expression::UnaryOp(operation) => {
                let value = self.expression(&operation.expr, locals)?;
                let place = || span(operation.expr.span());
                match *operation.operator {
                    UnaryOperator::Neg => value.to_number().map(|number| Value::Number(-number)),
                    UnaryOperator::Not => value.to_bool().map(|value| Value::Bool(!value)),
                }
                .map_err(|reason| self.fault(place(), reason))
            }
            Expression::BinaryOp(operation) => {
                let left = self.expression(&operation.lhs_expr, locals)?;
                let right = self.expression(&operation.rhs_expr, locals)?;
                let place = span(expression.span()).to(span(operation.rhs_expr.span()));
                binary(*operation.operator, &left, &right).map_err(|reason| self.fault(place, reason))
            }
            Expression::ForExpr(expression) => self.for_each(expression, locals),
        }
    }

    fn object(&self, object: &Object, locals: &Locals) -> Result<Value> {
        let mut fields = BTreeMap::new();
        for (key, value) in object {
            let name = match key {
                ObjectKey::Ident(name) => name.to_string(),
                // A name alone is itself; in parentheses it is a variable.
                ObjectKey::Expression(Expression::Variable(name)) => name.to_string(),
                ObjectKey::Expression(expression) => self.name(expression, locals)?,
            };
            fields.insert(name, self.expression(value.expr(), locals)?);
        }
        Ok(Value::Object(fields))
    }

    fn name(&self, expression: &Expression, locals: &Locals) -> Result<String> {
        let value = self.expression(expression, locals)?;
        value.to_text().map_err(|reason| self.fault(span(expression.span()), reason))
    }

    fn variable(&self, name: &str, place: Span, locals: &Locals) -> Result<Value> {
        if let Some(value) = locals.0.get(name) {
            return Ok(value.clone());
        }
        match self.names.variable(name, self.depth) {
            Some(value) => value.map_err(|fault| fault.or_at(self.source, self.whole.unwrap_or(place))),
            None => {
                let known = self.names.known(false);
                Err(self
                    .fault(place, format!("there is no variable `{name}`"))
                    .meant(name, known.iter().map(String::as_str)))
            }
        }
    }

    fn conditional(&self, conditional: &Conditional, locals: &Locals) -> Result<Value> {
        let value = self.expression(&conditional.cond_expr, locals)?;
        let holds =
            value.to_bool().map_err(|reason| self.fault(span(conditional.cond_expr.span()), reason))?;
        self.expression(if holds { &conditional.true_expr } else { &conditional.false_expr }, locals)
    }

    fn call(&self, call: &FuncCall, locals: &Locals) -> Result<Value> {
        let name = call.name.name.as_str();
        let place = span(call.name.name.span());
        if call.name.is_namespaced() {
            return Err(self.fault(place, "functions have no namespaces here"));
        }
        // These look at their arguments before they have values.
        match name {
            "try" => return self.first_good(call, place, locals),
            "can" => {
                let [argument] = call.args.iter().collect::<Vec<_>>()[..] else {
                    return Err(self.fault(place, "`can` takes one argument"));
                };
                return Ok(Value::Bool(self.expression(argument, locals).is_ok()));
            }
            "convert" => {
                let [value, wanted] = call.args.iter().collect::<Vec<_>>()[..] else {
                    return Err(self.fault(place, "`convert` takes a value and a type"));
                };
                let wanted =
                    Type::of_expression(wanted).map_err(|reason| self.fault(span(wanted.span()), reason))?;
                let value = self.expression(value, locals)?;
                return wanted.convert(value).map_err(|reason| self.fault(place, reason));
            }
            _ => {}
        }
        let mut arguments =
            call.args.iter().map(|one| self.expression(one, locals)).collect::<Result<Vec<_>>>()?;
        if call.args.expand_final() {
            match arguments.pop() {
                Some(Value::List(items)) => arguments.extend(items),
                _ => return Err(self.fault(place, "what stands before `...` is no list")),
            }
        }
        if let Some(value) = self.names.call(name, &arguments, self.depth) {
            return value.map_err(|fault| fault.or_at(self.source, self.whole.unwrap_or(place)));
        }
        let whole = place.to(span(Expression::FuncCall(Box::new(call.clone())).span()));
        match functions::call(name, &arguments, self.names.surroundings()) {
            Some(value) => value.map_err(|reason| self.fault(whole, format!("`{name}`: {reason}"))),
            None => {
                let own = self.names.known(true);
                let fault = self.fault(place, format!("there is no function `{name}`"));
                let mut known: Vec<&str> = functions::names().collect();
                known.extend(own.iter().map(String::as_str));
                Err(fault.meant(name, known))
            }
        }
    }

    fn first_good(&self, call: &FuncCall, place: Span, locals: &Locals) -> Result<Value> {
        let mut last = self.fault(place, "`try` takes an argument at least");
        for argument in &call.args {
            match self.expression(argument, locals) {
                Ok(value) => return Ok(value),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    fn for_each(&self, expression: &ForExpr, locals: &Locals) -> Result<Value> {
        let intro = &expression.intro;
        let collection = self.expression(&intro.collection_expr, locals)?;
        let pairs =
            pairs(collection).map_err(|reason| self.fault(span(intro.collection_expr.span()), reason))?;
        let mut list = Vec::new();
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, value) in pairs {
            let mut locals = locals.with(intro.value_var.as_str(), value);
            if let Some(name) = &intro.key_var {
                locals = locals.with(name.as_str(), key);
            }
            if let Some(condition) = &expression.cond {
                let holds = self.expression(&condition.expr, &locals)?;
                if !holds.to_bool().map_err(|reason| self.fault(span(condition.expr.span()), reason))? {
                    continue;
                }
            }
            let value = self.expression(&expression.value_expr, &locals)?;
            let Some(key) = &expression.key_expr else {
                list.push(value);
                continue;
            };
            let name = self.name(key, &locals)?;
            let group = groups.entry(name.clone()).or_default();
            if !expression.grouping && !group.is_empty() {
                let message = format!("`{name}` comes a second time; `...` after the value gathers them");
                return Err(self.fault(span(key.span()), message));
            }
            group.push(value);
        }
        if expression.key_expr.is_none() {
            return Ok(Value::List(list));
        }
        let fields = groups.into_iter().map(|(name, mut values)| {
            let value = if expression.grouping { None } else { values.pop() };
            (name, value.unwrap_or(Value::List(values)))
        });
        Ok(Value::Object(fields.collect()))
    }
}

/// The elements of a list or an object with their keys.
fn pairs(collection: Value) -> Result<Vec<(Value, Value)>, String> {
    match collection {
        Value::List(items) => {
            Ok(items.into_iter().enumerate().map(|(at, item)| (Value::from(at), item)).collect())
        }
        Value::Object(fields) => {
            Ok(fields.into_iter().map(|(name, value)| (Value::String(name), value)).collect())
        }
        other => Err(format!("a list or an object is needed, and this is {}", other.kind())),
    }
}

fn binary(operator: BinaryOperator, left: &Value, right: &Value) -> Result<Value, String> {
    use BinaryOperator::{And, Div, Eq, Greater, GreaterEq, Less, LessEq, Minus, Mod, Mul, NotEq, Or, Plus};
    match operator {
        Eq => return Ok(Value::Bool(left == right)),
        NotEq => return Ok(Value::Bool(left != right)),
        And => return Ok(Value::Bool(left.to_bool()? && right.to_bool()?)),
        Or => return Ok(Value::Bool(left.to_bool()? || right.to_bool()?)),
        _ => {}
    }
    let (left, right) = (left.to_number()?, right.to_number()?);
    Ok(match operator {
        Plus => Value::Number(left + right),
        Minus => Value::Number(left - right),
        Mul => Value::Number(left * right),
        Div | Mod if right == 0.0 => return Err("this divides by zero".to_owned()),
        Div => Value::Number(left / right),
        Mod => Value::Number(left % right),
        Less => Value::Bool(left < right),
        LessEq => Value::Bool(left <= right),
        Greater => Value::Bool(left > right),
        GreaterEq => Value::Bool(left >= right),
        Eq | NotEq | And | Or => Value::Null,
    })
}

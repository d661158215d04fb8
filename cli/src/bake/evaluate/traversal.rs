//! What is in a value: `.name`, `[index]`, `.*` and `[*]`.

use builder::dockerfile::Span;
use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};

use super::super::fault::{Result, span};
use super::super::functions;
use super::super::value::Value;
use super::{Evaluator, Locals};

impl Evaluator<'_> {
    /// What `.name`, `[index]` and `[*]` lead to.
    pub(super) fn traversal(&self, traversal: &Traversal, locals: &Locals) -> Result<Value> {
        let operators: Vec<(&TraversalOperator, Span)> =
            traversal.operators.iter().map(|one| (&**one, span(one.span()))).collect();
        if let Expression::Variable(root) = &traversal.expr
            && !locals.0.contains_key(root.as_str())
            && let Some((first, _)) = operators.first()
            && let Some(block) = self.step_name(first, locals)
        {
            let field = operators.get(1).and_then(|(second, _)| self.step_name(second, locals));
            if let Some(value) = self.names.block(root.as_str(), &block, field.as_deref(), self.depth) {
                let place = self.whole.unwrap_or(span(root.span()));
                let value = value.map_err(|fault| fault.or_at(self.source, place))?;
                return self.steps(value, &operators[1 + usize::from(field.is_some())..], locals);
            }
        }
        let value = self.expression(&traversal.expr, locals)?;
        self.steps(value, &operators, locals)
    }

    /// The name of a step that has one: `.name` or `["name"]`.
    fn step_name(&self, operator: &TraversalOperator, locals: &Locals) -> Option<String> {
        match operator {
            TraversalOperator::GetAttr(name) => Some(name.to_string()),
            TraversalOperator::Index(expression) => match self.expression(expression, locals) {
                Ok(Value::String(name)) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    fn steps(
        &self,
        mut value: Value,
        operators: &[(&TraversalOperator, Span)],
        locals: &Locals,
    ) -> Result<Value> {
        for (number, (operator, place)) in operators.iter().enumerate() {
            let step = match operator {
                TraversalOperator::GetAttr(name) => Value::text(name.as_str()),
                TraversalOperator::Index(expression) => self.expression(expression, locals)?,
                TraversalOperator::LegacyIndex(index) => Value::Number(**index as f64),
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let items = match value {
                        Value::List(items) => items,
                        Value::Null => Vec::new(),
                        one => vec![one],
                    };
                    let rest = &operators[number + 1..];
                    let items = items.into_iter().map(|item| self.steps(item, rest, locals));
                    return Ok(Value::List(items.collect::<Result<_>>()?));
                }
            };
            value = functions::element(&value, &step).map_err(|reason| self.fault(*place, reason))?;
        }
        Ok(value)
    }
}

//! Templates: texts with `${…}` and `%{…}` in them.

use hcl_edit::Span as _;
use hcl_edit::template::{Directive, Element, Strip, Template};

use super::super::fault::{Result, span};
use super::super::value::Value;
use super::{Evaluator, Locals, pairs};

/// What the mark `~` takes away.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

impl Evaluator<'_> {
    /// What a template comes to. One that is nothing but `${…}` is that value, of whatever kind.
    pub(super) fn template(&self, template: &Template, locals: &Locals) -> Result<Value> {
        if let Some(Element::Interpolation(only)) = template.as_single_element() {
            return self.expression(&only.expr, locals);
        }
        self.written(template, locals).map(Value::String)
    }

    fn written(&self, template: &Template, locals: &Locals) -> Result<String> {
        let mut text = String::new();
        // Where the text begins that a mark may take space from, and whether the next one loses its own.
        let (mut literal, mut eat) = (0, false);
        for element in template {
            let (before, after) = strips(element);
            if before {
                text.truncate(literal + text[literal..].trim_end_matches(SPACE).len());
            }
            literal = text.len();
            match element {
                Element::Literal(written) => {
                    text += if eat { written.trim_start_matches(SPACE) } else { written.as_str() };
                }
                Element::Interpolation(part) => {
                    let value = self.expression(&part.expr, locals)?;
                    text += &value.to_text().map_err(|reason| self.fault(span(part.expr.span()), reason))?;
                }
                Element::Directive(directive) => text += &self.directive(directive, locals)?,
            }
            if !element.is_literal() {
                literal = text.len();
            }
            eat = after;
        }
        Ok(text)
    }

    fn directive(&self, directive: &Directive, locals: &Locals) -> Result<String> {
        match directive {
            Directive::If(chosen) => {
                let condition = &chosen.if_expr.cond_expr;
                let holds = self.expression(condition, locals)?;
                let holds = holds.to_bool().map_err(|reason| self.fault(span(condition.span()), reason))?;
                let inner = if holds {
                    let end = chosen.else_expr.as_ref().map_or(chosen.endif_expr.strip, |other| other.strip);
                    Some((&chosen.if_expr.template, chosen.if_expr.strip, end))
                } else {
                    chosen
                        .else_expr
                        .as_ref()
                        .map(|other| (&other.template, other.strip, chosen.endif_expr.strip))
                };
                let Some((template, start, end)) = inner else { return Ok(String::new()) };
                Ok(stripped(&self.written(template, locals)?, start, end))
            }
            Directive::For(each) => {
                let intro = &each.for_expr;
                let collection = self.expression(&intro.collection_expr, locals)?;
                let place = span(intro.collection_expr.span());
                let pairs = pairs(collection).map_err(|reason| self.fault(place, reason))?;
                let mut text = String::new();
                for (key, value) in pairs {
                    let mut locals = locals.with(intro.value_var.as_str(), value);
                    if let Some(name) = &intro.key_var {
                        locals = locals.with(name.as_str(), key);
                    }
                    let one = self.written(&intro.template, &locals)?;
                    text += &stripped(&one, intro.strip, each.endfor_expr.strip);
                }
                Ok(text)
            }
        }
    }
}

/// Whether an element takes the space before and after it away.
fn strips(element: &Element) -> (bool, bool) {
    let (first, last) = match element {
        Element::Literal(_) => return (false, false),
        Element::Interpolation(part) => (part.strip, part.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(chosen) => (chosen.if_expr.strip, chosen.endif_expr.strip),
            Directive::For(each) => (each.for_expr.strip, each.endfor_expr.strip),
        },
    };
    (first.strip_start(), last.strip_end())
}

/// What stands between two directives: the end of the first and the start of the second take space away.
fn stripped(text: &str, first: Strip, second: Strip) -> String {
    let text = if first.strip_end() { text.trim_start_matches(SPACE) } else { text };
    if second.strip_start() { text.trim_end_matches(SPACE) } else { text }.to_owned()
}

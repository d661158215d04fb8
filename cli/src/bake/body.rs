//! The blocks and attributes of a bake file, whether it is written in HCL or in JSON.

use builder::dockerfile::{Source, Span};
use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Body as HclBody, Structure};

use super::fault::{Fault, Result, span};
use super::markup::{Markup, Node};

/// What stands between the braces of a block, or in a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    /// `name = value`, in the order of the file.
    pub(crate) attributes: Vec<Attribute>,
    /// `kind "label" { … }`
    pub(crate) blocks: Vec<Block>,
}

/// `name = value`
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    /// Its name.
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) span: Span,
    /// Its value, not evaluated.
    pub(crate) value: Value,
    /// The file.
    pub(crate) source: Source,
}

/// `kind "label" { … }`
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// `target`, `group`, `variable` and the like.
    pub(crate) kind: String,
    /// Its label; empty for a block that has none.
    pub(crate) label: String,
    /// Where the label stands, or the kind.
    pub(crate) span: Span,
    /// Where the kind stands.
    pub(crate) kind_span: Span,
    /// What it holds.
    pub(crate) body: Body,
    /// The file.
    pub(crate) source: Source,
}

/// A value that is not evaluated.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// An expression.
    Hcl(Box<Expression>),
    /// JSON, whose texts are templates.
    Json(Node),
}

/// The kinds of blocks that a file may hold.
const KINDS: [&str; 4] = ["group", "target", "variable", "function"];

impl Body {
    /// The last attribute of a name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().rev().find(|one| one.name == name)
    }

    /// Reads a file in HCL.
    pub(crate) fn of_hcl(source: &Source) -> Result<Self> {
        let body = hcl_edit::parser::parse_body(&source.text).map_err(|error| {
            let at = error.location().offset();
            let line = source.line_span(source.line(at));
            let message = error.message().trim_end_matches('.').replace('\n', ", ");
            Fault::at(source, Span::new(at, line.end.max(at)), format!("this is no HCL: {message}"))
        })?;
        Self::hcl(source, &body)
    }

    fn hcl(source: &Source, body: &HclBody) -> Result<Self> {
        let mut read = Self::default();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => read.attributes.push(Attribute {
                    name: attribute.key.to_string(),
                    span: span(attribute.key.span()),
                    value: Value::Hcl(Box::new(attribute.value.clone())),
                    source: source.clone(),
                }),
                Structure::Block(block) => {
                    let place = block.labels.first().map_or_else(|| block.ident.span(), hcl_edit::Span::span);
                    if block.labels.len() > 1 {
                        return Err(Fault::at(source, span(place), "a block has one label"));
                    }
                    read.blocks.push(Block {
                        kind: block.ident.to_string(),
                        label: block
                            .labels
                            .first()
                            .map(|label| label.as_str().to_owned())
                            .unwrap_or_default(),
                        span: span(place),
                        kind_span: span(block.ident.span()),
                        body: Self::hcl(source, &block.body)?,
                        source: source.clone(),
                    });
                }
            }
        }
        Ok(read)
    }

    /// Reads a file in JSON.
    pub(crate) fn of_json(source: &Source) -> Result<Self> {
        // YAML has room for more than JSON.
        serde_json::from_str::<serde::de::IgnoredAny>(&source.text).map_err(|error| {
            let line = source.line_span(error.line());
            let at = (line.start + error.column().saturating_sub(1)).min(line.end);
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Fault::at(source, Span::new(at, at + 1), format!("this is no JSON: {message}"))
        })?;
        let mut read = Self::default();
        for object in super::markup::parse(source)?.iter().flat_map(each) {
            for (key, node) in object.fields() {
                let kind = key.name().unwrap_or_default();
                if KINDS.contains(&kind.as_str()) {
                    read.blocks.extend(labelled(source, &kind, node)?);
                } else if kind != "//" {
                    read.attributes.push(attribute(source, key, node));
                }
            }
        }
        Ok(read)
    }

    fn json(source: &Source, node: &Node) -> Self {
        let mut read = Self::default();
        for (key, node) in node.fields() {
            let name = key.name().unwrap_or_default();
            if name == "validation" {
                read.blocks.extend(each(node).map(|one| Block {
                    kind: name.clone(),
                    label: String::new(),
                    span: key.span,
                    kind_span: key.span,
                    body: Self::json(source, one),
                    source: source.clone(),
                }));
            } else if name != "//" {
                read.attributes.push(attribute(source, key, node));
            }
        }
        read
    }
}

fn attribute(source: &Source, key: &Node, node: &Node) -> Attribute {
    let name = key.name().unwrap_or_default();
    Attribute { name, span: key.span, value: Value::Json(node.clone()), source: source.clone() }
}

/// The blocks of `"target": {"label": { … }}`, where a list may stand for each level.
fn labelled(source: &Source, kind: &str, node: &Node) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for (key, node) in each(node).flat_map(Node::fields).filter(|(key, _)| !key.is("//")) {
        for one in each(node) {
            if !matches!(one.value, Markup::Map(_)) {
                let message = format!("the {kind} `{}` is no object", key.name().unwrap_or_default());
                return Err(Fault::at(source, one.span, message));
            }
            blocks.push(Block {
                kind: kind.to_owned(),
                label: key.name().unwrap_or_default(),
                span: key.span,
                kind_span: key.span,
                body: Body::json(source, one),
                source: source.clone(),
            });
        }
    }
    Ok(blocks)
}

/// A node, or the nodes of a list.
fn each(node: &Node) -> std::slice::Iter<'_, Node> {
    match &node.value {
        Markup::List(items) => items.iter(),
        _ => std::slice::from_ref(node).iter(),
    }
}

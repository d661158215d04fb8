//! YAML, and JSON as the part of it that it is, as a tree whose every node knows its place.

use std::collections::HashMap;
use std::sync::Arc;

use builder::dockerfile::{Source, Span};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::fault::{Fault, Result};
use super::value::Value;

/// How deep lists and maps may be in each other.
const DEPTH: usize = 64;
/// How many nodes a file may have with all its aliases written out.
const NODES: usize = 200_000;

/// A node and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) value: Markup,
    /// The file that it stands in.
    pub(crate) source: Arc<Source>,
    /// Where it is there.
    pub(crate) span: Span,
    /// Its tag without the mark, `reset` of `!reset` for instance.
    pub(crate) tag: Option<String>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Markup {
    /// A text; without quotes it may be a number, a bool or null.
    Scalar {
        /// The text.
        text: String,
        /// Whether it has no quotes.
        plain: bool,
    },
    /// Several nodes.
    List(Vec<Node>),
    /// Nodes by name, in the order of the file.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// A node in the place of this one.
    pub(crate) fn with(&self, value: Markup) -> Self {
        Self { value, source: self.source.clone(), span: self.span, tag: None }
    }

    /// What is wrong here.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(&self.source, self.span, message)
    }

    /// The node of a name.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.fields().iter().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    /// The fields of a map; of anything else none.
    pub(crate) fn fields(&self) -> &[(Self, Self)] {
        match &self.value {
            Markup::Map(fields) => fields,
            _ => &[],
        }
    }

    /// Whether it is this text.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(&self.value, Markup::Scalar { text, .. } if text == wanted)
    }

    /// Whether it is nothing.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.scalar(), Some(Value::Null))
    }

    /// What it is, where it is neither list nor map.
    pub(crate) fn scalar(&self) -> Option<Value> {
        match &self.value {
            Markup::Scalar { text, plain: true } => Some(plain(text)),
            Markup::Scalar { text, .. } => Some(Value::text(text)),
            _ => None,
        }
    }

    /// As a value.
    pub(crate) fn to_value(&self) -> Value {
        match &self.value {
            Markup::List(items) => Value::List(items.iter().map(Self::to_value).collect()),
            Markup::Map(fields) => Value::Object(
                fields.iter().filter_map(|(key, value)| Some((key.name()?, value.to_value()))).collect(),
            ),
            Markup::Scalar { .. } => self.scalar().unwrap_or(Value::Null),
        }
    }

    /// As the name of a field.
    pub(crate) fn name(&self) -> Option<String> {
        match &self.value {
            Markup::Scalar { text, .. } => Some(text.clone()),
            _ => None,
        }
    }
}

/// What a text without quotes is, by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    let radix = |prefix: &str, radix| {
        digits.strip_prefix(prefix).and_then(|rest| u32::from_str_radix(rest, radix).ok())
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Value::Number(number.into());
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'));
    match text.parse::<f64>() {
        // A number that a float cannot hold stays what was written.
        Ok(number) if numeric && number.abs() < 1e15 => Value::Number(number),
        _ => Value::text(text),
    }
}

/// Reads a document; `None` where there is nothing.
pub(crate) fn parse(source: &Source) -> Result<Option<Node>> {
    let text: &str = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let places = Places::of(source, source.text.len() - text.len());
    let shared = Arc::new(source.clone());
    let mut builder =
        Builder { source, shared, anchors: HashMap::new(), open: Vec::new(), root: None, nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = places.byte(*error.marker());
            let line = source.line_span(source.line(at));
            Fault::at(source, Span::new(at, line.end.max(at)), format!("this is no YAML: {}", error.info()))
        })?;
        let span = Span::new(places.byte(span.start), places.byte(span.end));
        if !builder.take(event, span)? {
            break;
        }
    }
    Ok(builder.root)
}

/// From the parser's characters to bytes.
struct Places {
    bytes: Vec<usize>,
    end: usize,
}

impl Places {
    fn of(source: &Source, start: usize) -> Self {
        let bytes = source.text[start..].char_indices().map(|(at, _)| start + at).collect();
        Self { bytes, end: source.text.len() }
    }

    fn byte(&self, marker: Marker) -> usize {
        self.bytes.get(marker.index()).copied().unwrap_or(self.end)
    }
}

/// A list or map that is not over yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<Node>,
}

struct Builder<'a> {
    source: &'a Source,
    shared: Arc<Source>,
    anchors: HashMap<usize, Node>,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    /// Takes an event; whether there is more to come.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<bool> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.as_ref().is_none_or(|tag| tag.suffix != "str");
                let value = Markup::Scalar { text: text.into_owned(), plain };
                self.put(self.node(value, span, tag.as_deref()), anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                let node = self.node(Markup::List(Vec::new()), span, tag.as_deref());
                self.begin(node, anchor)?;
            }
            Event::MappingStart(anchor, tag) => {
                let node = self.node(Markup::Map(Vec::new()), span, tag.as_deref());
                self.begin(node, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.open.pop() {
                    open.node.span.end = span.end.max(open.node.span.end);
                    self.put(open.node, open.anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::at(self.source, span, "this alias has no anchor"));
                };
                node.span = span;
                self.nodes += count(&node);
                self.put(node, 0)?;
            }
            Event::DocumentEnd => return Ok(false),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(true)
    }

    fn node(&self, value: Markup, span: Span, tag: Option<&Tag>) -> Node {
        Node { value, source: self.shared.clone(), span, tag: tag.map(|tag| tag.suffix.clone()) }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<()> {
        if self.open.len() >= DEPTH {
            return Err(Fault::at(
                self.source,
                node.span,
                format!("this is nested deeper than {DEPTH} levels"),
            ));
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// Puts a finished node into the one that is open.
    fn put(&mut self, node: Node, anchor: usize) -> Result<()> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(Fault::at(self.source, node.span, format!("the file has more than {NODES} values")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node).filter(|node| !node.is_null());
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Markup::List(items), _) => items.push(node),
            (Markup::Map(_), None) => open.key = Some(node),
            (Markup::Map(fields), Some(key)) => {
                let name = key.name();
                if name.is_some() && fields.iter().any(|(known, _)| known.name() == name) {
                    let name = name.unwrap_or_default();
                    return Err(Fault::at(
                        self.source,
                        key.span,
                        format!("`{name}` stands here a second time"),
                    ));
                }
                fields.push((key, node));
            }
            (Markup::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Markup::Scalar { .. } => 1,
        Markup::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Markup::Map(fields) => 1 + fields.iter().map(|(_, value)| 1 + count(value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Node>> {
        parse(&Source::new("compose.yaml", text))
    }

    #[test]
    fn values_and_places() {
        let text = "é: &a\n  b: [1, 1.50, \"2\", null, yes]\nc: *a\n";
        let node = read(text).unwrap().unwrap();
        let json = node.to_value().to_json();
        assert_eq!(json["c"]["b"].to_string(), r#"[1,1.5,"2",null,"yes"]"#);
        let (key, list) = &node.field("é").unwrap().fields()[0];
        assert_eq!((key.span.start, &text[list.span.range()]), (9, "[1, 1.50, \"2\", null, yes]"));
    }

    #[test]
    fn what_is_not_read() {
        for text in ["a: [", "a: 1\na: 2\n", "a: *b", "a: b: c"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("").unwrap().is_none() && read("# nothing\n").unwrap().is_none());
        assert!(read(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_err());
        let mut laughs = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..30 {
            laughs += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
        }
        assert!(read(&laughs).is_err());
    }
}

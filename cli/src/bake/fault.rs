//! What is wrong with a bake file, and where.

use std::ops::Range;

use builder::dockerfile::{Level, Source, Span};

use crate::failure::Failure;
use crate::place;

/// The result of reading bake files.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// One mistake.
#[derive(Debug, Clone)]
pub(crate) struct Fault(Box<Mistake>);

#[derive(Debug, Clone)]
struct Mistake {
    message: String,
    help: Option<String>,
    place: Option<(Source, Span)>,
}

impl Fault {
    /// A mistake that stands nowhere: one sentence without a full stop, names in backquotes.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Mistake { message: message.into(), help: None, place: None }))
    }

    /// A mistake in a file.
    pub(crate) fn at(source: &Source, span: impl Into<Span>, message: impl Into<String>) -> Self {
        Self::new(message).or_at(source, span)
    }

    /// With a place, unless it has one that is nearer.
    pub(crate) fn or_at(mut self, source: &Source, span: impl Into<Span>) -> Self {
        self.0.place.get_or_insert_with(|| (source.clone(), span.into()));
        self
    }

    /// With what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// With the name that was probably meant, if one of `known` is near.
    pub(crate) fn meant<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match builder::dockerfile::nearest(name, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let Mistake { message, help, place } = *fault.0;
        let failure = Self::new(&message).hint(help);
        match place {
            Some((source, span)) => {
                let annotation = place::annotation(&source, span, Level::Error, &message);
                failure.detail(place::show(&source, span)).at(annotation)
            }
            None => failure,
        }
    }
}

/// A span of characters that the parser gives, or nothing.
pub(crate) fn span(range: Option<Range<usize>>) -> Span {
    range.map_or_else(Span::default, Span::from)
}

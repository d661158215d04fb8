//! The Dockerfile language, as the `docker/dockerfile` frontend 1.26 understands it.
//!
//! [`parse`] turns a text into a typed [`Dockerfile`] and recovers from errors, so that one pass
//! reports all of them. Variables stay unexpanded in the tree, because their values depend on the
//! state of a stage; whoever builds the graph calls [`expand`](mod@expand) then.

pub mod ast;
mod diagnostic;
mod directives;
pub mod expand;
mod flags;
pub mod globals;
mod heredoc;
mod instructions;
mod lines;
pub mod lint;
pub mod mount;
mod parse;
pub mod port;
pub mod print;
pub mod raw;
mod source;
pub mod stages;
mod suggest;
pub mod values;
mod words;

pub use ast::*;
pub use diagnostic::{Diagnostic, Level};
pub use parse::{parse, parse_trigger};
pub use source::{Source, Span, decode};
pub use suggest::nearest;

//! The Dockerfile language, as the `docker/dockerfile` frontend 1.26 understands it.
//!
//! [`parse`] turns a text into a typed [`Dockerfile`] and recovers from errors, so that one pass
//! reports all of them. Variables stay unexpanded in the tree, because their values depend on the
//! state of a stage; whoever builds the graph calls [`expand`](mod@expand) then.

pub mod ast;
mod diagnostic;
pub mod expand;
pub mod heredoc;
pub mod mount;
mod source;

pub use ast::*;
pub use diagnostic::{Diagnostic, Level};
pub use source::{Source, Span};

/// Parses a Dockerfile. Whatever could be understood is in the tree; if any diagnostic is an
/// error, the tree is not fit to build from.
pub fn parse(source: &Source) -> (Dockerfile, Vec<Diagnostic>) {
    let _ = source;
    unimplemented!("the parser lands next")
}

//! COPY, ADD and WORKDIR as pure computation: from a source tree, what is selected of it and a view of the
//! destination to the entries of a new layer. No mount, no namespace, no privilege, no write to the store but for
//! the spool of a compressed archive.
//!
//! The rules are BuildKit's (`solver/llbsolver/file`, `tonistiigi/fsutil/copy`, `moby/go-archive`), which work on
//! mounted directories; here the same steps are taken, in the same order, on a draft: the view with what the
//! instruction has changed so far. Where we mean to differ, `docs/differences.md` says so.

mod archive;
mod contents;
mod contexts;
mod digest;
mod draft;
mod error;
mod glob;
mod missing;
mod mode;
pub(crate) mod path;
mod patterns;
mod place;
mod request;
mod select;
mod tree;

pub use contexts::layer_of_archive;
pub use error::CopyError;
pub use mode::{InvalidMode, ModeChange, Step};
pub use place::{entries, workdir};
pub use request::{Owner, Request};
pub use select::{Fetched, Selection, Source, select};

pub(crate) use archive::{Opened, as_layer, begins_an_archive};
use patterns::Patterns;
pub(crate) use tree::{Body, Detail, Identity, Node, Tree, Xattrs, counts};

#[cfg(test)]
mod tests;

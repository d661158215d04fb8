//! COPY, ADD and WORKDIR as pure computation: from a source tree, what is selected of it and a view of the
//! destination to the entries of a new layer. No mount, no namespace, no privilege, no write to the store.
//!
//! The rules are BuildKit's (`solver/llbsolver/file`, `tonistiigi/fsutil/copy`, `moby/go-archive`), which work on
//! mounted directories; here the same steps are taken, in the same order, on a [`draft::Draft`]: the view with what
//! the instruction has changed so far. Where we mean to differ, `docs/differences.md` says so.

mod error;
mod mode;
mod request;
mod select;

pub use error::CopyError;
pub use mode::{InvalidMode, ModeChange};
pub use request::{Owner, Request};
pub use select::{Fetched, Selection, Source, entries, select, workdir};

//! Directories of `RUN --mount=type=cache` that travel with a shared cache. Each is one layer under the key that the
//! directory has in the store.

use std::path::Path;

use layer_store::layer::Form;
use layer_store::{Digest, Store, View};

use super::Exported;
use crate::context::LocalContext;
use crate::copy::{self, Owner, Request, Source};
use crate::error::Result;

/// Makes a layer of a cache directory. Everything in it belongs to the owner that the mount gives it: which other owners
/// files have is known only inside the sandbox. Blocks.
pub(crate) fn export(store: &Store, key: Digest, name: &str, path: &Path, owner: Owner) -> Result<Exported> {
    let context = LocalContext::open(path, None)?;
    let request = Request {
        sources: vec![".".to_owned()],
        destination: "/".to_owned(),
        owner: Some(owner),
        ..Request::default()
    };
    let selection = copy::select(Source::Context(&context), &request)?;
    let entries = copy::entries(store, &selection, &View::default(), &request)?;
    let diff_id = store.write_layer(entries, Form::Tar)?;
    Ok(Exported {
        node: None,
        key,
        diff_id,
        created: crate::image::now(),
        name: format!("cache mount {name}"),
    })
}

/// Fills an empty cache directory from a layer. Blocks.
pub(crate) fn import(store: &Store, view: &View, path: &Path) -> Result<()> {
    crate::output::directory::write(store, crate::output::flat::entries(view, b"", None), path)
}

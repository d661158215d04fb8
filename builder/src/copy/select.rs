//! From sources and patterns to what will be copied, and on to the entries of a layer.

use std::fs::File;
use std::sync::Arc;

use layer_store::layer::NewEntry;
use layer_store::{Digest, Store, View};

use super::{CopyError, Owner, Request};
use crate::context::LocalContext;

/// Where COPY and ADD read from.
#[derive(Clone)]
pub enum Source<'a> {
    /// The build context, or a named one. [`Request::sources`] are resolved in it.
    Context(&'a LocalContext),
    /// `--from`: the filesystem of a stage or image. [`Request::sources`] are resolved in it.
    View(&'a Store, &'a View),
    /// Heredocs: name and bytes of each. [`Request::sources`] play no part.
    Inline(Vec<(String, Vec<u8>)>),
    /// A file that was fetched from a URL.
    Fetched(Fetched),
    /// A git checkout: all of it, its own directory metadata included.
    Checkout(&'a LocalContext),
}

/// A file that came from a URL.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The name it gets in a destination directory (the last part of the URL's path, or `__unnamed__`).
    pub name: String,
    /// Its bytes.
    pub file: Arc<File>,
    /// How many.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// Seconds since the epoch: `Last-Modified`, or 0.
    pub mtime: i64,
}

/// What will be copied, in order. Borrows the source.
#[derive(Debug)]
pub struct Selection<'a> {
    source: std::marker::PhantomData<&'a ()>,
}

impl<'a> Selection<'a> {
    /// Adds what another source gives: COPY with paths and heredocs, ADD with paths and URLs.
    pub fn append(&mut self, other: Selection<'a>) {
        let _ = other;
    }

    /// The content key: two selections with one digest give the same layer on the same destination, but for times.
    /// Owners do not count under `--chown`, nor mode bits that `--chmod` decides. Reads files that the stat index
    /// does not know.
    pub fn digest(&self, request: &Request) -> Result<Digest, CopyError> {
        let _ = request;
        unimplemented!()
    }

    /// A key that costs no reading: files of a view count by layer and path. `None` for a context, where
    /// [`Selection::digest`] is cheap enough. Equal keys mean equal content; different ones mean nothing.
    #[must_use]
    pub fn cheap_key(&self, request: &Request) -> Option<Digest> {
        let _ = request;
        unimplemented!()
    }

    /// Whether the files are still what they were when they were selected: to be asked after the layer was written
    /// and before it is remembered under [`Selection::digest`].
    pub fn verify(&self) -> Result<(), CopyError> {
        unimplemented!()
    }
}

/// What `request` selects from `source`.
///
/// # Errors
///
/// A missing source without wildcards, a malformed pattern, a symlink loop, a source that cannot be read.
pub fn select<'a>(source: Source<'a>, request: &Request) -> Result<Selection<'a>, CopyError> {
    let _ = (source, request);
    unimplemented!()
}

/// The entries of the layer that copying `selection` to `destination` makes: with the directories on the way, so that
/// the layer stands alone. `store` is where archives are spooled.
pub fn entries(
    store: &Store,
    selection: &Selection<'_>,
    destination: &View,
    request: &Request,
) -> Result<Vec<NewEntry>, CopyError> {
    let _ = (store, selection, destination, request);
    unimplemented!()
}

/// WORKDIR: the entries that make `path` a directory, with all parents, mode 0755, owned by `owner`. What exists is
/// left as it is; nothing to make is no entry.
pub fn workdir(
    destination: &View,
    path: &str,
    owner: Option<Owner>,
    mtime: i64,
) -> Result<Vec<NewEntry>, CopyError> {
    let _ = (destination, path, owner, mtime);
    unimplemented!()
}

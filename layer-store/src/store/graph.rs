//! What a manifest leads to.

use std::collections::HashSet;

use crate::manifest::{ManifestContent, media_type};
use crate::{Descriptor, Digest, Error, Manifest, Result, Store};

/// A manifest or index is at most this long, in bytes: registries refuse longer ones.
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;

/// Indexes are nested at most this deep. Nobody nests them more than twice.
const DEPTH: usize = 8;

/// All that a manifest or index leads to, each digest once.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// What is here, in the order of the manifests, each before what it names. Blobs are here by name and size; only
    /// manifests were read and so verified.
    pub(crate) present: Vec<Descriptor>,
    /// What is not.
    pub(crate) missing: Vec<Descriptor>,
    /// What is not, and need not be: images of an index that was taken over in part, and layers that say where they
    /// are to be fetched from.
    pub(crate) elsewhere: Vec<Descriptor>,
}

impl Store {
    /// Follows `top`, a manifest, an index or a plain blob, through all that is here.
    ///
    /// # Errors
    ///
    /// A manifest on the way is malformed, its bytes do not have its digest, or it is nested too deeply.
    pub(crate) fn closure(&self, top: &Descriptor) -> Result<Closure> {
        let mut walk = Walk { store: self, seen: HashSet::new(), found: Closure::default() };
        walk.visit(top, false, 0)?;
        Ok(walk.found)
    }

    /// As [`Store::closure`], where all has to be here.
    ///
    /// # Errors
    ///
    /// Also [`Error::Missing`].
    pub(crate) fn complete_closure(&self, top: &Descriptor) -> Result<Vec<Descriptor>> {
        let Closure { present, missing, .. } = self.closure(top)?;
        match missing.first() {
            Some(first) => Err(Error::Missing { what: "blob", digest: first.digest }),
            None => Ok(present),
        }
    }

    /// The manifest or index that a descriptor names.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::DigestMismatch`], [`Error::Malformed`].
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest> {
        let raw = self.read_blob(&descriptor.digest, MANIFEST_LIMIT)?;
        Manifest::parse(raw, Some(&descriptor.media_type))
    }
}

struct Walk<'a> {
    store: &'a Store,
    seen: HashSet<Digest>,
    found: Closure,
}

impl Walk<'_> {
    fn visit(&mut self, one: &Descriptor, optional: bool, depth: usize) -> Result<()> {
        if !self.seen.insert(one.digest) {
            return Ok(());
        }
        let list = match self.store.blob_size(&one.digest)? {
            Some(size) if size == one.size => &mut self.found.present,
            _ if optional => &mut self.found.elsewhere,
            _ => &mut self.found.missing,
        };
        list.push(one.clone());
        if self.found.present.last().is_none_or(|last| last.digest != one.digest)
            || !media_type::is_manifest(&one.media_type)
        {
            return Ok(());
        }
        if depth == DEPTH {
            let reason = format!("{} is nested more than {DEPTH} deep", one.digest);
            return Err(Error::Malformed { what: "image index", reason });
        }
        match self.store.manifest(one)?.content {
            ManifestContent::Image { config, layers, .. } => {
                self.visit(&config, false, depth + 1)?;
                for layer in &layers {
                    self.visit(layer, !layer.urls.is_empty(), depth + 1)?;
                }
            }
            ManifestContent::Index { manifests, .. } => {
                for manifest in &manifests {
                    self.visit(manifest, true, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

//! OCI image layouts (image-spec `image-layout.md`), as directories and as tar streams.
//!
//! Writing streams from the store: no copy is made, memory does not depend on the images, and every blob is verified
//! as it goes out. The same images give the same bytes: entries come in the order of the manifests, headers hold no
//! time, owner or machine.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};

use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::manifest::annotation;
use crate::{Descriptor, Error, Manifest, Platform, Result, Store};

mod blobs;
mod directory;
pub(crate) mod read;
pub(crate) mod ustar;
pub(crate) mod write;

pub use directory::{create_directory, write_directory};
pub use read::LayoutDirectory;
pub use write::write_tar;

/// An image that is written to a layout or archive. All that its manifest leads to has to be in the store.
#[derive(Debug, Clone)]
pub struct ExportImage {
    /// The manifest, or an index of several platforms; its own bytes need not be in the store.
    pub manifest: Manifest,
    /// The platform, which a layout says beside the manifest.
    pub platform: Option<Platform>,
    /// Canonical names (`docker.io/library/app:1.0`), or bare tags. An image without one is written without.
    pub names: Vec<String>,
}

/// What is written, in order.
pub(crate) struct Plan {
    /// `index.json`.
    pub(crate) index: Manifest,
    /// All blobs, each before what it names, each once.
    pub(crate) blobs: Vec<Descriptor>,
}

impl Plan {
    pub(crate) fn new(store: &Store, images: &[ExportImage]) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut plan = Self { index: Manifest::index(list(images), BTreeMap::new()), blobs: Vec::new() };
        for image in images {
            // Small, and then all that follows has one place to look.
            store.put_blob(&image.manifest.raw)?;
            let top = image.manifest.descriptor();
            let blobs = store.complete_closure(&top)?;
            plan.blobs.extend(blobs.into_iter().filter(|blob| seen.insert(blob.digest)));
        }
        Ok(plan)
    }
}

/// The descriptors of `index.json`: one for each name.
pub(crate) fn list(images: &[ExportImage]) -> Vec<Descriptor> {
    let names = || images.iter().flat_map(|image| &image.names);
    let mut list = Vec::new();
    for image in images {
        let mut plain = image.manifest.descriptor();
        plain.platform.clone_from(&image.platform);
        plain.artifact_type = image.manifest.artifact_type();
        list.extend(image.names.iter().map(|name| {
            // Layouts call their images by tag, as BuildKit and Docker do, as long as that tells them apart.
            let tag = tag(name);
            let unique = names().filter(|other| self::tag(other) == tag).count() == 1;
            let reference = tag.filter(|_| unique).unwrap_or(name);
            let mut named = plain.clone();
            named.annotations.insert(annotation::REF_NAME.to_owned(), reference.to_owned());
            // A bare tag is no name of an image.
            if name.contains('/') {
                named.annotations.insert(annotation::IMAGE_NAME.to_owned(), name.clone());
            }
            named
        }));
        if image.names.is_empty() {
            list.push(plain);
        }
    }
    list
}

/// The tag of a canonical name.
fn tag(name: &str) -> Option<&str> {
    let (_, last) = name.rsplit_once('/').unwrap_or(("", name));
    last.split('@').next()?.split_once(':').map(|(_, tag)| tag)
}

/// Copies a blob of the store and verifies it on the way.
pub(crate) fn copy_verified(store: &Store, blob: &Descriptor, output: &mut dyn Write) -> Result<()> {
    let path = store.blob_path(&blob.digest);
    let mut input = store.open_blob(&blob.digest)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = input.read(&mut buffer).context("read", &path)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        if hasher.bytes() > blob.size {
            break;
        }
        output.write_all(&buffer[..read]).map_err(|source| Error::Write { source })?;
    }
    if hasher.bytes() != blob.size {
        let actual = hasher.bytes();
        return Err(Error::SizeMismatch { digest: blob.digest, expected: blob.size, actual });
    }
    let actual = hasher.finish();
    if actual != blob.digest {
        return Err(Error::DigestMismatch { what: "blob", expected: blob.digest, actual });
    }
    Ok(())
}

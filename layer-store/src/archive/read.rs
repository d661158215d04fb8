//! Reads what `docker save` and writers of OCI layouts write, in one pass.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::Item;
use crate::layer::{Compression, Limits, decompress};
use crate::layout::read::parse_index;
use crate::manifest::{DOCUMENT_LIMIT, ManifestContent, annotation, media_type};
use crate::store::graph::MANIFEST_LIMIT;
use crate::store::root_layout::check_marker;
use crate::{Descriptor, Digest, Error, ImageConfig, Manifest, Result, Store};

/// An archive has at most this many entries.
const ENTRIES: usize = 100_000;

/// A link leads to a link at most this often.
const HOPS: usize = 8;

/// An image that was taken into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its manifest or index, which is a blob of the store.
    pub manifest: Manifest,
    /// The names that the archive gives it, as they stand there: canonical or as people write them.
    pub names: Vec<String>,
}

/// Takes the images of an archive into the store: Docker's, old and new, or the tar of an OCI layout; also gzip'd or
/// zstd'd as a whole. Nothing is unpacked: layers become blobs as they are. Streams; memory does not depend on the
/// images. What the archive holds beside its images is left to the next collection.
///
/// # Errors
///
/// [`Error::Read`] when the tar is damaged, [`Error::Malformed`] when a document is, [`Error::Missing`] when something
/// that one names is not there, [`Error::DigestMismatch`] when it is something else.
pub fn read(store: &Store, input: &mut dyn Read) -> Result<Vec<LoadedImage>> {
    let source = |source| Error::Read { source };
    let mut input = decompress(input, Limits::default()).map_err(source)?;
    let mut contents = Contents::default();
    let mut archive = tar::Archive::new(&mut input);
    for (count, entry) in archive.entries().map_err(source)?.enumerate() {
        if count >= ENTRIES {
            return Err(malformed(format!("it has more than {ENTRIES} entries")));
        }
        contents.take(store, &mut entry.map_err(source)?)?;
    }
    // Checksums come last, and whoever writes into a pipe wants to be read to the end.
    io::copy(&mut input, &mut io::sink()).map_err(source)?;
    contents.images(store)
}

fn malformed(reason: String) -> Error {
    Error::Malformed { what: "image archive", reason }
}

/// What an archive has, by normalised path.
#[derive(Default)]
struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Descriptor>,
    links: BTreeMap<String, String>,
}

impl Contents {
    fn take<R: Read>(&mut self, store: &Store, entry: &mut tar::Entry<'_, R>) -> Result<()> {
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(path) = normal(&raw) else {
            return Err(Error::Entry { entry: raw, reason: "it leads out of the archive".to_owned() });
        };
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target);
            // Old archives hold equal layers once, and lead there by `../<id>/layer.tar`.
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let target =
                if kind.is_symlink() { normal(&format!("{parent}/{target}")) } else { normal(&target) };
            self.links.extend(target.map(|target| (path, target)));
        } else if matches!(path.as_str(), "manifest.json" | "index.json" | "oci-layout") {
            let mut bytes = Vec::new();
            let mut limited = entry.take(MANIFEST_LIMIT + 1);
            limited.read_to_end(&mut bytes).map_err(|source| Error::Read { source })?;
            if bytes.len() as u64 > MANIFEST_LIMIT {
                return Err(malformed(format!("`{path}` is larger than {MANIFEST_LIMIT} bytes")));
            }
            self.documents.insert(path, bytes);
        } else if kind.is_file() && !path.ends_with("/json") && !path.ends_with("VERSION") {
            let digest = path.strip_prefix("blobs/sha256/").and_then(|hex| Digest::from_hex(hex).ok());
            let blob = match digest {
                Some(digest) => {
                    let blob = Descriptor::new("", digest, entry.size());
                    store.take_in(&blob, entry)?;
                    blob
                }
                None => store.put_stream(entry)?,
            };
            self.blobs.insert(path, blob);
        }
        Ok(())
    }

    fn images(self, store: &Store) -> Result<Vec<LoadedImage>> {
        match (self.documents.get("index.json"), self.documents.get("manifest.json")) {
            (Some(index), _) if self.documents.contains_key("oci-layout") => self.of_layout(store, index),
            (_, Some(manifest)) => self.of_docker(store, manifest),
            _ => Err(malformed("it has neither a manifest.json nor an OCI layout".to_owned())),
        }
    }

    fn of_layout(&self, store: &Store, index: &[u8]) -> Result<Vec<LoadedImage>> {
        check_marker(self.documents.get("oci-layout").map_or(&[], Vec::as_slice))?;
        let ManifestContent::Index { manifests, .. } = parse_index(index.to_vec())?.content else {
            return Err(malformed("index.json is not an index".to_owned()));
        };
        let mut images: Vec<LoadedImage> = Vec::new();
        for descriptor in manifests {
            let name = descriptor.annotations.get(annotation::IMAGE_NAME);
            // A reference alone is often a bare tag, which says nothing about the image.
            let reference =
                descriptor.annotations.get(annotation::REF_NAME).filter(|text| text.contains('/'));
            let names: Vec<_> = name.or(reference).cloned().into_iter().collect();
            if let Some(same) = images.iter_mut().find(|image| image.manifest.digest() == descriptor.digest) {
                same.names.extend(names);
                continue;
            }
            store.complete_closure(&descriptor)?;
            images.push(LoadedImage { manifest: store.manifest(&descriptor)?, names });
        }
        Ok(images)
    }

    fn of_docker(&self, store: &Store, manifest: &[u8]) -> Result<Vec<LoadedImage>> {
        let items: Vec<Item> = serde_json::from_slice(manifest)
            .map_err(|error| Error::Malformed { what: "manifest.json", reason: error.to_string() })?;
        items.iter().map(|item| self.of_item(store, item)).collect()
    }

    fn of_item(&self, store: &Store, item: &Item) -> Result<LoadedImage> {
        let mut config = self.blob(&item.config)?.clone();
        media_type::OCI_CONFIG.clone_into(&mut config.media_type);
        let bytes = store.read_blob(&config.digest, DOCUMENT_LIMIT)?;
        let parsed = ImageConfig::from_slice(&bytes)
            .map_err(|error| Error::Malformed { what: "image configuration", reason: error.to_string() })?;
        let (paths, diff_ids) = (item.layers.as_deref().unwrap_or_default(), parsed.rootfs.diff_ids);
        if paths.len() != diff_ids.len() {
            let reason =
                format!("`{}` has {} layers, but {} are there", item.config, diff_ids.len(), paths.len());
            return Err(malformed(reason));
        }
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(&diff_ids) {
            let mut layer = self.blob(path)?.clone();
            layer.media_type = compression(store, &layer)?.media_type().to_owned();
            // Of a compressed layer the diffID shows when it is applied.
            if layer.media_type == media_type::OCI_LAYER && layer.digest != *diff_id {
                let actual = layer.digest;
                return Err(Error::DigestMismatch { what: "layer", expected: *diff_id, actual });
            }
            if layer.digest == *diff_id {
                store.remember_blob(diff_id, &layer)?;
            } else {
                store.claim_blob(diff_id, &layer)?;
            }
            layers.push(layer);
        }
        let manifest = Manifest::image(config, layers, BTreeMap::new());
        store.put_blob(&manifest.raw)?;
        Ok(LoadedImage { manifest, names: item.repo_tags.clone().unwrap_or_default() })
    }

    fn blob(&self, path: &str) -> Result<&Descriptor> {
        let missing = || malformed(format!("`{path}` is not there"));
        let mut at = normal(path).ok_or_else(missing)?;
        for _ in 0..=HOPS {
            match (self.blobs.get(&at), self.links.get(&at)) {
                (Some(blob), _) => return Ok(blob),
                (None, Some(target)) => at.clone_from(target),
                (None, None) => return Err(missing()),
            }
        }
        Err(malformed(format!("`{path}` leads from link to link")))
    }
}

/// How a layer is compressed, by what it begins with.
fn compression(store: &Store, layer: &Descriptor) -> Result<Compression> {
    let mut magic = Vec::new();
    let file = store.open_blob(&layer.digest)?;
    file.take(4).read_to_end(&mut magic).map_err(|source| Error::Read { source })?;
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Compression::Gzip(6),
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd(3),
        _ => Compression::None,
    })
}

/// A path without `.`, `..` and double slashes; `None` when it leads out.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

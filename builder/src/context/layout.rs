//! An OCI layout in a directory as a further context: `oci-layout://PATH[:TAG][@DIGEST]`.

use std::fmt;
use std::path::PathBuf;

use layer_store::layout::LayoutDirectory;
use layer_store::manifest::{DOCUMENT_LIMIT, ManifestContent, annotation, media_type};
use layer_store::{Descriptor, Digest, Manifest, Platform, Store};

use crate::dockerfile::nearest;
use crate::error::{Error, Result};
use crate::resolve::Resolved;
use crate::stored::take_in;

/// An image of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayoutSource {
    /// The directory that holds the layout.
    pub path: PathBuf,
    /// The name of the image in `index.json`; `latest` where none is written, or the only image.
    pub tag: Option<String>,
    /// The image by what it is; the tag is of no account then.
    pub digest: Option<Digest>,
}

impl LayoutSource {
    /// Reads what follows `oci-layout://`, as buildx does: a digest after `@`, a tag after the last `:` that has no
    /// slash behind it.
    ///
    /// # Errors
    ///
    /// A digest that is none, and no path.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let parsed = digest.parse::<Digest>();
                (rest, Some(parsed.map_err(|error| Error::invalid(format!("`{digest}`: {error}")))?))
            }
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (rest, None),
        };
        if path.is_empty() || tag.as_deref() == Some("") {
            return Err(Error::Invalid {
                message: format!("`oci-layout://{text}` names no layout"),
                help: Some("the form is `oci-layout://PATH[:TAG][@DIGEST]`".to_owned()),
            });
        }
        Ok(Self { path: PathBuf::from(path), tag, digest })
    }

    /// Takes the image for `platform` into the store: its documents and its layers. Blocks.
    ///
    /// # Errors
    ///
    /// A layout that cannot be read or does not have the image, or has no image for the platform.
    pub(crate) fn resolve(&self, store: &Store, platform: &Platform) -> Result<Resolved> {
        let layout = LayoutDirectory::open(&self.path)?;
        let top = self.find(layout.descriptors())?;
        let chosen = self.for_platform(store, &layout, &top, platform)?;
        layout.import(store, &chosen)?;
        let raw = store.read_blob(&chosen.digest, DOCUMENT_LIMIT)?;
        let manifest = Manifest::parse(raw, Some(&chosen.media_type))?;
        take_in(store, &self.to_string(), &manifest)
    }

    /// The descriptor that is meant.
    fn find(&self, descriptors: &[Descriptor]) -> Result<Descriptor> {
        if let Some(digest) = self.digest {
            let named = descriptors.iter().find(|one| one.digest == digest).cloned();
            // One that only a nested index names is looked for by its bytes.
            return Ok(named.unwrap_or_else(|| Descriptor::new(media_type::OCI_MANIFEST, digest, 0)));
        }
        let name = |one: &Descriptor, key: &str| one.annotations.get(key).cloned();
        let wanted = self.tag.as_deref().unwrap_or("latest");
        let is_wanted = |one: &&Descriptor| {
            [annotation::REF_NAME, annotation::IMAGE_NAME].iter().any(|key| {
                name(one, key).is_some_and(|name| name == wanted || name.ends_with(&format!(":{wanted}")))
            })
        };
        if let Some(found) = descriptors.iter().find(is_wanted) {
            return Ok(found.clone());
        }
        if let ([only], None) = (descriptors, &self.tag) {
            return Ok(only.clone());
        }
        let tags: Vec<String> =
            descriptors.iter().filter_map(|one| name(one, annotation::REF_NAME)).collect();
        let help = match nearest(wanted, tags.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if tags.is_empty() => "its images have no names; write `@DIGEST`".to_owned(),
            None => format!("it has `{}`", tags.join("`, `")),
        };
        let message = format!("the OCI layout `{}` has no image `{wanted}`", self.path.display());
        Err(Error::Invalid { message, help: Some(help) })
    }

    /// The image for the platform where the descriptor is an index, else the image itself.
    fn for_platform(
        &self,
        store: &Store,
        layout: &LayoutDirectory,
        top: &Descriptor,
        platform: &Platform,
    ) -> Result<Descriptor> {
        let mut chosen = top.clone();
        // Indexes in indexes are allowed; nobody nests them deeply.
        for _ in 0..4 {
            let raw = layout.read(&chosen, DOCUMENT_LIMIT)?;
            let raw = raw.ok_or_else(|| self.bad(&format!("`{}` is not in it", chosen.digest)))?;
            let manifest = Manifest::parse(raw, None)?;
            let described = manifest.descriptor();
            let ManifestContent::Index { manifests, .. } = &manifest.content else { return Ok(described) };
            store.put_blob(&manifest.raw)?;
            let distance = |one: &Descriptor| one.platform.as_ref()?.distance(platform);
            let near = manifests.iter().filter_map(|one| Some((distance(one)?, one)));
            let best = near.min_by_key(|(distance, _)| *distance).map(|(_, one)| one);
            chosen = best
                .or(manifests.first().filter(|_| manifests.len() == 1))
                .cloned()
                .ok_or_else(|| self.bad(&format!("it has no image for `{platform}`")))?;
        }
        Err(self.bad("its indexes are nested too deeply"))
    }

    fn bad(&self, reason: &str) -> Error {
        Error::BadImage { name: self.to_string(), reason: reason.to_owned() }
    }
}

impl fmt::Display for LayoutSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-layout://{}", self.path.display())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let digest = Digest::of(b"");
        for (text, path, tag, has_digest) in [
            ("/a/b", "/a/b", None, false),
            ("a:1.0", "a", Some("1.0"), false),
            ("./a:b/c", "./a:b/c", None, false),
            (&format!("a@{digest}"), "a", None, true),
            (&format!("a:1@{digest}"), "a", Some("1"), true),
        ] {
            let source = LayoutSource::parse(text).unwrap();
            assert_eq!((source.path.to_str(), source.tag.as_deref()), (Some(path), tag), "{text}");
            assert_eq!(source.digest.is_some(), has_digest);
            assert_eq!(source.to_string(), format!("oci-layout://{text}"));
        }
        for wrong in ["", ":1", "a@sha256:12", "a:"] {
            assert!(LayoutSource::parse(wrong).is_err(), "{wrong}");
        }
    }
}

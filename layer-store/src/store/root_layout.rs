//! The store's root as an OCI layout, so that other tools read it in place.

use std::collections::BTreeMap;
use std::io;

use super::ImageRecord;
use super::graph::Closure;
use super::writing::Sync;
use crate::error::IoContext as _;
use crate::manifest::annotation;
use crate::{Descriptor, Digest, Error, Manifest, Result, Store};

/// The one version of the layout that there is (image-spec `image-layout.md`).
pub(crate) const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

impl Store {
    /// Makes `oci-layout` and `index.json` unless they are there.
    pub(super) fn prepare_layout(&self) -> Result<()> {
        let marker = self.root.join("oci-layout");
        match std::fs::read(&marker) {
            Ok(bytes) => check_marker(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.write_whole(&marker, LAYOUT_FILE, Sync::Whole)?;
            }
            Err(error) => return Err(error).context("read", marker),
        }
        if !self.root.join("index.json").exists() {
            self.refresh_layout()?;
        }
        Ok(())
    }

    /// Writes `index.json` anew from the named images: those that have a manifest, and all that it names is here.
    pub(super) fn refresh_layout(&self) -> Result<()> {
        // Whoever comes second sees what the first has tagged.
        let _lock = self.lock("layout", &Digest::of(b"index.json"))?;
        let mut manifests = Vec::new();
        for record in self.images()? {
            let index = record.index.as_ref().map(|index| self.listed(&record, index, true));
            // It stands for all its images where all of them are here.
            if let Some(index) = index.transpose()?.flatten() {
                manifests.push(index);
                continue;
            }
            for manifest in record.platforms.iter().filter_map(|image| image.manifest.as_ref()) {
                manifests.extend(self.listed(&record, manifest, false)?);
            }
        }
        let index = Manifest::index(manifests, BTreeMap::new());
        let path = self.root.join("index.json");
        if std::fs::read(&path).is_ok_and(|bytes| bytes == index.raw) {
            return Ok(());
        }
        self.write_whole(&path, &index.raw, Sync::Whole)
    }

    /// The entry of a manifest or index; `None` unless all that it names is here, and of one that is to be `whole` what
    /// it need not have, too.
    fn listed(
        &self,
        record: &ImageRecord,
        descriptor: &Descriptor,
        whole: bool,
    ) -> Result<Option<Descriptor>> {
        match self.closure(descriptor) {
            Ok(Closure { missing, elsewhere, .. })
                if missing.is_empty() && (!whole || elsewhere.is_empty()) => {}
            // What is not here in whole or is broken is not listed; `check` tells about it.
            Err(error @ Error::Io { .. }) => return Err(error),
            _ => return Ok(None),
        }
        let mut listed = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
        listed.platform.clone_from(&descriptor.platform);
        listed.annotations.insert(annotation::REF_NAME.to_owned(), record.name.clone());
        listed.annotations.insert(annotation::IMAGE_NAME.to_owned(), record.name.clone());
        Ok(Some(listed))
    }
}

/// Whether an `oci-layout` file is of the version that this program knows.
pub(crate) fn check_marker(bytes: &[u8]) -> Result<()> {
    let malformed = |reason: String| Error::Malformed { what: "oci-layout file", reason };
    let layout =
        oci_spec::image::OciLayout::from_reader(bytes).map_err(|error| malformed(error.to_string()))?;
    if layout.image_layout_version() != "1.0.0" {
        return Err(malformed(format!("version {} is not supported", layout.image_layout_version())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;
    use crate::manifest::media_type;
    use crate::store::PlatformImage;

    fn record(store: &Store, name: &str, with_layer: bool) -> ImageRecord {
        let put = |kind: &str, bytes: &[u8]| {
            Descriptor::new(kind, store.put_blob(bytes).unwrap(), bytes.len() as u64)
        };
        let config = put(media_type::OCI_CONFIG, b"{}");
        let layer = if with_layer {
            put(media_type::OCI_LAYER, b"layer")
        } else {
            Descriptor::new(media_type::OCI_LAYER, Digest::of(b"far away"), 8)
        };
        let manifest = Manifest::image(config.clone(), vec![layer], BTreeMap::new());
        store.put_blob(&manifest.raw).unwrap();
        let platform = PlatformImage { config, manifest: Some(manifest.descriptor()), origin: None };
        let tagged = "2026-01-01T00:00:00Z".to_owned();
        ImageRecord { name: name.to_owned(), platforms: vec![platform], index: None, tagged }
    }

    #[test]
    fn names_come_and_go_and_the_layout_lists_the_complete_ones() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let names = ["docker.io/library/b:1", "docker.io/library/a:1", "../../etc/passwd"];
        for name in names {
            store.tag(&record(&store, name, name != "docker.io/library/b:1")).unwrap();
        }
        let listed: Vec<_> = store.images().unwrap().into_iter().map(|image| image.name).collect();
        assert_eq!(listed, ["../../etc/passwd", "docker.io/library/a:1", "docker.io/library/b:1"]);
        let index = || oci_spec::image::ImageIndex::from_file(dir.path().join("index.json")).unwrap();
        let refs = |index: &oci_spec::image::ImageIndex| -> Vec<String> {
            let annotations = index.manifests().iter().filter_map(|one| one.annotations().as_ref());
            annotations.map(|all| all[annotation::REF_NAME].clone()).collect()
        };
        assert_eq!(refs(&index()), ["../../etc/passwd", "docker.io/library/a:1"]);
        assert!(store.untag("../../etc/passwd").unwrap());
        assert!(!store.untag("../../etc/passwd").unwrap());
        assert_eq!(refs(&index()), ["docker.io/library/a:1"]);
        assert_eq!(store.image("docker.io/library/a:1").unwrap().unwrap().platforms.len(), 1);
        assert!(store.image("nobody").unwrap().is_none());
    }

    #[test]
    fn a_layout_of_the_future_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        let error = Store::open(dir.path(), StoreOptions::default()).err().unwrap();
        assert!(error.to_string().contains("2.0.0"), "{error}");
    }
}

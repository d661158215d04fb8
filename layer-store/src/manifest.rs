//! Descriptors, image manifests and indexes on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Platform, Result};

/// The largest manifest, index or configuration that is read into memory, in bytes. The distribution specification asks
/// registries for 4 MiB.
pub const DOCUMENT_LIMIT: u64 = 16 << 20;

/// Media types of documents and layers.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, uncompressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, uncompressed.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker layer, zstd. Docker's own list does not have it; BuildKit writes it.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// Docker layer that is to be fetched from its own place, gzip.
    pub const DOCKER_FOREIGN_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    /// Whether that is an image manifest or an index, OCI's or Docker's.
    #[must_use]
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | OCI_INDEX | DOCKER_MANIFEST | DOCKER_INDEX)
    }

    /// OCI's name for what Docker calls `media_type`; any other is returned as it is. The bytes of layers and
    /// configurations are the same under both names, those of manifests are not: they carry their own name.
    #[must_use]
    pub fn oci(media_type: &str) -> &str {
        match media_type {
            DOCKER_CONFIG => OCI_CONFIG,
            DOCKER_LAYER => OCI_LAYER,
            DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
            DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
            DOCKER_FOREIGN_LAYER_GZIP => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            other => other,
        }
    }

    /// Docker's name for what OCI calls `media_type`; any other is returned as it is.
    #[must_use]
    pub fn docker(media_type: &str) -> &str {
        match media_type {
            OCI_CONFIG => DOCKER_CONFIG,
            OCI_LAYER => DOCKER_LAYER,
            OCI_LAYER_GZIP => DOCKER_LAYER_GZIP,
            OCI_LAYER_ZSTD => DOCKER_LAYER_ZSTD,
            other => other,
        }
    }

    /// Whether a layer of this type is to be fetched from its own place and not to be passed on.
    #[must_use]
    pub fn is_foreign(media_type: &str) -> bool {
        media_type.contains("nondistributable") || media_type.contains("rootfs.foreign")
    }
}

/// Keys of annotations.
pub mod annotation {
    /// The name of a manifest in an OCI layout; a tag, or whatever the layout's tools look for.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full name of an image, as containerd and BuildKit write it beside [`REF_NAME`].
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
}

/// Names content by media type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Other places to fetch them from (foreign layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What an artifact is, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor without annotations, platform and urls.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }
}

/// A manifest as it came or will be sent: its exact bytes, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The exact bytes.
    pub raw: Vec<u8>,
    /// What they say.
    pub content: ManifestContent,
    /// Their media type.
    pub media_type: String,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program has few manifests in memory, and images are most of them"
)]
pub enum ManifestContent {
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, bottom first.
        layers: Vec<Descriptor>,
        /// Free annotations.
        annotations: BTreeMap<String, String>,
    },
    /// Several manifests, one for each platform.
    Index {
        /// The manifests.
        manifests: Vec<Descriptor>,
        /// Free annotations.
        annotations: BTreeMap<String, String>,
    },
}

impl Manifest {
    /// Reads a manifest or index, OCI or Docker. `content_type` is what the registry said, without parameters; it
    /// has to agree with the `mediaType` inside where there is one.
    pub fn parse(raw: Vec<u8>, content_type: Option<&str>) -> Result<Self> {
        wire::parse(raw, content_type)
    }

    /// An OCI image manifest of these parts. The same parts always give the same bytes.
    #[must_use]
    pub fn image(config: Descriptor, layers: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        wire::write(media_type::OCI_MANIFEST, ManifestContent::Image { config, layers, annotations })
    }

    /// An OCI image index of these parts. The same parts always give the same bytes.
    #[must_use]
    pub fn index(manifests: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        wire::write(media_type::OCI_INDEX, ManifestContent::Index { manifests, annotations })
    }

    /// This image manifest with other parts: everything else that it says (its family, its subject, fields that nobody
    /// knows) stays. The same parts always give the same bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when this is no image manifest.
    pub fn with_parts(
        &self,
        config: &Descriptor,
        layers: &[Descriptor],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self> {
        wire::replace(self, |object| {
            object.insert("config".to_owned(), wire::value(config));
            object.insert("layers".to_owned(), wire::value(&layers));
            wire::put_annotations(object, annotations);
        })
    }

    /// This index with other entries and annotations: everything else that it says stays.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when this is no index.
    pub fn with_entries(
        &self,
        manifests: &[Descriptor],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self> {
        wire::replace(self, |object| {
            object.insert("manifests".to_owned(), wire::value(&manifests));
            wire::put_annotations(object, annotations);
        })
    }

    /// The digest of the exact bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.raw)
    }

    /// What an artifact says that it is; `None` of an image and of an index.
    #[must_use]
    pub fn artifact_type(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            artifact_type: Option<String>,
        }
        serde_json::from_slice::<Kind>(&self.raw).ok()?.artifact_type
    }

    /// The descriptor that names this manifest.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest(), self.raw.len() as u64)
    }
}

mod wire {
    use super::{
        BTreeMap, Descriptor, Deserialize, Error, Manifest, ManifestContent, Result, Serialize, media_type,
    };

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        schema_version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<Descriptor>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layers: Option<Vec<Descriptor>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifests: Option<Vec<Descriptor>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<BTreeMap<String, String>>,
    }

    pub(super) fn parse(raw: Vec<u8>, content_type: Option<&str>) -> Result<Manifest> {
        let malformed = |reason: String| Error::Malformed { what: "manifest", reason };
        let document: Document =
            serde_json::from_slice(&raw).map_err(|error| malformed(error.to_string()))?;
        if document.schema_version != 2 {
            return Err(malformed(format!("schemaVersion {} is not supported", document.schema_version)));
        }
        let said = content_type.filter(|kind| kind.contains("manifest") || kind.contains("index"));
        if let (Some(inside), Some(outside)) = (document.media_type.as_deref(), said)
            && inside != outside
        {
            return Err(malformed(format!("it came as {outside} but says that it is {inside}")));
        }
        let annotations = document.annotations.unwrap_or_default();
        let (guess, content) = match (document.config, document.layers, document.manifests) {
            (Some(config), layers, None) => {
                let layers = layers.unwrap_or_default();
                (media_type::OCI_MANIFEST, ManifestContent::Image { config, layers, annotations })
            }
            (None, None, Some(manifests)) => {
                (media_type::OCI_INDEX, ManifestContent::Index { manifests, annotations })
            }
            _ => return Err(malformed("it is neither an image manifest nor an index".to_owned())),
        };
        let media_type = document.media_type.as_deref().or(said).unwrap_or(guess).to_owned();
        Ok(Manifest { raw, content, media_type })
    }

    /// The document with some fields replaced. The order of its fields is one and the same for the same input.
    pub(super) fn replace(
        old: &Manifest,
        change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
    ) -> Result<Manifest> {
        let malformed = |reason: String| Error::Malformed { what: "manifest", reason };
        let mut object: serde_json::Map<_, _> =
            serde_json::from_slice(&old.raw).map_err(|error| malformed(error.to_string()))?;
        change(&mut object);
        let raw = serde_json::to_vec(&object).map_err(|error| malformed(error.to_string()))?;
        parse(raw, Some(&old.media_type))
    }

    pub(super) fn value(part: &impl Serialize) -> serde_json::Value {
        // Strings, numbers and ordered maps only, which serde_json cannot refuse.
        serde_json::to_value(part).unwrap_or_default()
    }

    pub(super) fn put_annotations(
        object: &mut serde_json::Map<String, serde_json::Value>,
        annotations: &BTreeMap<String, String>,
    ) {
        if annotations.is_empty() {
            object.remove("annotations");
        } else {
            object.insert("annotations".to_owned(), value(annotations));
        }
    }

    pub(super) fn write(media_type: &str, content: ManifestContent) -> Manifest {
        let (config, layers, manifests, annotations) = match content.clone() {
            ManifestContent::Image { config, layers, annotations } => {
                (Some(config), Some(layers), None, annotations)
            }
            ManifestContent::Index { manifests, annotations } => (None, None, Some(manifests), annotations),
        };
        let document = Document {
            schema_version: 2,
            media_type: Some(media_type.to_owned()),
            config,
            layers,
            manifests,
            annotations: Some(annotations).filter(|map| !map.is_empty()),
        };
        // Strings, numbers and ordered maps only, which serde_json cannot refuse.
        let raw = serde_json::to_vec(&document).unwrap_or_default();
        Manifest { raw, content, media_type: media_type.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::{ImageIndex, ImageManifest, MediaType};

    use super::*;

    #[test]
    fn media_types_are_those_of_the_specification() {
        for (ours, theirs) in [
            (media_type::OCI_MANIFEST, MediaType::ImageManifest),
            (media_type::OCI_INDEX, MediaType::ImageIndex),
            (media_type::OCI_CONFIG, MediaType::ImageConfig),
            (media_type::OCI_LAYER, MediaType::ImageLayer),
            (media_type::OCI_LAYER_GZIP, MediaType::ImageLayerGzip),
            (media_type::OCI_LAYER_ZSTD, MediaType::ImageLayerZstd),
            (
                media_type::oci(media_type::DOCKER_FOREIGN_LAYER_GZIP),
                MediaType::ImageLayerNonDistributableGzip,
            ),
        ] {
            assert_eq!(ours, theirs.to_string());
        }
        assert_eq!(annotation::REF_NAME, oci_spec::image::ANNOTATION_REF_NAME);
    }

    /// A manifest with every field that we write.
    fn manifest() -> Manifest {
        let mut layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"layer"), 5);
        layer.urls.push("https://example.com/layer".to_owned());
        let annotations: BTreeMap<_, _> = (0..30).map(|n| (format!("key-{n}"), format!("\"{n}\n"))).collect();
        layer.annotations.clone_from(&annotations);
        Manifest::image(
            Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"{}"), 2),
            vec![layer],
            annotations,
        )
    }

    #[test]
    fn what_we_write_oci_spec_reads_and_the_other_way_round() {
        let ours = manifest();
        let theirs = ImageManifest::from_reader(&ours.raw[..]).unwrap();
        assert_eq!(theirs.layers()[0].digest().to_string(), Digest::of(b"layer").to_string());
        assert_eq!(theirs.annotations().as_ref().unwrap().len(), 30);
        // Theirs has maps in random order, which our parser does not mind; as a value nothing is lost.
        let back = Manifest::parse(theirs.to_string().unwrap().into_bytes(), None).unwrap();
        assert_eq!(back.content, ours.content);
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(value(&back.raw), value(&ours.raw));

        let index = Manifest::index(vec![ours.descriptor()], BTreeMap::new());
        let theirs = ImageIndex::from_reader(&index.raw[..]).unwrap();
        let back = Manifest::parse(theirs.to_string().unwrap().into_bytes(), None).unwrap();
        assert_eq!(back.content, index.content);
    }

    #[test]
    fn other_parts_leave_the_rest_as_it_was() {
        let raw = br#"{"schemaVersion":2,"subject":{"mediaType":"m","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"config":{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[],"annotations":{"a":"b"},"other":[1]}"#;
        let old = Manifest::parse(raw.to_vec(), Some(media_type::DOCKER_MANIFEST)).unwrap();
        let config = Descriptor::new("d", Digest::of(b"x"), 1);
        let new = old.with_parts(&config, std::slice::from_ref(&config), &BTreeMap::new()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&new.raw).unwrap();
        assert_eq!(value["other"][0], 1);
        assert_eq!(value["subject"]["mediaType"], "m");
        assert_eq!(value["config"]["mediaType"], "d");
        assert_eq!(value.get("annotations"), None);
        assert_eq!(new.media_type, media_type::DOCKER_MANIFEST);
        assert!(old.with_entries(&[config], &BTreeMap::new()).is_err());
    }

    #[test]
    fn the_same_parts_give_the_same_bytes() {
        for _ in 0..20 {
            assert_eq!(manifest().digest(), manifest().digest());
        }
    }

    /// Why `oci_spec` does not write what we hash, and why `olpc_cjson` does not repair it: the one has maps in
    /// random order, the other writes a line break inside a string as it is, which is no JSON.
    #[test]
    fn canonical_json_of_oci_spec_is_stable_but_not_always_json() {
        use serde::Serialize as _;
        let theirs = ImageManifest::from_reader(&manifest().raw[..]).unwrap();
        let canonical = || {
            let mut bytes = Vec::new();
            let formatter = olpc_cjson::CanonicalFormatter::new();
            theirs.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).unwrap();
            bytes
        };
        assert_eq!(canonical(), canonical());
        assert!(serde_json::from_slice::<serde_json::Value>(&canonical()).is_err());
    }
}

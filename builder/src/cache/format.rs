//! Records of a shared cache on the wire.

use std::collections::BTreeMap;

use layer_store::manifest::ManifestContent;
use layer_store::{Descriptor, Digest, Manifest};
use serde::{Deserialize, Serialize};

/// The media type of a configuration that holds records.
pub(super) const CONFIG: &str = "application/vnd.rbuild.cache.config.v1+json";

/// The annotation of an image that carries the records of its own layers.
pub(crate) const INLINE: &str = "dev.rbuild.cache.v1";

/// The most records that an index keeps, the newest. A registry takes manifests up to 4 MiB.
const MOST: usize = 2000;

/// What a step made, and the blob that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The key of the step.
    pub(crate) key: Digest,
    /// The layer.
    pub(crate) diff_id: Digest,
    /// When it was made, RFC 3339.
    pub(crate) created: String,
    /// The step, as people read it.
    pub(crate) name: String,
    /// The blob that holds the layer.
    pub(crate) blob: Descriptor,
}

/// The configuration of a record or an index.
#[derive(Serialize, Deserialize)]
struct Document {
    records: Vec<Record>,
}

/// The manifest of records, and the bytes of its configuration. The same records always give the same bytes.
pub(super) fn manifest(mut records: Vec<Record>) -> (Manifest, Vec<u8>) {
    // The newest stay, then in the order of keys.
    records.sort_by(|one, other| other.created.cmp(&one.created));
    records.truncate(MOST);
    records.sort_by_key(|record| record.key);
    let mut layers: Vec<Descriptor> = Vec::new();
    for record in &records {
        if !layers.iter().any(|layer| layer.digest == record.blob.digest) {
            layers.push(record.blob.clone());
        }
    }
    // Strings and numbers only, which serde_json cannot refuse.
    let bytes = serde_json::to_vec(&Document { records }).unwrap_or_default();
    let config = Descriptor::new(CONFIG, Digest::of(&bytes), bytes.len() as u64);
    (Manifest::image(config, layers, BTreeMap::new()), bytes)
}

/// The records of a configuration. What is damaged has none.
pub(super) fn records(bytes: &[u8]) -> Vec<Record> {
    serde_json::from_slice::<Document>(bytes).map(|document| document.records).unwrap_or_default()
}

/// The value of [`INLINE`] for the records of an image.
pub(crate) fn inline(records: Vec<Record>) -> String {
    serde_json::to_string(&Document { records }).unwrap_or_default()
}

/// The records that an image carries.
pub(super) fn carried(manifest: &Manifest) -> Vec<Record> {
    match &manifest.content {
        ManifestContent::Image { annotations, .. } => {
            annotations.get(INLINE).map(|text| records(text.as_bytes())).unwrap_or_default()
        }
        ManifestContent::Index { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32) -> Record {
        let digest = |kind: &str| Digest::of(format!("{kind} {number}").as_bytes());
        Record {
            key: digest("key"),
            diff_id: digest("layer"),
            created: format!("2026-01-01T00:00:{:02}.{number:06}Z", number % 60),
            name: format!("RUN {number}"),
            blob: Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", digest("blob"), 5),
        }
    }

    #[test]
    fn records_come_back_whatever_their_order() {
        let all: Vec<Record> = (0..100).map(record).collect();
        let (one, bytes) = manifest(all.clone());
        let (other, _) = manifest(all.iter().rev().cloned().collect());
        assert_eq!(one.raw, other.raw);
        let mut back = records(&bytes);
        back.sort_by(|a, b| a.name.cmp(&b.name));
        let mut all = all;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(back, all);
        assert_eq!(records(b"{\"records\":[{}]}"), []);
        assert_eq!(records(b"\xff"), []);
    }

    #[test]
    fn an_index_stays_small() {
        let (index, bytes) = manifest((0..3000).map(record).collect());
        assert_eq!(records(&bytes).len(), MOST);
        assert!(index.raw.len() < 1 << 20, "{}", index.raw.len());
    }

    #[test]
    fn an_image_carries_its_records() {
        let annotations = [(INLINE.to_owned(), inline(vec![record(1)]))].into();
        let config = Descriptor::new(CONFIG, Digest::of(b""), 0);
        assert_eq!(carried(&Manifest::image(config.clone(), Vec::new(), annotations)), [record(1)]);
        assert_eq!(carried(&Manifest::image(config, Vec::new(), BTreeMap::new())), []);
    }
}

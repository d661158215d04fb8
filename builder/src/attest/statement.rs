//! In-toto statements: a predicate, and the manifest that it is about.

use layer_store::{Descriptor, Digest, Platform, Store};
use registry_client::Reference;
use serde_json::{Value, json};

use crate::error::Result;

/// The version of the statement that BuildKit writes, and so every reader knows.
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";
/// The media type of a statement.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation that names the kind of a predicate.
pub(super) const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// SPDX in a statement.
const SPDX: &str = "https://spdx.dev/Document";
/// SLSA provenance.
const SLSA: &str = "https://slsa.dev/provenance/v1";

/// What is said of one image, before its manifest is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statements {
    /// Its bill of materials.
    pub(crate) sbom: Option<Value>,
    /// Its provenance.
    pub(crate) provenance: Option<Value>,
}

impl Statements {
    /// Puts the statements about the manifest of that digest into the store, and names them. The image has these names.
    pub(super) fn keep(
        &self,
        store: &Store,
        about: &Digest,
        names: &[Reference],
        platform: &Platform,
    ) -> Result<Vec<Descriptor>> {
        let names: Vec<String> = match names {
            [] => vec!["_".to_owned()],
            names => names.iter().map(|name| super::subject_name(name, platform)).collect(),
        };
        let subject: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "digest": {"sha256": about.hex()}})).collect();
        let all = [(SPDX, &self.sbom), (SLSA, &self.provenance)];
        let mut kept = Vec::new();
        for (kind, predicate) in all.into_iter().filter_map(|(kind, one)| Some((kind, one.as_ref()?))) {
            let statement = json!({
                "_type": STATEMENT,
                "predicateType": kind,
                "subject": subject,
                "predicate": predicate,
            });
            let bytes = statement.to_string().into_bytes();
            let mut descriptor = Descriptor::new(IN_TOTO, store.put_blob(&bytes)?, bytes.len() as u64);
            descriptor.annotations.insert(PREDICATE_TYPE.to_owned(), kind.to_owned());
            kept.push(descriptor);
        }
        Ok(kept)
    }
}

//! What the tests share: a reporter that remembers, an image that is made up, a store in a temporary directory.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod peer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, Manifest, Store, StoreOptions};
use registry_client::testing::TestRegistry;
use registry_client::{Client, ClientSettings, Reference, Reporter, Transfer};

/// Remembers what it hears.
#[derive(Default)]
pub(crate) struct Remembering {
    pub(crate) transfers: Mutex<Vec<Transfer>>,
    pub(crate) notices: Mutex<Vec<String>>,
}

impl Reporter for Remembering {
    fn transfer(&self, event: Transfer) {
        self.transfers.lock().unwrap().push(event);
    }

    fn notice(&self, text: &str) {
        self.notices.lock().unwrap().push(text.to_owned());
    }
}

impl Remembering {
    pub(crate) fn notices(&self) -> String {
        self.notices.lock().unwrap().join("\n")
    }
}

/// A client that is quick to give up, and what it reports.
pub(crate) fn client(change: impl FnOnce(&mut ClientSettings)) -> (Client, Arc<Remembering>) {
    let mut settings = ClientSettings {
        // Long enough for a machine that compiles something else meanwhile.
        idle_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(3),
        mirror_connect_timeout: Duration::from_secs(1),
        retries: 2,
        ..ClientSettings::default()
    };
    change(&mut settings);
    let reporter = Arc::new(Remembering::default());
    (Client::new(settings, reporter.clone()).unwrap(), reporter)
}

/// A store that goes with the test.
pub(crate) fn store() -> (tempfile::TempDir, Arc<Store>) {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), StoreOptions::default()).unwrap();
    (place, Arc::new(store))
}

/// Bytes that differ by `seed` and do not compress to nothing.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An image whose layers are noise (no client looks inside a layer).
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) manifest: Manifest,
}

impl Image {
    pub(crate) fn new(seed: u64, sizes: &[usize]) -> Self {
        let layers: Vec<Vec<u8>> =
            sizes.iter().zip(0..).map(|(size, n)| noise(seed * 100 + n, *size)).collect();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": { "Labels": { "seed": seed.to_string() } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let descriptor =
            |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
        let manifest = Manifest::image(
            descriptor(media_type::OCI_CONFIG, &config),
            layers.iter().map(|layer| descriptor(media_type::OCI_LAYER, layer)).collect(),
            BTreeMap::new(),
        );
        Self { config, layers, manifest }
    }

    /// Puts it into a test registry.
    pub(crate) fn serve(&self, registry: &TestRegistry, repository: &str, tag: &str) {
        for blob in self.layers.iter().chain([&self.config]) {
            registry.put_blob(repository, blob);
        }
        registry.put_manifest(repository, Some(tag), &self.manifest.media_type, &self.manifest.raw);
    }

    /// Puts it into a store.
    pub(crate) fn keep(&self, store: &Store) {
        for blob in self.layers.iter().chain([&self.config]) {
            store.put_blob(blob).unwrap();
        }
    }

    /// Whether all of it is in the store.
    pub(crate) fn is_in(&self, store: &Store) -> bool {
        self.layers
            .iter()
            .chain([&self.config, &self.manifest.raw])
            .all(|blob| store.read_blob(&Digest::of(blob), 1 << 30).is_ok_and(|found| found == *blob))
    }
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

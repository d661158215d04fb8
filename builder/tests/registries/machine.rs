//! A store of its own, and images that were made without a builder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use builder::dockerfile::Source;
use builder::sandbox::Isolation;
use builder::{BuildRequest, Built, Engine, EngineSettings, Event, Reporter};
use layer_store::manifest::media_type;
use layer_store::store::Durability;
use layer_store::{Descriptor, Digest, Manifest};
use registry_client::testing::TestRegistry;
use registry_client::{Client, ClientSettings};
use tokio_util::sync::CancellationToken;

/// Collects warnings.
#[derive(Default)]
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Those so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Reporter for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// A store, and a client that tries everything twice and no longer.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) warnings: Arc<Warnings>,
    pub(crate) directory: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = EngineSettings {
            store_root: directory.path().join("store"),
            durability: Durability::None,
            isolation: Isolation::Auto,
        };
        let client = ClientSettings {
            retries: 1,
            connect_timeout: Duration::from_secs(5),
            longest_wait: Duration::ZERO,
            ..ClientSettings::default()
        };
        let client = Client::new(client, Arc::new(registry_client::Silent)).unwrap();
        let warnings = Arc::new(Warnings::default());
        let engine = Engine::open(&settings, Arc::new(client), warnings.clone()).unwrap();
        Self { engine, warnings, directory }
    }

    /// Builds.
    pub(crate) async fn build(&self, request: BuildRequest) -> builder::Result<Built> {
        self.engine.build(request, CancellationToken::new()).await
    }
}

/// A request for what a Dockerfile says.
pub(crate) fn request(dockerfile: &str) -> BuildRequest {
    BuildRequest::new(Source::new("Dockerfile", dockerfile))
}

/// Puts an image with one file into a registry, under `team/base:1`. The digest of its layer.
pub(crate) fn put_base(registry: &TestRegistry, file: &str) -> Digest {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(file.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, file, file.as_bytes()).unwrap();
    let tar = tar.into_inner().unwrap();
    let layer = registry.put_blob("team/base", &tar);
    let host = layer_store::Platform::host();
    let config = format!(
        r#"{{"architecture":"{}","os":"{}","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#,
        host.architecture, host.os
    );
    let config_digest = registry.put_blob("team/base", config.as_bytes());
    let manifest = Manifest::image(
        Descriptor::new(media_type::OCI_CONFIG, config_digest, config.len() as u64),
        vec![Descriptor::new(media_type::OCI_LAYER, layer, tar.len() as u64)],
        BTreeMap::new(),
    );
    registry.put_manifest("team/base", Some("1"), &manifest.media_type, &manifest.raw);
    layer
}

//! What builds share: the store, the registry client, the sandbox, and who is told.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use layer_store::store::{Custodian, Durability};
use layer_store::{Store, StoreOptions};
use registry_client::Client;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::error::Result;
use crate::event::Reporter;
use crate::sandbox::{Isolation, SandboxSettings};
use crate::sandbox_handle::SandboxHandle;
use crate::secret::Secrets;
use crate::solve::Surroundings;

/// How an [`Engine`] is opened.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Where the store is.
    pub store_root: PathBuf,
    /// How hard the store tries to survive a power cut.
    pub durability: Durability,
    /// Which isolation commands get.
    pub isolation: Isolation,
}

impl EngineSettings {
    /// A store at `store_root` that survives a power cut, and the best isolation that works.
    #[must_use]
    pub fn at(store_root: impl Into<PathBuf>) -> Self {
        Self {
            store_root: store_root.into(),
            durability: Durability::default(),
            isolation: Isolation::default(),
        }
    }
}

/// Everything that a build works with. Several builds may use one engine at the same time.
#[derive(Clone)]
pub struct Engine {
    /// Blobs, layers, names and records.
    pub store: Arc<Store>,
    /// Registries.
    pub client: Arc<Client>,
    /// Where commands run; nothing is started before the first one.
    pub sandbox: Arc<SandboxHandle>,
    /// Who is told.
    pub reporter: Arc<dyn Reporter>,
}

impl Engine {
    /// Opens the store, making it where there is none. To be called inside a tokio runtime, which later drives the
    /// sandbox.
    pub fn open(settings: &EngineSettings, client: Arc<Client>, reporter: Arc<dyn Reporter>) -> Result<Self> {
        let sandbox = Arc::new(SandboxHandle::new(
            SandboxSettings {
                store_root: settings.store_root.clone(),
                isolation: settings.isolation,
                durability: settings.durability,
            },
            Handle::current(),
        ));
        let custodian: Arc<dyn Custodian> = sandbox.clone();
        let options = StoreOptions {
            durability: settings.durability,
            custodian: Some(custodian),
            ..StoreOptions::default()
        };
        let store = Arc::new(Store::open(&settings.store_root, options)?);
        Ok(Self { store, client, sandbox, reporter })
    }

    /// What a graph of one step is solved with: no contexts, no secrets, nobody who stops it.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            store: self.store.clone(),
            client: self.client.clone(),
            reporter: self.reporter.clone(),
            sandbox: self.sandbox.clone(),
            contexts: HashMap::new(),
            archives: HashMap::new(),
            secrets: Secrets::default(),
            jobs: 1,
            epoch: None,
            on_failure: None,
            cache_ttl: None,
            step_timeout: None,
            budget: Budget::new(self.store.clone(), None),
            shared: None,
            exporter: None,
            cache_mounts: false,
            cancel: CancellationToken::new(),
        }
    }
}

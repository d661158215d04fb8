//! A registry inside the process, for tests: it keeps the distribution specification, remembers every request, and
//! misbehaves where it is told to.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use registry_client::testing::{Action, Fault, TestRegistry};
//!
//! let registry = TestRegistry::start().await?;
//! registry.put_blob("team/app", b"hello");
//! // The first download of a blob breaks after two bytes.
//! registry.inject(Fault::on("GET", "/blobs/").once(Action::CutAfter(2)));
//! # Ok(())
//! # }
//! ```

mod fault;
mod http;
mod serve;
pub mod text;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use layer_store::Digest;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use fault::{Action, Fault};
pub use http::Request;

/// A running registry. It ends when it is dropped.
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Who may use the registry.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Anybody.
    #[default]
    Open,
    /// Whoever sends this user and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// Whoever has a token. `/token` of the same server gives tokens for `pull` to everybody and for `push` to the user.
    Bearer {
        /// The user.
        user: String,
        /// The password, and the refresh token.
        password: String,
        /// How long a token is good for.
        lifetime: Duration,
        /// Whether everybody may pull.
        anonymous_pull: bool,
    },
}

#[derive(Default)]
pub(crate) struct Shared {
    address: Mutex<Option<SocketAddr>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) access: Access,
    pub(crate) repositories: BTreeMap<String, Repository>,
    pub(crate) uploads: HashMap<String, Vec<u8>>,
    pub(crate) tokens: HashMap<String, (Instant, String)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) requests: Vec<Request>,
    pub(crate) next_id: u64,
    pub(crate) page: usize,
    pub(crate) referrers: bool,
    /// How many bytes of bodies were received.
    pub(crate) received: u64,
    /// How many bytes of blobs were sent.
    pub(crate) sent: u64,
}

#[derive(Default)]
pub(crate) struct Repository {
    pub(crate) blobs: HashMap<Digest, Arc<[u8]>>,
    pub(crate) manifests: HashMap<Digest, (String, Arc<[u8]>)>,
    pub(crate) tags: BTreeMap<String, Digest>,
}

impl TestRegistry {
    /// Starts on a free port of 127.0.0.1, empty and open.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        *shared.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(http::connection(stream, Arc::clone(&serving)));
            }
        });
        Ok(Self { address, shared, task })
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:<port><path>`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets who may use it.
    pub fn set_access(&self, access: Access) {
        self.state().access = access;
    }

    /// Lists tags in pages of so many.
    pub fn set_page(&self, tags: usize) {
        self.state().page = tags;
    }

    /// Switches the referrers API on.
    pub fn serve_referrers(&self) {
        self.state().referrers = true;
    }

    /// Adds a fault. The first that fits a request is used.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Stores a blob.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.state()
            .repositories
            .entry(repository.to_owned())
            .or_default()
            .blobs
            .insert(digest, bytes.into());
        digest
    }

    /// Stores a manifest, under a tag if one is given.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::of(bytes);
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(digest, (media_type.to_owned(), bytes.into()));
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest);
        }
        digest
    }

    /// The bytes of a blob, if the repository has it.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        Some(self.state().repositories.get(repository)?.blobs.get(digest)?.to_vec())
    }

    /// The bytes of the manifest under a tag.
    #[must_use]
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let repository = state.repositories.get(repository)?;
        Some(repository.manifests.get(repository.tags.get(tag)?)?.1.to_vec())
    }

    /// All requests so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How many requests there were; tokens' not counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().requests.iter().filter(|request| !request.path.starts_with("/token")).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.received = 0;
        state.sent = 0;
    }

    /// Bytes of bodies received since the last `forget`.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.state().received
    }

    /// Bytes of blobs sent since the last `forget`.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn host(&self) -> String {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        address.map(|address| address.to_string()).unwrap_or_default()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

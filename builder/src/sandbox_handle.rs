//! The sandbox, started when something first needs it: a build whose steps are all known starts none.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use layer_store::store::{Custodian, Ownership, TreeKind};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::sandbox::{Isolation, Sandbox, SandboxError, SandboxSettings};

/// A sandbox that is started on first use, and the custodian of the store through it.
pub struct SandboxHandle {
    settings: SandboxSettings,
    runtime: Handle,
    sandbox: OnceCell<Arc<Sandbox>>,
}

impl SandboxHandle {
    /// A handle that starts nothing yet. `runtime` drives the sandbox when a blocking caller is the first to need it.
    #[must_use]
    pub fn new(settings: SandboxSettings, runtime: Handle) -> Self {
        Self { settings, runtime, sandbox: OnceCell::new() }
    }

    /// The sandbox.
    pub async fn get(&self) -> Result<&Arc<Sandbox>, SandboxError> {
        let start = async || Sandbox::start(self.settings.clone()).await.map(Arc::new);
        self.sandbox.get_or_try_init(start).await
    }

    /// The sandbox's custodian; `None` where this process may do all, or where trees hold no owners.
    fn custodian(&self) -> io::Result<Option<Arc<dyn Custodian>>> {
        // The store calls from threads that may block and, when a value is dropped, from the runtime's own.
        let sandbox = match self.sandbox.get() {
            Some(sandbox) => sandbox,
            None => {
                tokio::task::block_in_place(|| self.runtime.block_on(self.get())).map_err(io::Error::other)?
            }
        };
        Ok(sandbox.custodian())
    }
}

impl Custodian for SandboxHandle {
    fn own(&self, tree: &Path, owners: &[Ownership]) -> io::Result<()> {
        match self.custodian()? {
            Some(custodian) => custodian.own(tree, owners),
            None => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.custodian()? {
            Some(custodian) => custodian.remove(path),
            None => std::fs::remove_dir_all(path),
        }
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        match self.custodian()? {
            Some(custodian) => custodian.open(path),
            None => File::open(path),
        }
    }

    /// Before the sandbox is started no tree is made for a step, so what is said then has no weight.
    fn trees(&self) -> TreeKind {
        match self.sandbox.get() {
            Some(sandbox) => sandbox.report().trees(),
            None => TreeKind {
                one_id: self.settings.isolation == Isolation::Single,
                marks: self.settings.isolation != Isolation::Chroot,
            },
        }
    }
}

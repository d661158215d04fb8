//! The sandbox as the store's custodian.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use layer_store::store::{Custodian, Ownership, TreeKind};

use super::client::Client;
use super::error::SandboxError;
use super::wire::{Reply, Request};

/// Passes the store's wishes to the keeper.
pub(super) struct KeeperCustodian {
    client: Arc<Client>,
    trees: TreeKind,
}

impl KeeperCustodian {
    /// `trees` is how the keeper's steps want the trees of layers.
    pub(super) fn new(client: Arc<Client>, trees: TreeKind) -> Self {
        Self { client, trees }
    }

    fn ask(&self, request: impl FnOnce(u64) -> Request) -> io::Result<Option<File>> {
        let id = self.client.next_id();
        match self.client.ask(id, &request(id), &[]) {
            Ok((Reply::Done { .. }, fds)) => Ok(fds.into_iter().next().map(File::from)),
            Ok((Reply::Failed { errno: Some(errno), .. }, _)) => Err(io::Error::from_raw_os_error(errno)),
            Ok((Reply::Failed { message, .. }, _)) => Err(io::Error::other(message)),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(SandboxError::HelperGone(why)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, why)),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Custodian for KeeperCustodian {
    fn own(&self, tree: &Path, owners: &[Ownership]) -> io::Result<()> {
        self.ask(|id| Request::Own { id, tree: tree.into(), owners: owners.to_vec() }).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(|id| Request::Remove { id, path: path.into() }).map(drop)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let opened = self.ask(|id| Request::Open { id, path: path.into() })?;
        opened.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn trees(&self) -> TreeKind {
        self.trees
    }
}

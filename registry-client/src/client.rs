//! The client.

use std::sync::Arc;

use layer_store::{Descriptor, Digest, ImageConfig, Manifest};
use tokio::sync::Semaphore;

use crate::error::{Error, Operation, Place};
use crate::hosts::Endpoint;
use crate::reference::Reference;
use crate::report::Reporter;
use crate::settings::ClientSettings;
use crate::transport::Transport;

/// Speaks with registries. Cheap to share by reference; what it learns about hosts (tokens, schemes, dead mirrors) lasts
/// as long as it does. Dropping a future of its cancels the work; blobs that were partly downloaded go on from there the
/// next time.
pub struct Client {
    pub(crate) transport: Arc<Transport>,
    pub(crate) downloads: Semaphore,
    pub(crate) uploads: Semaphore,
}

/// An image that a reference was found to name.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The reference, with the digest of what the registry has under it: the index, if there is one.
    pub reference: Reference,
    /// The index that the manifest was chosen from.
    pub index: Option<Manifest>,
    /// The manifest of the platform.
    pub manifest: Manifest,
    /// What the configuration says.
    pub config: ImageConfig,
    /// The configuration's exact bytes.
    pub config_bytes: Vec<u8>,
    /// The descriptor of `manifest`; its platform is set where the index or the configuration names one.
    pub descriptor: Descriptor,
}

impl Client {
    /// A client. Opens no connection and reads no file until it is used.
    pub fn new(settings: ClientSettings, reporter: Arc<dyn Reporter>) -> Result<Self, Error> {
        // A mirror that cannot be used is better heard of now than in the middle of a build.
        settings.hosts.check()?;
        Ok(Self {
            downloads: Semaphore::new(settings.downloads.max(1)),
            uploads: Semaphore::new(settings.uploads.max(1)),
            transport: Arc::new(Transport::new(settings, reporter)),
        })
    }

    pub(crate) fn settings(&self) -> &ClientSettings {
        &self.transport.settings
    }
}

/// Where `operation` is tried on `reference`.
pub(crate) fn place(
    operation: Operation,
    endpoint: &Endpoint,
    reference: &Reference,
    digest: Option<Digest>,
) -> Place {
    // A tag says to people what a digest beside it only repeats.
    let reference = match reference.tag().map(|tag| reference.with_tag(tag)) {
        Some(Ok(tagged)) => tagged.familiar(),
        _ => reference.familiar(),
    };
    Place { operation, host: endpoint.authority.clone(), reference, digest }
}

//! The distribution protocol: references, hosts and mirrors, credentials, tokens, transfers between a registry and a
//! store.
//!
//! A [`Client`] takes settings as values and tells what it does through a [`Reporter`]; it reads no environment, no home
//! directory, and writes to no terminal. It knows manifests and blobs, but never what is inside a layer.

mod artifact;
mod auth;
mod client;
mod copy;
mod delete;
mod download;
mod error;
mod fetch;
mod hint;
mod hosts;
mod known;
mod link;
mod login;
mod manifests;
mod probe;
mod pull;
mod push;
mod ranges;
mod reference;
mod referrers;
mod report;
mod search;
mod select;
mod settings;
mod sink;
mod tags;
#[cfg(feature = "testing")]
pub mod testing;
mod trail;
mod transport;
mod upload;

pub use artifact::{Artifact, EMPTY, EMPTY_TYPE};
pub use auth::CredentialSettings;
pub use client::{Client, Resolved};
pub use copy::{Copied, Plan, PlannedBlob, PlannedManifest, Platforms, Repository, Step, Supply, Tree};
pub use delete::Deleted;
pub use download::{Download, DownloadError, Version};
pub use error::{
    Attempt, Authorized, ConfigError, ConnectionFailure, ConnectionKind, CredentialError, Error, Operation,
    Place, Refusal,
};
pub use hosts::{HostSettings, InsecureHost, InvalidInsecureHost, ResolvePolicy};
pub use login::Account;
pub use probe::EndpointReport;
pub use push::{PushRequest, Pushed};
pub use reference::{InvalidReference, Reference};
pub use referrers::Referrer;
pub use report::{Direction, Reporter, Silent, Transfer};
pub use search::SearchResult;
pub use settings::{ClientSettings, ProxySettings};

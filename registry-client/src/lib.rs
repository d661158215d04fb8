//! The distribution protocol: references, hosts and mirrors, credentials, tokens, transfers between a registry and a
//! store.
//!
//! A [`Client`] takes settings as values and tells what it does through a [`Reporter`]; it reads no environment, no home
//! directory, and writes to no terminal. It knows manifests and blobs, but never what is inside a layer.

mod auth;
mod client;
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
mod select;
mod settings;
mod sink;
mod tags;
#[cfg(feature = "testing")]
pub mod testing;
mod trail;
mod transport;
mod upload;

pub use auth::CredentialSettings;
pub use client::{Client, Resolved};
pub use download::{Download, DownloadError, Version};
pub use error::{
    Attempt, Authorized, ConfigError, ConnectionFailure, ConnectionKind, CredentialError, Error, Operation,
    Place, Refusal,
};
pub use hosts::{HostSettings, InsecureHost, InvalidInsecureHost, ResolvePolicy};
pub use probe::EndpointReport;
pub use push::{PushRequest, Pushed};
pub use reference::{InvalidReference, Reference};
pub use referrers::Referrer;
pub use report::{Direction, Reporter, Silent, Transfer};
pub use settings::{ClientSettings, ProxySettings};

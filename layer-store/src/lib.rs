//! Content and filesystems of OCI images.
//!
//! A layer has three forms, each derived from another when somebody needs it, at most once, and kept:
//!
//! - **blob**: the compressed tar that travels between registries;
//! - **index**: every entry of the layer, sorted by path, with where its bytes are. The truth about names,
//!   owners, modes, times, xattrs, links and whiteouts;
//! - **tree**: a directory that overlayfs can mount, in overlayfs' own format for whiteouts.
//!
//! The identity of a layer is its diffID: the sha256 of the uncompressed tar.
//!
//! This crate is blocking code. It knows no network, no Dockerfile, no async runtime and no terminal.

pub mod archive;
mod blobs;
pub mod config;
pub mod digest;
pub mod error;
pub mod index;
pub mod layer;
pub mod layout;
pub mod manifest;
pub mod platform;
pub mod store;
pub mod view;

pub use blobs::Blobs;
pub use config::ImageConfig;
pub use digest::Digest;
pub use error::{Error, Result};
pub use index::{Entry, Index, Kind};
pub use manifest::{Descriptor, Manifest};
pub use platform::Platform;
pub use store::{Store, StoreOptions};
pub use view::View;

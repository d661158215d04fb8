//! Who asks: challenges, credentials, tokens.

pub(crate) mod challenge;
mod credentials;
pub(crate) mod files;
mod helper;
pub(crate) mod scope;
pub(crate) mod token;

pub use credentials::CredentialSettings;
pub(crate) use credentials::{Credentials, Found, Secret};

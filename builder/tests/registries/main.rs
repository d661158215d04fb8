//! Builds against a registry that counts its requests and misbehaves where it is told to.

mod caches;
mod machine;
mod passing_on;
mod pulls;

//! Images between registries, OCI layouts, archives and the store, in any direction.
//!
//! A [`Location`] is what a person writes; [`Engine::open_images`](crate::Engine::open_images) finds the images there,
//! and [`Engine::deliver`](crate::Engine::deliver) brings them to another location. What moves, and how, is the registry
//! client's ([`registry_client::Client::copy`]): this module knows names and file formats.

mod location;
mod source;
mod target;
mod view;

pub use location::{InvalidLocation, Location};
pub use source::{Opened, OpenedImage};
pub(crate) use target::is_image;
pub use target::{Delivered, Wish};

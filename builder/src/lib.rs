//! From a Dockerfile and a context to an image.

pub mod context;
pub mod copy;
pub mod dockerfile;
pub mod ignore;
pub mod sandbox;
pub mod users;

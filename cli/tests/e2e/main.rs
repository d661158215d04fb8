//! The binary against real peers: docker-registry, skopeo, umoci, buildah. Few tests, each a user's whole job; what a
//! part does in detail is tested beside the part.

mod bad_input;
mod build;
mod damage;
mod escapes;
mod exchange;
mod images;
mod inside;
mod interrupt;
mod lab;
mod real_input;
mod run;

//! The binary against real peers: docker-registry, skopeo, umoci, buildah. Few tests, each a user's whole job; what a
//! part does in detail is tested beside the part.

mod attest;
mod bad_input;
mod bake;
mod build;
mod cache;
mod ci;
mod control;
mod damage;
mod disk;
mod escapes;
mod examples;
mod exchange;
mod hostile_cache;
mod images;
mod inside;
mod interrupt;
mod kaniko;
mod kills;
mod lab;
mod model;
mod pages;
mod private_git;
mod progress;
mod real_input;
mod run;
mod terminal;
mod toolkit;
mod transcript;

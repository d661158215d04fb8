//! `cargo xtask demo`: the main job on a fresh machine, shown as it happens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use xtask::registry::Registry;
use xtask::{base_image, mirror, packages, repository, upload};

use crate::dist;

/// Builds rbuild and shows one whole build with it.
pub(crate) fn run() -> Result<()> {
    crate::need_compiler()?;
    let mut times = Vec::new();
    let mut timed = |what: &'static str, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        println!("\n== {what}");
        let started = Instant::now();
        work()?;
        times.push((what, started.elapsed()));
        Ok(())
    };

    let mut rbuild = PathBuf::new();
    timed("building the release binary", &mut || {
        rbuild = dist::release()?;
        Ok(())
    })?;

    let place = tempfile::Builder::new().prefix("rbuild-demo-").tempdir()?;
    let mut registry = None;
    timed("base image busybox:1 in a local registry, the mirror of docker.io", &mut || {
        let server = Registry::start()?;
        let digest = base_image::push_busybox(server.address())?;
        mirror::daemon_json(place.path(), server.address())?;
        println!("busybox:1 is {digest} at {}", server.address());
        registry = Some(server);
        Ok(())
    })?;
    let registry = registry.context("the registry did not start")?;

    let hello = repository().join("testdata/hello");
    let command = |words: &[&str]| -> Result<()> {
        println!("$ rbuild {}", words.join(" "));
        packages::run(&mut rbuild_command(&rbuild, place.path(), &hello, words))
    };
    timed("first build", &mut || command(&["-t", "app:1.0", "."]))?;
    timed("second build: nothing changed", &mut || command(&["-t", "app:1.0", "."]))?;
    let remote = format!("{}/team/app:1.0", registry.address());
    timed("push", &mut || command(&["push", "app:1.0", &remote]))?;
    timed("what is in the store", &mut || command(&["images"]))?;

    println!("\n== what was made");
    describe(registry.address())?;
    println!("\n== how long it took");
    for (what, time) in &times {
        println!("{:>9}  {what}", duration(*time));
    }
    // Layers of a plain user belong to subordinate ids, which only rbuild may remove.
    let _ = rbuild_command(&rbuild, place.path(), &hello, &["prune", "--all", "--force"]).output();
    Ok(())
}

fn rbuild_command(rbuild: &Path, place: &Path, directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(rbuild);
    command.args(words).current_dir(directory);
    command.env("RBUILD_ROOT", place.join("store")).env("RBUILD_DAEMON_JSON", place.join("daemon.json"));
    command
}

/// Asks the registry, not rbuild, what arrived.
fn describe(address: &str) -> Result<()> {
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    let mut raw = upload::get(address, "/v2/team/app/manifests/1.0", accept)?;
    let mut manifest: Value = serde_json::from_slice(&raw)?;
    if let Some(first) = manifest["manifests"][0]["digest"].as_str() {
        raw = upload::get(address, &format!("/v2/team/app/manifests/{first}"), accept)?;
        manifest = serde_json::from_slice(&raw)?;
    }
    println!("{address}/team/app:1.0  {}", upload::sha256(&raw));
    let Some(layers) = manifest["layers"].as_array() else { bail!("the pushed manifest names no layers") };
    for layer in layers {
        let digest = layer["digest"].as_str().unwrap_or_default();
        println!("  layer {:>9} bytes  {digest}", layer["size"]);
    }
    Ok(())
}

fn duration(time: Duration) -> String {
    if time.as_secs() >= 10 {
        format!("{:.0} s", time.as_secs_f64())
    } else {
        format!("{:.3} s", time.as_secs_f64())
    }
}

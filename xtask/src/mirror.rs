//! A registry as the mirror of docker.io, by a Docker-style daemon.json.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

/// Writes a `daemon.json` into `directory` that names `address` as the mirror of docker.io.
pub fn daemon_json(directory: &Path, address: &str) -> Result<PathBuf> {
    let path = directory.join("daemon.json");
    let settings = json!({
        "registry-mirrors": [format!("http://{address}")],
        "insecure-registries": [address],
    });
    std::fs::write(&path, serde_json::to_vec_pretty(&settings)?)?;
    Ok(path)
}

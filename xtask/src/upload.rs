//! Pushes a hand-made image with plain HTTP/1.1, so that base images owe nothing to the code under test and a fresh
//! machine needs no further package.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// How the bytes of a layer travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// zstd.
    Zstd,
    /// As they are.
    None,
}

/// Whose media types a manifest has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's schema 2, whose layers are always gzip.
    Docker,
}

/// A layer as it travels.
pub struct Layer {
    /// Compressed bytes of the tar.
    pub blob: Vec<u8>,
    /// How they are compressed.
    pub compression: Compression,
    /// `sha256:…` of the tar.
    pub diff_id: String,
}

/// Compresses a tar to a layer by gzip.
pub fn layer(tar: &[u8]) -> Result<Layer> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar)?;
    Ok(Layer { blob: encoder.finish()?, compression: Compression::Gzip, diff_id: sha256(tar) })
}

/// `sha256:…` of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Pushes an image of these layers and this `config` object (`Env`, `Cmd`, …). Returns the manifest's digest.
pub fn image(address: &str, repository: &str, tag: &str, layers: &[Layer], config: &Value) -> Result<String> {
    push(address, repository, tag, layers, &document(layers, config), Dialect::Oci)
}

/// An image configuration with this `config` object.
#[must_use]
pub fn document(layers: &[Layer], config: &Value) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "created": "2026-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
        "history": layers.iter().map(|_| json!({"created_by": "made by hand"})).collect::<Vec<_>>(),
    })
}

/// Pushes an image with this configuration. Returns the manifest's digest.
pub fn push(
    address: &str,
    repository: &str,
    tag: &str,
    layers: &[Layer],
    document: &Value,
    dialect: Dialect,
) -> Result<String> {
    let config = serde_json::to_vec(document)?;
    blob(address, repository, &config)?;
    for layer in layers {
        blob(address, repository, &layer.blob)?;
    }
    let (kind, config_kind) = match dialect {
        Dialect::Oci => {
            ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
        }
        Dialect::Docker => (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.container.image.v1+json",
        ),
    };
    let layer_kind = |layer: &Layer| match (dialect, layer.compression) {
        (Dialect::Docker, _) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        (Dialect::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (Dialect::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
        (Dialect::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
    };
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {
            "mediaType": config_kind,
            "digest": sha256(&config),
            "size": config.len(),
        },
        "layers": layers.iter().map(|layer| json!({
            "mediaType": layer_kind(layer),
            "digest": sha256(&layer.blob),
            "size": layer.blob.len(),
        })).collect::<Vec<_>>(),
    }))?;
    put_manifest(address, repository, tag, kind, &manifest)
}

/// Pushes an index of images that the repository has: platform (`{"os": …}`) and tag of each. Returns its digest.
pub fn index(address: &str, repository: &str, tag: &str, images: &[(Value, &str)]) -> Result<String> {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifests = images
        .iter()
        .map(|(platform, tag)| {
            let manifest = get(address, &format!("/v2/{repository}/manifests/{tag}"), kind)?;
            let (digest, size) = (sha256(&manifest), manifest.len());
            Ok(json!({"mediaType": kind, "digest": digest, "size": size, "platform": platform}))
        })
        .collect::<Result<Vec<_>>>()?;
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}))?;
    put_manifest(address, repository, tag, kind, &index)
}

fn put_manifest(address: &str, repository: &str, tag: &str, kind: &str, bytes: &[u8]) -> Result<String> {
    request(address, "PUT", &format!("/v2/{repository}/manifests/{tag}"), kind, bytes)?.expect(201)?;
    Ok(sha256(bytes))
}

fn blob(address: &str, repository: &str, bytes: &[u8]) -> Result<()> {
    let answer = request(address, "POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])?;
    let location = answer.expect(202)?.header("location").context("an upload without Location")?;
    let (_, after) = location.split_once("://").context("a Location that is no URL")?;
    let path = after.find('/').map_or("/", |slash| &after[slash..]);
    let joint = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{joint}digest={}", sha256(bytes));
    request(address, "PUT", &path, "application/octet-stream", bytes)?.expect(201)?;
    Ok(())
}

/// The body of a GET, with the status 200.
pub fn get(address: &str, path: &str, accept: &str) -> Result<Vec<u8>> {
    let answer = exchange(address, "GET", path, &format!("Accept: {accept}\r\n"), &[])?;
    answer.expect(200)?;
    Ok(answer.body)
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn expect(&self, status: u16) -> Result<&Self> {
        if self.status != status {
            bail!("the registry said {}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(self)
    }

    fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

fn request(address: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Answer> {
    exchange(address, method, path, &format!("Content-Type: {kind}\r\n"), body)
}

fn exchange(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("an answer without a head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status =
        head.split(' ').nth(1).and_then(|text| text.parse().ok()).context("an answer without status")?;
    Ok(Answer { status, head, body: bytes.split_off(end + 4) })
}

//! The registry client beside Debian's skopeo, with Debian's docker-registry on loopback, near and far.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use xtask::registry::Registry;
use xtask::upload::sha256;
use xtask::{packages, repository, target_directory};

use super::far::{Distance, Far};
use super::frame::{Cost, Line, Report, compare, once};

/// How often each command is measured.
const ROUNDS: usize = 5;
/// All layers of an image together, in bytes.
const SIZE: usize = 230_000_000;
/// Object storage in another region.
const AWAY: Distance = Distance { round_trip: Duration::from_millis(50), rate: Some(20e6) };
const HERE: Distance = Distance { round_trip: Duration::ZERO, rate: None };

struct Bench {
    rbuild: PathBuf,
    place: tempfile::TempDir,
    lines: Vec<Line>,
}

/// Runs it: some three minutes on a quiet machine, and 2 GB of disk.
pub(super) fn run() -> Result<Report> {
    crate::need_compiler()?;
    packages::install(&[("skopeo", "skopeo")])?;
    let mut cargo = crate::cargo();
    packages::run(cargo.args(["build", "--release", "--package", "cli"]))?;
    let rbuild = repository().join(target_directory()).join("release/rbuild");
    let place = tempfile::Builder::new().prefix("rbuild-bench-").tempdir()?;
    let mut bench = Bench { rbuild, place, lines: Vec::new() };
    let (four, one) = (bench.layout("four", 4)?, bench.layout("one", 1)?);
    let registry = Registry::start()?;
    let (name_four, name_one) =
        (format!("{}/bench/four:1", registry.address()), format!("{}/bench/one:1", registry.address()));
    once(bench.copy(&format!("oci:{}:1", four.display()), &name_four)?)?;
    once(bench.copy(&format!("oci:{}:1", one.display()), &name_one)?)?;

    bench.pull("pull to a layout, 4 layers", &name_four, ROUNDS, 0.5)?;
    bench.push("push from a layout, 4 layers", &four)?;
    let far = Far::start(registry.address(), AWAY)?;
    let far_name = |name: &str| name.replace(registry.address(), far.address());
    bench.pull("pull, 50 ms and 20 MB/s, 4 layers", &far_name(&name_four), 3, 0.5)?;
    bench.pull("pull, 50 ms and 20 MB/s, 1 layer", &far_name(&name_one), 3, 0.35)?;
    bench.requests(&four)?;
    Ok(Report { name: "registry", lines: bench.lines })
}

impl Bench {
    fn pull(&mut self, what: &str, name: &str, rounds: usize, bound: f64) -> Result<()> {
        let [ours, theirs] = compare(
            rounds,
            [
                &mut || {
                    self.fresh("store")?;
                    self.copy(name, &format!("oci:{}:1", self.fresh("ours")?.display()))
                },
                &mut || {
                    let target = format!("oci:{}:1", self.fresh("theirs")?.display());
                    Ok(skopeo("--src-tls-verify=false", &format!("docker://{name}"), &target))
                },
            ],
        )?;
        self.line(what, ours, theirs, bound);
        Ok(())
    }

    /// Each push goes to a registry of its own, which has nothing.
    fn push(&mut self, what: &str, layout: &Path) -> Result<()> {
        let source = format!("oci:{}:1", layout.display());
        let (mut mine, mut other) = (None, None);
        let [ours, theirs] = compare(
            ROUNDS,
            [
                &mut || {
                    self.fresh("store")?;
                    let registry = mine.insert(Registry::start()?);
                    self.copy(&source, &format!("{}/bench/push:1", registry.address()))
                },
                &mut || {
                    let registry = other.insert(Registry::start()?);
                    let target = format!("docker://{}/bench/push:1", registry.address());
                    Ok(skopeo("--dest-tls-verify=false", &source, &target))
                },
            ],
        )?;
        self.line(what, ours, theirs, 0.5);
        Ok(())
    }

    /// Counts what the protocol costs: a push, the same again, one to a sibling, a pull.
    fn requests(&self, layout: &Path) -> Result<()> {
        let registry = Registry::start()?;
        let near = Far::start(registry.address(), HERE)?;
        let (source, name) =
            (format!("oci:{}:1", layout.display()), format!("{}/bench/count:1", near.address()));
        self.fresh("store")?;
        let mut counted = Vec::new();
        let sibling = format!("{}/bench/sibling:1", near.address());
        let pulled = format!("oci:{}:1", self.fresh("ours")?.display());
        for (what, from, to, bound) in [
            ("push of four new layers", &source, &name, 17),
            ("push again", &source, &name, 3),
            ("push to a sibling repository", &source, &sibling, 17),
            ("pull", &name, &pulled, 7),
        ] {
            once(self.copy(from, to)?)?;
            counted.push((what, near.requests(), bound));
        }
        for (what, count, bound) in &counted {
            println!("{what:<34} {count:>3} requests, at most {bound}");
        }
        if counted.iter().any(|(_, count, bound)| count > bound) {
            bail!("there were more requests than there should be");
        }
        Ok(())
    }

    fn line(&mut self, what: &str, ours: Cost, theirs: Cost, bound: f64) {
        self.lines.push(Line {
            what: what.to_owned(),
            beside: "skopeo".to_owned(),
            ours,
            theirs: Some(theirs),
            bound: Some(bound),
        });
    }

    /// `rbuild copy`, with a store of the benchmark.
    fn copy(&self, from: &str, to: &str) -> Result<Command> {
        let store = self.place.path().join("store");
        fs::create_dir_all(&store)?;
        let mut command = Command::new(&self.rbuild);
        command.arg("--root").arg(store).args(["copy", "-q", from, to]);
        Ok(command)
    }

    /// A path where nothing is.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.place.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(path)
    }

    /// A layout with one image, tagged `1`, whose layers are noise.
    fn layout(&self, name: &str, count: usize) -> Result<PathBuf> {
        let path = self.place.path().join(name);
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let put = |bytes: &[u8]| -> Result<String> {
            let digest = sha256(bytes);
            fs::write(blobs.join(&digest["sha256:".len()..]), bytes)?;
            Ok(digest)
        };
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut tar = tar::Builder::new(Vec::new());
            let bytes = noise(number as u64 + count as u64 * 100, SIZE / count);
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("noise-{number}"), &bytes[..])?;
            let tar = tar.into_inner()?;
            diff_ids.push(sha256(&tar));
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
            gzip.write_all(&tar)?;
            let blob = gzip.finish()?;
            let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
            layers.push(json!({ "mediaType": kind, "digest": put(&blob)?, "size": blob.len() }));
        }
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let kind = "application/vnd.oci.image.config.v1+json";
        let config = json!({ "mediaType": kind, "size": config.len(), "digest": put(&config)? });
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
        let manifest = manifest.to_string().into_bytes();
        let entry = json!({
            "mediaType": kind, "size": manifest.len(), "digest": put(&manifest)?,
            "annotations": { "org.opencontainers.image.ref.name": "1" },
        });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        File::create(path.join("index.json"))?.write_all(index.to_string().as_bytes())?;
        File::create(path.join("oci-layout"))?.write_all(br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(path)
    }
}

fn skopeo(option: &str, from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", option, from, to]);
    command
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

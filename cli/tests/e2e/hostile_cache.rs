//! Shared caches whose content is damaged or hostile: none of it gets into an image, and none fails a build.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use layer_store::Digest;
use serde_json::{Value, json};

use crate::lab::{Lab, as_caller};

const PROJECT: &str = "FROM busybox:1\nCOPY a.txt /a\nRUN cp /a /b && mkdir -p /deep/er && cp /a /deep/er/c\n\
    RUN --mount=type=cache,target=/cache echo word >> /cache/seen; cp /a /d\n";

/// A cache in a directory: documents that point at each other by digest.
struct Cache<'a>(&'a Path);

impl Cache<'_> {
    fn read(&self, descriptor: &Value) -> Vec<u8> {
        let name = descriptor["digest"].as_str().unwrap().replace(':', "/");
        fs::read(self.0.join("blobs").join(name)).unwrap()
    }

    /// Puts bytes there, and gives what names them.
    fn put(&self, old: &Value, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.0.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        let mut descriptor = old.clone();
        descriptor["digest"] = json!(digest);
        descriptor["size"] = json!(bytes.len());
        descriptor
    }

    fn json(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(&self.read(descriptor)).unwrap()
    }

    /// Changes each record, and all that leads to it.
    fn change(&self, how: impl Fn(&Self, &mut Value)) {
        self.change_those(|_| true, how);
    }

    fn change_those(&self, which: impl Fn(&str) -> bool, how: impl Fn(&Self, &mut Value)) {
        let path = self.0.join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for entry in index["manifests"].as_array_mut().unwrap() {
            let mut manifest = self.json(entry);
            let mut document = self.json(&manifest["config"]);
            for record in document["records"].as_array_mut().unwrap() {
                if which(record["name"].as_str().unwrap()) {
                    how(self, record);
                }
                manifest["layers"] = json!([record["blob"]]);
            }
            manifest["config"] = self.put(&manifest["config"], document.to_string().as_bytes());
            *entry = self.put(entry, manifest.to_string().as_bytes());
        }
        fs::write(path, index.to_string()).unwrap();
    }

    /// Replaces the bytes of every layer where they lie.
    fn spoil(&self, how: impl Fn(Vec<u8>) -> Vec<u8>) {
        self.change(|cache, record| {
            let bytes = how(cache.read(&record["blob"]));
            let name = record["blob"]["digest"].as_str().unwrap().replace(':', "/");
            fs::write(cache.0.join("blobs").join(name), bytes).unwrap();
        });
    }

    /// Puts this archive in the place of layers, with digests that are right.
    fn replace_layers(&self, which: impl Fn(&str) -> bool, tar: &[u8]) {
        self.change_those(which, |cache, record| {
            record["diff_id"] = json!(Digest::of(tar));
            record["blob"] = cache.put(&record["blob"], tar);
            record["blob"]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        });
    }
}

/// An archive of entries that a tar library would not write: name, kind, link target.
fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, target) in entries {
        let content = if kind.is_file() { b"evil".as_slice() } else { b"" };
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o777);
        header.set_cksum();
        bytes.write_all(header.as_bytes()).unwrap();
        bytes.write_all(content).unwrap();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Builds on a fresh store: the image's id, and what was said.
fn build(lab: &Lab, store: &str, words: &[&str]) -> (String, String) {
    let id = lab.path("home/id");
    let mut command = lab.command(&["build", "-t", "app:1.0", "--iidfile", id.to_str().unwrap()]);
    command.args(words).arg(".").env("RBUILD_ROOT", lab.path("home").join(store));
    let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{store}\n{said}");
    (fs::read_to_string(id).unwrap(), said)
}

#[test]
fn nothing_hostile_gets_out_of_a_cache() {
    use tar::EntryType::{Regular, Symlink};
    as_caller(&[], |lab| {
        lab.write("a.txt", "a");
        lab.write("Dockerfile", PROJECT);
        let good = lab.path("home/good");
        let to = format!("type=local,dest={},mode=max", good.display());
        build(lab, "first", &["--cache-to", &to, "--cache-mounts"]);
        // The last step is another one, so that it runs and asks for what the cache has of its mount.
        lab.write("Dockerfile", PROJECT.replace("echo word", "ls -R /cache; echo other"));
        let (wanted, _) = build(lab, "fresh", &[]);
        let is_mount = |name: &str| name.starts_with("cache mount");
        let bad = lab.path("home/bad");
        let outside = lab.path("home/outside");
        fs::create_dir(&outside).unwrap();
        let away = outside.to_str().unwrap();
        let from = format!("type=local,src={}", bad.display());
        type Harm<'a> = &'a dyn Fn(&Cache<'_>);
        let nothing = Digest::of(b"nothing");
        let traversal = archive(&[("../../../../../outside/evil", Regular, "")]);
        let through = archive(&[("link", Symlink, away), ("link/evil", Regular, "")]);
        let harms: [(&str, Harm<'_>); 12] = [
            ("another diffID", &|cache| cache.change(|_, record| record["diff_id"] = json!(nothing))),
            ("no such blob", &|cache| cache.change(|_, record| record["blob"]["digest"] = json!(nothing))),
            ("the blob of another", &|cache| {
                cache.change(|cache, record| record["blob"] = cache.put(&record["blob"], b"not a layer"));
            }),
            ("flipped bytes", &|cache| {
                cache.spoil(|mut bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0xff;
                    bytes
                });
            }),
            ("cut off", &|cache| cache.spoil(|bytes| bytes[..bytes.len() / 2].to_vec())),
            ("a huge document", &|cache| {
                cache.change(|_, record| record["name"] = json!("x".repeat(20 << 20)));
            }),
            ("keys that nobody asks for", &|cache| {
                cache.change(|_, record| record["key"] = json!(nothing));
            }),
            ("a path that leads out", &|cache| cache.replace_layers(|_| true, &traversal)),
            ("a link that leads out", &|cache| cache.replace_layers(|_| true, &through)),
            ("a path that leads out of a mount", &|cache| cache.replace_layers(is_mount, &traversal)),
            ("a link that leads out of a mount", &|cache| cache.replace_layers(is_mount, &through)),
            ("no index", &|cache| fs::write(cache.0.join("index.json"), "[").unwrap()),
        ];
        for (at, (name, harm)) in harms.iter().enumerate() {
            let _ = fs::remove_dir_all(&bad);
            copy(&good, &bad);
            harm(&Cache(&bad));
            let store = format!("victim-{at}");
            // The layers of an output are read, which those of a push may not be.
            let out = lab.path("home/out");
            let _ = fs::remove_dir_all(&out);
            let words = ["--cache-from", &from, "--cache-mounts", "-o", out.to_str().unwrap()];
            let (id, said) = build(lab, &store, &words);
            assert_eq!(id, wanted, "{name}\n{said}");
            assert_eq!(fs::read_to_string(out.join("deep/er/c")).unwrap(), "a", "{name}");
            assert_eq!(said.contains("is not used"), *name != "keys that nobody asks for", "{name}\n{said}");
            assert!(!said.contains("panicked"), "{name}\n{said}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}\n{said}");
            lab.drop_store(&store);
        }
        lab.drop_store("first");
        lab.drop_store("fresh");
    });
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(&target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

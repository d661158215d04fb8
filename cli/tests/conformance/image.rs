//! Reads the OCI archive that a build wrote, with code of its own, and lays its layers over each other.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Component, Path};

use serde_json::Value;
use xtask::upload::sha256;

use crate::entry::{Entry, Kind};

/// What was built.
pub(crate) struct Image {
    /// The whole image configuration.
    pub(crate) config: Value,
    /// Each layer's own entries; a whiteout is `gone`.
    pub(crate) layers: Vec<Vec<Entry>>,
    /// The filesystem: path to what is there.
    pub(crate) files: BTreeMap<String, Node>,
}

/// A path of the merged filesystem.
pub(crate) struct Node {
    entry: Entry,
    /// The same for all names of one file.
    inode: usize,
    /// The layer that it is from, from 0.
    pub(crate) layer: usize,
}

impl Image {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut blobs = HashMap::new();
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().map_err(|error| error.to_string())? {
            let mut entry = entry.map_err(|error| error.to_string())?;
            let name = entry.path().map_err(|error| error.to_string())?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|error| error.to_string())?;
            blobs.insert(name.trim_start_matches("./").to_owned(), content);
        }
        Self::from_blobs(&blobs)
    }

    fn from_blobs(blobs: &HashMap<String, Vec<u8>>) -> Result<Self, String> {
        let index = json(blobs.get("index.json").ok_or("the archive has no index.json")?)?;
        let mut manifest = follow(blobs, &index["manifests"][0])?;
        if manifest.get("manifests").is_some() {
            manifest = follow(blobs, &manifest["manifests"][0])?;
        }
        let config = follow(blobs, &manifest["config"])?;
        let diff_ids = config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        let descriptors = manifest["layers"].as_array().cloned().unwrap_or_default();
        if diff_ids.len() != descriptors.len() {
            return Err(format!("{} diffIDs for {} layers", diff_ids.len(), descriptors.len()));
        }
        let mut image = Self { config, layers: Vec::new(), files: BTreeMap::new() };
        for (descriptor, diff_id) in descriptors.iter().zip(diff_ids) {
            let tar = inflate(blob(blobs, descriptor)?)?;
            if diff_id != sha256(&tar).as_str() {
                return Err(format!("a layer's diffID {diff_id} is not the digest of its tar"));
            }
            let entries = entries(&tar)?;
            image.lay(&entries)?;
            image.layers.push(entries);
        }
        image.check_history()?;
        Ok(image)
    }

    /// Entries of history that are not empty are as many as layers.
    fn check_history(&self) -> Result<(), String> {
        let history = self.config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
        let full = history.iter().filter(|step| step["empty_layer"] != true).count();
        if full == self.layers.len() {
            return Ok(());
        }
        Err(format!("the history tells of {full} layers, and there are {}", self.layers.len()))
    }

    fn lay(&mut self, entries: &[Entry]) -> Result<(), String> {
        let layer = self.layers.len();
        // Whiteouts speak of the layers below, wherever they stand.
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Gone) {
            match entry.path.strip_suffix("/*") {
                Some(opaque) => self.remove_below(opaque),
                None => {
                    self.files.remove(&entry.path);
                    self.remove_below(&entry.path);
                }
            }
        }
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.kind != Kind::Gone) {
            if entry.path == "/" {
                continue;
            }
            let mut inode = layer * 1_000_000 + at;
            let mut entry = entry.clone();
            if let Kind::Hard(target) = &entry.kind {
                let target = self
                    .files
                    .get(target)
                    .ok_or_else(|| format!("a hard link to `{target}`, which is not there"))?;
                inode = target.inode;
                entry = Entry { path: entry.path, ..target.entry.clone() };
            }
            if entry.kind != Kind::Directory {
                self.remove_below(&entry.path);
            }
            self.files.insert(entry.path.clone(), Node { entry, inode, layer });
        }
        Ok(())
    }

    fn remove_below(&mut self, path: &str) {
        let below = format!("{}/", path.trim_end_matches('/'));
        self.files.retain(|path, _| !path.starts_with(&below));
    }

    /// What is at each path, later names of a file as hard links to the first.
    pub(crate) fn listing(&self) -> BTreeMap<String, Entry> {
        let mut first: HashMap<usize, &str> = HashMap::new();
        let mut listing = BTreeMap::new();
        for (path, node) in &self.files {
            let entry = match first.get(&node.inode) {
                Some(target) => Entry::new(Kind::Hard((*target).to_owned()), 0, path),
                None => node.entry.clone(),
            };
            first.entry(node.inode).or_insert(path);
            listing.insert(path.clone(), entry);
        }
        listing
    }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn follow(blobs: &HashMap<String, Vec<u8>>, descriptor: &Value) -> Result<Value, String> {
    json(blob(blobs, descriptor)?)
}

fn blob<'a>(blobs: &'a HashMap<String, Vec<u8>>, descriptor: &Value) -> Result<&'a [u8], String> {
    let digest = descriptor["digest"].as_str().ok_or("a descriptor without a digest")?;
    let name = format!("blobs/{}", digest.replace(':', "/"));
    let bytes = blobs.get(&name).ok_or_else(|| format!("the archive has no {name}"))?;
    if sha256(bytes) != digest || descriptor["size"] != bytes.len() {
        return Err(format!("{digest} is not what its descriptor says"));
    }
    Ok(bytes)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut tar = Vec::new();
    let result = match bytes {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut tar),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::stream::copy_decode(bytes, &mut tar).map(|()| 0),
        _ => return Ok(bytes.to_vec()),
    };
    result.map_err(|error| format!("a layer does not inflate: {error}"))?;
    Ok(tar)
}

fn entries(tar: &[u8]) -> Result<Vec<Entry>, String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().map_err(|error| error.to_string())?;
    entries
        .map(|entry| {
            let mut entry = entry.map_err(|error| error.to_string())?;
            read_entry(&mut entry).map_err(|error| error.to_string())
        })
        .collect()
}

fn read_entry(entry: &mut tar::Entry<'_, &[u8]>) -> std::io::Result<Entry> {
    let path = rooted(&entry.path()?);
    if let Some((parent, name)) = path.rsplit_once('/') {
        if name == ".wh..wh..opq" {
            return Ok(Entry::new(Kind::Gone, 0, &format!("{parent}/*")));
        }
        if let Some(gone) = name.strip_prefix(".wh.") {
            return Ok(Entry::new(Kind::Gone, 0, &format!("{parent}/{gone}")));
        }
    }
    let link = entry.link_name()?.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
    let header = entry.header();
    let device = || Ok::<_, std::io::Error>((header.device_major()?, header.device_minor()?));
    let number = |pair: (Option<u32>, Option<u32>)| (pair.0.unwrap_or(0), pair.1.unwrap_or(0));
    let kind = match header.entry_type() {
        tar::EntryType::Directory => Kind::Directory,
        tar::EntryType::Symlink => Kind::Symlink(link),
        tar::EntryType::Link => Kind::Hard(rooted(Path::new(&link))),
        tar::EntryType::Fifo => Kind::Fifo,
        tar::EntryType::Char => device().map(number).map(|(major, minor)| Kind::Character(major, minor))?,
        tar::EntryType::Block => device().map(number).map(|(major, minor)| Kind::Block(major, minor))?,
        _ => Kind::File,
    };
    let mut read = Entry::new(kind, header.mode()? & 0o7777, &path);
    let id = |id: u64| u32::try_from(id).map_err(std::io::Error::other);
    read.owner = Some((id(header.uid()?)?, id(header.gid()?)?));
    read.mtime = Some(header.mtime()?);
    if let Some(records) = entry.pax_extensions()? {
        for record in records.flatten() {
            if let Some(name) = record.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) {
                read.xattrs.insert(name.to_owned(), record.value_bytes().to_vec());
            }
        }
    }
    if read.kind == Kind::File {
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        read.size = Some(content.len() as u64);
        read.content = Some(content);
    }
    Ok(read)
}

/// The path from `/`, without `.` parts.
fn rooted(path: &Path) -> String {
    let mut rooted = String::new();
    for part in path.components() {
        if let Component::Normal(name) = part {
            rooted.push('/');
            rooted.push_str(&name.to_string_lossy());
        } else if part == Component::ParentDir {
            rooted.push_str("/..");
        }
    }
    if rooted.is_empty() { "/".to_owned() } else { rooted }
}

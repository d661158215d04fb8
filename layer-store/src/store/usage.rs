//! What takes how much of the disk, and what needs it.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

use super::collect::{Live, STEPS, Step};
use super::lease::Needed;
use super::names;
use crate::{Digest, Result, Store};

/// What something is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Category {
    /// A named image.
    Image,
    /// The result of a step, in the build cache.
    Step,
    /// A directory of `RUN --mount=type=cache`.
    Mount,
    /// What is known of the files of a context directory.
    Context,
    /// Other records: where blobs are, when images were first made, uploads that were cut.
    Record,
    /// A download that is not complete.
    Download,
    /// The log of a build.
    Log,
    /// A blob, layer or working directory that nothing needs.
    Leftover,
}

/// Something that can be removed by itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What it is kept for.
    pub category: Category,
    /// What names it: the key of a record in hex, the name of an image or a file.
    pub id: String,
    /// What people know it by.
    pub name: String,
    /// All bytes on disk that it needs.
    pub size: u64,
    /// Those of them that nothing else needs: what comes back when it alone is removed.
    pub unique: u64,
    /// When it was last used, in seconds since the epoch.
    pub last_used: i64,
    /// Whether a running build uses it.
    pub in_use: bool,
    /// The space of a record; empty for others.
    #[serde(skip)]
    pub(super) space: String,
    /// The bytes of its own file or directory.
    #[serde(skip)]
    own: u64,
    /// The blobs and layers that it needs.
    #[serde(skip)]
    pub(super) needs: Vec<Part>,
}

/// A part of the store that several things may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Blob(Digest),
    Layer(Digest),
}

/// How many there are of something, and how much they take on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Space {
    /// How many.
    pub count: u64,
    /// Their bytes on disk; files with several names count once.
    pub bytes: u64,
}

/// What content takes, by its form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Forms {
    /// Compressed layers, and the documents of images.
    pub blobs: Space,
    /// Lists of the entries of layers.
    pub indexes: Space,
    /// Uncompressed layers.
    pub tars: Space,
    /// Extracted layers.
    pub trees: Space,
}

/// What one category takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Which.
    pub category: Category,
    /// How many things.
    pub count: u64,
    /// How many of them a running build uses.
    pub active: u64,
    /// Bytes on disk. Blobs and layers count for the first category that needs them, images before the build cache.
    pub bytes: u64,
    /// Those that no running build needs.
    pub reclaimable: u64,
}

/// What takes how much of the disk.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// Everything that can be removed by itself, by category and, in each, what was used last first.
    pub items: Vec<Item>,
    /// The same by category, each category once.
    pub shares: Vec<Share>,
    /// The bytes of blobs and layers by form.
    pub forms: Forms,
    /// All bytes on disk of what is listed.
    pub total: u64,
    #[serde(skip)]
    pub(super) parts: HashMap<Part, u64>,
}

impl Store {
    /// Measures everything. Costs a `stat` of every file of the store.
    pub fn usage(&self) -> Result<Usage> {
        let store = self.apart();
        let mut sizes = Sizes::default();
        let parts = sizes.parts(&store)?;
        let needed = store.needed()?;
        let mut items = store.rooted_items(&mut sizes)?;
        let rooted: HashSet<Part> = items.iter().flat_map(|item| item.needs.iter().copied()).collect();
        let leftovers = parts.keys().filter(|part| !rooted.contains(part));
        items.extend(leftovers.map(|part| {
            Item::new(Category::Leftover, part.digest().hex(), part.kind().to_owned(), vec![*part])
        }));
        items.extend(store.file_items(&mut sizes)?);
        let mut count: HashMap<Part, u32> = HashMap::new();
        for part in items.iter().flat_map(|item| &item.needs) {
            *count.entry(*part).or_default() += 1;
        }
        for item in &mut items {
            item.in_use |= item.is_needed(&needed);
            let size = |part: &Part| parts.get(part).copied().unwrap_or(0);
            item.size = item.own + item.needs.iter().map(size).sum::<u64>();
            item.unique = item.own + item.needs.iter().filter(|part| count[part] == 1).map(size).sum::<u64>();
        }
        items.sort_by(|a, b| (a.category, -a.last_used, &a.id).cmp(&(b.category, -b.last_used, &b.id)));
        let shares = shares(&items, &parts);
        let total = shares.iter().map(|share| share.bytes).sum();
        Ok(Usage { items, shares, forms: sizes.forms, total, parts })
    }

    /// Images, step records and other records.
    fn rooted_items(&self, sizes: &mut Sizes) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for record in self.images_that_can_be_read()? {
            let mut live = Live::default();
            self.mark_image(&record, &mut live)?;
            let (last_used, own) = sizes.file(&self.image_path(&record.name));
            let mut item =
                Item::new(Category::Image, record.name.clone(), record.name.clone(), live.parts(self)?);
            (item.last_used, item.own) = (last_used, own);
            items.push(item);
        }
        for space in self.record_spaces()? {
            for key in self.record_keys(&space)? {
                let (last_used, own) = sizes.file(&self.record_path(&space, &key));
                let mut item = Item::new(Category::Record, key.hex(), space.clone(), Vec::new());
                if space == STEPS {
                    item.category = Category::Step;
                    let record = self.record(&space, &key)?;
                    if let Some(step) = record.and_then(|bytes| serde_json::from_slice::<Step>(&bytes).ok()) {
                        item.needs = self.parts_of_layer(&step.diff_id)?;
                        item.name = step.name;
                    }
                } else if space == "contexts" {
                    item.category = Category::Context;
                }
                (item.last_used, item.own, item.space) = (last_used, own, space.clone());
                items.push(item);
            }
        }
        for name in names(&self.root.join("mounts"))? {
            let Ok(key) = Digest::from_hex(&name) else { continue };
            let mark = self.mount_mark(&key);
            let (last_used, own) = sizes.file(&mark);
            let known = std::fs::read_to_string(&mark).unwrap_or_default();
            let mut item = Item::new(Category::Mount, name.clone(), known, Vec::new());
            (item.last_used, item.own) = (last_used, own + sizes.tree(&self.root.join("mounts").join(&name)));
            items.push(item);
        }
        Ok(items)
    }

    /// Downloads, logs, and working directories.
    fn file_items(&self, sizes: &mut Sizes) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let places = [("ingest", Category::Download), ("logs", Category::Log), ("tmp", Category::Leftover)];
        for (directory, category) in places {
            let place = self.root.join(directory);
            for name in names(&place)?.into_iter().filter(|name| !name.ends_with(".lock")) {
                let path = place.join(&name);
                let mut item = Item::new(category, name.clone(), format!("{directory}/{name}"), Vec::new());
                item.last_used = sizes.file_time(&path);
                item.own = sizes.tree(&path);
                item.in_use = category != Category::Log && self.is_held(&path)?;
                items.push(item);
            }
        }
        Ok(items)
    }

    /// Whether the file, or the lock of the directory, at `path` is somebody's.
    fn is_held(&self, path: &Path) -> Result<bool> {
        let file = if path.is_dir() { path.with_extension("lock") } else { path.to_owned() };
        Ok(file.exists() && super::flock::try_acquire(&file, false)?.is_none() && file.exists())
    }
}

/// What each category takes.
fn shares(items: &[Item], parts: &HashMap<Part, u64>) -> Vec<Share> {
    let used: HashSet<Part> =
        items.iter().filter(|item| item.in_use).flat_map(|item| item.needs.iter().copied()).collect();
    let mut seen = HashSet::new();
    let mut shares: Vec<Share> = Vec::new();
    for item in items {
        if shares.last().is_none_or(|share| share.category != item.category) {
            let category = item.category;
            shares.push(Share { category, count: 0, active: 0, bytes: 0, reclaimable: 0 });
        }
        let Some(share) = shares.last_mut() else { continue };
        share.count += 1;
        share.active += u64::from(item.in_use);
        share.bytes += item.own;
        share.reclaimable += if item.in_use { 0 } else { item.own };
        for part in item.needs.iter().filter(|part| seen.insert(**part)) {
            let bytes = parts.get(part).copied().unwrap_or(0);
            share.bytes += bytes;
            share.reclaimable += if used.contains(part) { 0 } else { bytes };
        }
    }
    shares
}

impl Item {
    fn new(category: Category, id: String, name: String, needs: Vec<Part>) -> Self {
        let (space, last_used) = (String::new(), 0);
        Self { category, id, name, size: 0, unique: 0, last_used, in_use: false, own: 0, space, needs }
    }

    /// Whether a running build has looked for what it needs, or for itself.
    pub(super) fn is_needed(&self, needed: &Needed) -> bool {
        self.needs.iter().any(|part| needed.holds(part))
            || Digest::from_hex(&self.id).is_ok_and(|key| needed.digests.contains(&key))
    }

    /// The bytes of its own file or directory.
    pub(super) const fn own(&self) -> u64 {
        self.own
    }
}

impl Part {
    pub(super) const fn digest(&self) -> Digest {
        match self {
            Self::Blob(digest) | Self::Layer(digest) => *digest,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Blob(_) => "blob",
            Self::Layer(_) => "layer",
        }
    }
}

/// Measures files, each inode once: trees share unchanged files.
#[derive(Default)]
struct Sizes {
    seen: HashSet<(u64, u64)>,
    forms: Forms,
}

impl Sizes {
    /// All blobs and layers.
    fn parts(&mut self, store: &Store) -> Result<HashMap<Part, u64>> {
        let mut parts = HashMap::new();
        let blobs = store.root.join("blobs/sha256");
        for name in names(&blobs)? {
            let Ok(digest) = Digest::from_hex(&name) else { continue };
            let bytes = self.tree(&blobs.join(&name));
            add(&mut self.forms.blobs, bytes);
            parts.insert(Part::Blob(digest), bytes);
        }
        let layers = store.root.join("layers");
        for name in names(&layers)? {
            let Ok(diff_id) = Digest::from_hex(&name) else { continue };
            let directory = layers.join(&name);
            let mut all = metadata(&directory).map_or(0, |found| found.blocks() * 512);
            for form in names(&directory)? {
                let bytes = self.tree(&directory.join(&form));
                all += bytes;
                match form.as_str() {
                    "index" => add(&mut self.forms.indexes, bytes),
                    "tar" => add(&mut self.forms.tars, bytes),
                    _ if form.ends_with(".complete") || form == "blobs" => {}
                    _ => add(&mut self.forms.trees, bytes),
                }
            }
            parts.insert(Part::Layer(diff_id), all);
        }
        Ok(parts)
    }

    /// When a file changed and what it takes; zeros if it is not there.
    fn file(&mut self, path: &Path) -> (i64, u64) {
        metadata(path).map_or((0, 0), |found| (found.mtime(), found.blocks() * 512))
    }

    fn file_time(&self, path: &Path) -> i64 {
        metadata(path).map_or(0, |found| found.mtime())
    }

    /// The bytes of a file, or a directory with all that is in it; what may not be listed counts nothing.
    fn tree(&mut self, path: &Path) -> u64 {
        let walk = walkdir::WalkDir::new(path).follow_root_links(false).into_iter();
        walk.filter_map(|entry| entry.ok()?.metadata().ok()).map(|found| self.one(&found)).sum()
    }

    fn one(&mut self, found: &Metadata) -> u64 {
        let again = !found.is_dir() && found.nlink() > 1 && !self.seen.insert((found.dev(), found.ino()));
        if again { 0 } else { found.blocks() * 512 }
    }
}

fn add(space: &mut Space, bytes: u64) {
    space.count += 1;
    space.bytes += bytes;
}

fn metadata(path: &Path) -> Option<Metadata> {
    std::fs::symlink_metadata(path).ok()
}

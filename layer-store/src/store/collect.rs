//! Collection of what nothing needs: marks from the roots, then sweeps.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Deserialize;

use super::lease::Needed;
use super::usage::Part;
use super::{ImageRecord, flock};
use crate::error::IoContext as _;
use crate::manifest::{DOCUMENT_LIMIT, media_type};
use crate::store::writing::fresh_name;
use crate::{Descriptor, Digest, Error, ImageConfig, Result, Store};

/// The records of steps, see [`Step`].
pub(super) const STEPS: &str = "steps";

/// What went into the key of a step; it goes with the step's record.
const REASONS: &str = "reasons";

/// What every record in [`STEPS`] has; the rest is its writer's.
#[derive(Deserialize)]
pub(super) struct Step {
    pub(super) diff_id: Digest,
    #[serde(default)]
    pub(super) name: String,
}

/// What something needs.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) blobs: HashSet<Digest>,
    pub(super) layers: HashSet<Digest>,
}

impl Live {
    /// The same as a list, with the blobs of the layers.
    pub(super) fn parts(&self, store: &Store) -> Result<Vec<Part>> {
        let mut parts: HashSet<Part> = self.blobs.iter().map(|digest| Part::Blob(*digest)).collect();
        for layer in &self.layers {
            parts.extend(store.parts_of_layer(layer)?);
        }
        Ok(parts.into_iter().collect())
    }
}

impl Store {
    /// Removes what nothing needs after `remove` has taken roots away. Roots are the named images, with all that their
    /// manifests and configurations name, the step records with their layers, and what running builds look for or may
    /// have made; a layer keeps its blobs. A damaged manifest or configuration keeps only itself. Nobody can look for
    /// anything while that is worked out, which takes as long as reading all manifests and records; removal itself
    /// comes after that. Returns the bytes that came back.
    pub(super) fn sweep(&self, remove: impl FnOnce() -> Result<()>) -> Result<u64> {
        {
            let Some(_stopped) = self.stop_looks()? else { return Err(Error::Busy) };
            remove()?;
            let needed = self.needed()?;
            let live = self.live(&needed)?;
            self.set_aside_dead(&live, &needed)?;
            // Nobody can begin a lease now, whose file is not locked for a moment.
            free_files(self, &self.root.join("locks"), &mut 0)?;
        }
        let mut freed = 0;
        free_files(self, &self.root.join("ingest"), &mut freed)?;
        self.remove_scratch(&mut freed)?;
        Ok(freed)
    }

    /// What images, step records and running builds need. Step records whose layer is not here are removed on the way.
    fn live(&self, needed: &Needed) -> Result<Live> {
        let mut live = Live { blobs: needed.digests.clone(), layers: needed.digests.clone() };
        for record in self.images_that_can_be_read()? {
            self.mark_image(&record, &mut live)?;
        }
        for key in self.record_keys(STEPS)? {
            let step =
                self.record(STEPS, &key)?.and_then(|bytes| serde_json::from_slice::<Step>(&bytes).ok());
            match step {
                Some(step) if self.layer_dir(&step.diff_id).exists() => {
                    live.layers.insert(step.diff_id);
                }
                _ => {
                    self.remove_record(STEPS, &key)?;
                    self.remove_record(REASONS, &key)?;
                }
            }
        }
        for part in live.layers.clone().iter().map(|layer| self.parts_of_layer(layer)) {
            live.blobs.extend(part?.iter().map(Part::digest));
        }
        Ok(live)
    }

    /// A layer, and the blobs that hold it.
    pub(super) fn parts_of_layer(&self, layer: &Digest) -> Result<Vec<Part>> {
        let blobs = match self.blob_records(layer) {
            Ok(known) => known,
            // A list that cannot be read names nothing; the layer itself stays.
            Err(Error::Malformed { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let blobs = blobs.iter().map(|blob| Part::Blob(blob.descriptor.digest));
        Ok(std::iter::once(Part::Layer(*layer)).chain(blobs).collect())
    }

    /// Moves what nothing needs out of sight.
    fn set_aside_dead(&self, live: &Live, needed: &Needed) -> Result<()> {
        let places = [("layers", &live.layers), ("blobs/sha256", &live.blobs)];
        for (directory, live) in places {
            let directory = self.root.join(directory);
            for name in names(&directory)? {
                let path = directory.join(&name);
                let lives = Digest::from_hex(&name).is_ok_and(|digest| live.contains(&digest));
                let young =
                    || std::fs::symlink_metadata(&path).is_ok_and(|found| needed.may_have_made(&found));
                if !lives && !young() {
                    self.set_aside(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Renames something to where the next sweep removes it: half removed it would look whole after a crash.
    pub(super) fn set_aside(&self, path: &Path) -> Result<()> {
        let aside = self.root.join("tmp").join(format!("{}.dead", fresh_name()));
        match std::fs::rename(path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("rename", path),
            _ => Ok(()),
        }
    }

    /// Marks all that an image needs.
    pub(super) fn mark_image(&self, record: &ImageRecord, live: &mut Live) -> Result<()> {
        let platforms = record.platforms.iter();
        let tops =
            platforms.flat_map(|image| image.manifest.iter().chain([&image.config])).chain(&record.index);
        for top in tops {
            live.blobs.insert(top.digest);
            let blobs = match self.closure(top) {
                Ok(closure) => closure.present,
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(_) => continue,
            };
            for blob in &blobs {
                live.blobs.insert(blob.digest);
                if matches!(blob.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
                    live.layers.extend(self.diff_ids(blob)?);
                }
            }
        }
        Ok(())
    }

    /// The layers that a configuration names; none if it is damaged.
    pub(super) fn diff_ids(&self, config: &Descriptor) -> Result<Vec<Digest>> {
        match self.read_blob(&config.digest, DOCUMENT_LIMIT) {
            Ok(bytes) => {
                Ok(ImageConfig::from_slice(&bytes).map_or_else(|_| Vec::new(), |it| it.rootfs.diff_ids))
            }
            Err(error @ Error::Io { .. }) => Err(error),
            Err(_) => Ok(Vec::new()),
        }
    }
}

impl Store {
    /// Removes what processes that are gone have left half-made, but not downloads, which go on where they were cut.
    /// Costs the listing of one directory if there is nothing.
    pub fn tidy(&self) -> Result<()> {
        self.remove_scratch(&mut 0)
    }

    /// Removes scratch directories, and files that never got their name, whose process is gone, and what was set aside.
    fn remove_scratch(&self, freed: &mut u64) -> Result<()> {
        let directory = self.root.join("tmp");
        for name in names(&directory)? {
            let path = directory.join(&name);
            if let Some(scratch) = name.strip_suffix(".lock") {
                if let Some(_lock) = flock::try_acquire(&path, false)? {
                    self.remove_counted(&directory.join(scratch), freed)?;
                    self.remove_counted(&path, freed)?;
                }
            } else if name.ends_with(".file") {
                if let Some(_lock) = flock::try_acquire(&path, false)? {
                    self.remove_counted(&path, freed)?;
                }
            } else if !directory.join(format!("{name}.lock")).exists() {
                self.remove_counted(&path, freed)?;
            }
        }
        Ok(())
    }

    fn remove_counted(&self, path: &Path, freed: &mut u64) -> Result<()> {
        let size = size_on_disk(path);
        self.remove_all(path)?;
        *freed += size;
        Ok(())
    }
}

/// Removes the files of a directory whose lock nobody holds.
fn free_files(store: &Store, directory: &Path, freed: &mut u64) -> Result<()> {
    for name in names(directory)?.into_iter().filter(|name| name != "collect") {
        let path = directory.join(name);
        if let Some(_lock) = flock::try_acquire(&path, false)? {
            store.remove_counted(&path, freed)?;
        }
    }
    Ok(())
}

/// The bytes that come back when `path` is removed: files that have a name elsewhere, as trees share unchanged ones,
/// do not count. Neither does what may not be listed.
fn size_on_disk(path: &Path) -> u64 {
    let mut links: HashMap<(u64, u64), u64> = HashMap::new();
    let mut size = |found: &Metadata| {
        if !found.is_dir() && found.nlink() > 1 {
            let seen = links.entry((found.dev(), found.ino())).or_default();
            *seen += 1;
            if *seen < found.nlink() {
                return 0;
            }
        }
        found.blocks() * 512
    };
    let walk = walkdir::WalkDir::new(path).follow_root_links(false).into_iter();
    walk.filter_map(|entry| entry.ok()?.metadata().ok()).map(|found| size(&found)).sum()
}

/// The names in a directory, sorted; none if it is not there.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                // The store has ASCII names only.
                names.extend(entry.context("list", directory)?.file_name().into_string());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("list", directory),
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::RootFs;
    use crate::store::PlatformImage;
    use crate::{Manifest, StoreOptions};

    fn open() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        (dir, store)
    }

    fn put(store: &Store, kind: &str, bytes: &[u8]) -> Descriptor {
        Descriptor::new(kind, store.put_blob(bytes).unwrap(), bytes.len() as u64)
    }

    /// An image of one layer that was pulled: a blob, and a directory that stands for the other forms.
    fn image(store: &Store, name: &str) -> (Digest, Descriptor) {
        let diff_id = Digest::of(name.as_bytes());
        let blob = put(store, media_type::OCI_LAYER_GZIP, format!("layer of {name}").as_bytes());
        store.remember_blob(&diff_id, &blob).unwrap();
        std::fs::create_dir_all(store.layer_dir(&diff_id).join("tree/usr")).unwrap();
        std::fs::write(store.layer_dir(&diff_id).join("tree/usr/file"), [1; 10_000]).unwrap();
        let rootfs = RootFs { diff_ids: vec![diff_id], ..RootFs::default() };
        let config = ImageConfig { rootfs, ..ImageConfig::default() };
        let config = put(store, media_type::OCI_CONFIG, &config.to_bytes());
        let manifest = Manifest::image(config.clone(), vec![blob.clone()], BTreeMap::new());
        let index = Manifest::index(vec![manifest.descriptor()], BTreeMap::new());
        put(store, media_type::OCI_MANIFEST, &manifest.raw);
        put(store, media_type::OCI_INDEX, &index.raw);
        let platform = PlatformImage { config, manifest: Some(manifest.descriptor()), origin: None };
        let record = ImageRecord {
            name: name.to_owned(),
            platforms: vec![platform],
            index: Some(index.descriptor()),
            tagged: "2026-01-01T00:00:00Z".to_owned(),
        };
        store.tag(&record).unwrap();
        (diff_id, blob)
    }

    fn blobs(store: &Store) -> usize {
        names(&store.root.join("blobs/sha256")).unwrap().len()
    }

    #[test]
    fn what_has_a_name_stays_and_the_rest_goes() {
        let (_dir, store) = open();
        let (kept, _) = image(&store, "kept");
        let (gone, blob) = image(&store, "gone");
        store.put_blob(b"of nobody").unwrap();
        assert_eq!(blobs(&store), 9);
        store.collect().unwrap();
        assert_eq!(blobs(&store), 8);
        assert!(store.untag("gone").unwrap());
        let freed = store.collect().unwrap();
        assert!((10_000..60_000).contains(&freed), "{freed}");
        assert_eq!(blobs(&store), 4);
        assert!(store.layer_dir(&kept).join("tree/usr/file").exists());
        assert!(!store.layer_dir(&gone).exists());
        assert_eq!(store.blob_size(&blob.digest).unwrap(), None);
        assert_eq!(store.collect().unwrap(), 0);
    }

    #[test]
    fn a_step_keeps_its_layer_and_goes_without_it() {
        let (_dir, store) = open();
        let (diff_id, blob) = image(&store, "image");
        store.untag("image").unwrap();
        let key = |text: &str| Digest::of(text.as_bytes());
        let step = |diff_id: &Digest| format!(r#"{{"diff_id":"{diff_id}","name":"RUN x"}}"#).into_bytes();
        store.put_record(STEPS, &key("here"), &step(&diff_id)).unwrap();
        store.put_record(STEPS, &key("lost"), &step(&key("no layer"))).unwrap();
        store.put_record(STEPS, &key("torn"), b"{").unwrap();
        store.collect().unwrap();
        assert_eq!(store.record_keys(STEPS).unwrap(), [key("here")]);
        assert!(store.layer_dir(&diff_id).exists());
        assert_eq!(blobs(&store), 1, "the layer's blob, without manifest and configuration");
        assert!(store.blob_size(&blob.digest).unwrap().is_some());
    }

    #[test]
    fn nothing_that_lives_is_taken() {
        let (_dir, store) = open();
        let mut ingest = store.ingest(&Digest::of(b"whole"), 5).unwrap().unwrap();
        ingest.write(b"who").unwrap();
        let dead = Digest::of(b"dead");
        store.ingest(&dead, 4).unwrap().unwrap().write(b"de").unwrap();
        let scratch = store.scratch().unwrap();
        std::fs::write(scratch.path().join("upper"), "x").unwrap();
        let lock = store.lock("steps", &dead).unwrap();
        // What a killed process leaves.
        let tmp = store.root.join("tmp");
        std::fs::create_dir_all(tmp.join("1-2-3/work/work")).unwrap();
        for file in ["1-2-3.lock", "1-2-4.file", "1-2-5.dead", "1-2-6.lock", "../locks/steps-abc"] {
            std::fs::write(tmp.join(file), "").unwrap();
        }
        store.collect().unwrap();
        assert!(scratch.path().join("upper").exists());
        assert_eq!(names(&tmp).unwrap().len(), 2);
        assert_eq!(names(&store.root.join("ingest")).unwrap(), [Digest::of(b"whole").hex()]);
        assert_eq!(names(&store.root.join("locks")).unwrap().len(), 2);
        drop(lock);
        ingest.write(b"le").unwrap();
        ingest.commit().unwrap();

        let other = Store::open(store.root(), StoreOptions::default()).unwrap();
        let (here, there) = (store.in_use().unwrap(), other.in_use().unwrap());
        assert!(other.blob_size(&Digest::of(b"whole")).unwrap().is_some());
        for guard in [here, there] {
            store.collect().unwrap();
            assert_eq!(blobs(&store), 1, "what a build looked for stays");
            drop(guard);
        }
        store.collect().unwrap();
        assert_eq!(blobs(&store), 0);
    }

    #[test]
    fn a_damaged_image_stops_no_collection() {
        let (_dir, store) = open();
        let (kept, _) = image(&store, "kept");
        image(&store, "damaged");
        let record = store.image("damaged").unwrap().unwrap();
        for digest in [record.index.unwrap().digest, record.platforms[0].config.digest] {
            std::fs::remove_file(store.blob_path(&digest)).unwrap();
            std::fs::write(store.blob_path(&digest), "rubbish").unwrap();
        }
        store.collect().unwrap();
        assert!(store.layer_dir(&kept).exists());
    }

    #[test]
    fn shared_files_come_back_with_their_last_name() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::create_dir_all(&two).unwrap();
        std::fs::write(one.join("a"), [0; 100_000]).unwrap();
        std::fs::hard_link(one.join("a"), two.join("a")).unwrap();
        std::fs::hard_link(one.join("a"), two.join("b")).unwrap();
        assert!(size_on_disk(&one) < 50_000);
        std::fs::remove_dir_all(&one).unwrap();
        assert!((100_000..150_000).contains(&size_on_disk(&two)));
    }
}

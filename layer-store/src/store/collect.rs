//! Collection of what nothing needs: marks from the roots, then sweeps.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Deserialize;

use super::{ImageRecord, flock};
use crate::error::IoContext as _;
use crate::manifest::media_type;
use crate::store::writing::fresh_name;
use crate::{Descriptor, Digest, Error, ImageConfig, Result, Store};

/// An image configuration is at most this long, in bytes.
const CONFIG_LIMIT: u64 = 8 << 20;

/// The records of steps, see [`Step`].
const STEPS: &str = "steps";

/// What went into the key of a step; it goes with the step's record.
const REASONS: &str = "reasons";

/// What every record in [`STEPS`] has; the rest is its writer's.
#[derive(Deserialize)]
struct Step {
    diff_id: Digest,
}

/// What something needs.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) blobs: HashSet<Digest>,
    pub(super) layers: HashSet<Digest>,
}

impl Store {
    /// Removes all blobs, layers and half-written things that no image, no step record and no running build needs,
    /// and step records whose layer is gone. Returns the bytes that came back, as the disk counts them.
    ///
    /// Roots are the named images, with all that their manifests and configurations name, and the step records with
    /// their layer; a layer keeps its blobs. A damaged manifest or configuration keeps only itself. A kill at any
    /// moment leaves what is not yet removed whole.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] at once, with nothing removed, while anybody holds [`Store::in_use`].
    pub fn collect(&self) -> Result<u64> {
        let Some(_alone) = self.alone()? else { return Err(Error::Busy) };
        let live = self.live()?;
        let mut sweep = Sweep { store: self, freed: 0 };
        sweep.layers(&live.layers)?;
        sweep.blobs(&live.blobs)?;
        sweep.free_files(&self.root.join("ingest"))?;
        sweep.scratch()?;
        sweep.free_files(&self.root.join("locks"))?;
        let freed = sweep.freed;
        self.refresh_layout()?;
        Ok(freed)
    }

    /// What images and step records need. Step records whose layer is not here are removed on the way.
    fn live(&self) -> Result<Live> {
        let mut live = Live::default();
        for record in self.images()? {
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
        for layer in &live.layers {
            // A list that cannot be read names nothing; the layer itself stays.
            match self.blob_records(layer) {
                Ok(known) => live.blobs.extend(known.iter().map(|blob| blob.descriptor.digest)),
                Err(Error::Malformed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(live)
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
    fn diff_ids(&self, config: &Descriptor) -> Result<Vec<Digest>> {
        match self.read_blob(&config.digest, CONFIG_LIMIT) {
            Ok(bytes) => {
                Ok(ImageConfig::from_slice(&bytes).map_or_else(|_| Vec::new(), |it| it.rootfs.diff_ids))
            }
            Err(error @ Error::Io { .. }) => Err(error),
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// Removes, and counts.
struct Sweep<'a> {
    store: &'a Store,
    freed: u64,
}

impl Sweep<'_> {
    fn layers(&mut self, live: &HashSet<Digest>) -> Result<()> {
        for name in names(&self.store.root.join("layers"))? {
            match Digest::from_hex(&name) {
                Ok(diff_id) if live.contains(&diff_id) => continue,
                Ok(diff_id) => self.store.indexes.forget(&diff_id),
                Err(_) => {}
            }
            let path = self.store.root.join("layers").join(&name);
            // Renamed first: a layer that is half removed would look like a whole one after a crash.
            let aside = self.store.root.join("tmp").join(format!("{}.dead", fresh_name()));
            std::fs::rename(&path, &aside).context("rename", &path)?;
            self.remove(&aside)?;
        }
        Ok(())
    }

    fn blobs(&mut self, live: &HashSet<Digest>) -> Result<()> {
        let directory = self.store.root.join("blobs/sha256");
        for name in names(&directory)? {
            if !Digest::from_hex(&name).is_ok_and(|digest| live.contains(&digest)) {
                self.remove(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes the files of a directory whose lock nobody holds.
    fn free_files(&mut self, directory: &Path) -> Result<()> {
        for name in names(directory)?.into_iter().filter(|name| name != "collect") {
            let path = directory.join(name);
            if let Some(_lock) = flock::try_acquire(&path, false)? {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes scratch directories, and files that never got their name, whose process is gone.
    fn scratch(&mut self) -> Result<()> {
        let directory = self.store.root.join("tmp");
        for name in names(&directory)? {
            let path = directory.join(&name);
            if let Some(scratch) = name.strip_suffix(".lock") {
                if let Some(_lock) = flock::try_acquire(&path, false)? {
                    self.remove(&directory.join(scratch))?;
                    self.remove(&path)?;
                }
            } else if name.ends_with(".file") {
                if let Some(_lock) = flock::try_acquire(&path, false)? {
                    self.remove(&path)?;
                }
            } else if !directory.join(format!("{name}.lock")).exists() {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let freed = size_on_disk(path);
        self.store.remove_all(path)?;
        self.freed += freed;
        Ok(())
    }
}

/// The bytes that come back when `path` is removed: files that have a name elsewhere, as trees share unchanged ones,
/// do not count. Neither does what may not be listed.
pub(super) fn size_on_disk(path: &Path) -> u64 {
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
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
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
        for guard in [here, there] {
            assert!(matches!(store.collect(), Err(Error::Busy)));
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

//! Several processes on one store, some of which are killed.
//!
//! A test starts its own binary again, which finds in `STORE_OF_PARENT` that it is the child and what to work on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use layer_store::layer::{Compression, FileSource, Form, NewEntry, NewKind};
use layer_store::manifest::media_type;
use layer_store::store::{ImageRecord, PlatformImage};
use layer_store::{Descriptor, Digest, ImageConfig, Store, StoreOptions};

const PARENT: &str = "STORE_OF_PARENT";

fn child(test: &str, store: &Path, number: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(PARENT, format!("{number}:{}", store.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// In a child: its number and the store.
fn parent() -> Option<(u32, PathBuf)> {
    let value = std::env::var(PARENT).ok()?;
    let (number, path) = value.split_once(':').unwrap();
    Some((number.parse().unwrap(), PathBuf::from(path)))
}

fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::default()).unwrap()
}

/// Bytes of their own for each seed.
fn content(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Takes a blob in, slowly enough to be killed on the way; whether it was this process that did.
fn take_in(store: &Store, seed: u32) -> bool {
    let bytes = content(seed, 300_000);
    let Some(mut ingest) = store.ingest(&Digest::of(&bytes), bytes.len() as u64).unwrap() else {
        return false;
    };
    let rest = bytes[usize::try_from(ingest.offset()).unwrap()..].to_vec();
    for part in rest.chunks(20_000) {
        ingest.write(part).unwrap();
    }
    ingest.commit().unwrap();
    true
}

/// What a small build does to a store.
fn build(store: &Store, seed: u32) {
    let _in_use = store.in_use().unwrap();
    take_in(store, seed);
    let files = (0..20_u32).map(|number| {
        let bytes = content(seed * 100 + number, 3000);
        NewEntry {
            path: format!("file-{number}").into_bytes(),
            kind: NewKind::File { size: bytes.len() as u64, source: FileSource::Bytes(bytes.into()) },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1,
            xattrs: BTreeMap::new(),
        }
    });
    let scratch = store.scratch().unwrap();
    std::fs::write(scratch.path().join("upper"), "x").unwrap();
    let form = if seed.is_multiple_of(2) { Form::Tree } else { Form::Tar };
    let diff_id = store.write_layer(files.collect(), form).unwrap();
    let step = format!(r#"{{"diff_id":"{diff_id}"}}"#);
    store.put_record("steps", &Digest::of(&seed.to_le_bytes()), step.as_bytes()).unwrap();
    let layer = store.layer_blob(&diff_id, Compression::Gzip(6), false).unwrap();
    let mut config = ImageConfig::default();
    config.rootfs.diff_ids.push(diff_id);
    let bytes = config.to_bytes();
    let config = Descriptor::new(media_type::OCI_CONFIG, store.put_blob(&bytes).unwrap(), bytes.len() as u64);
    let manifest = layer_store::Manifest::image(config.clone(), vec![layer], BTreeMap::new());
    store.put_blob(&manifest.raw).unwrap();
    let image = PlatformImage { config, manifest: Some(manifest.descriptor()), origin: None };
    store
        .tag(&ImageRecord {
            name: format!("example.com/image:{seed}"),
            platforms: vec![image],
            index: None,
            tagged: "2026-01-01T00:00:00Z".to_owned(),
        })
        .unwrap();
}

fn count(store: &Store, directory: &str) -> usize {
    std::fs::read_dir(store.root().join(directory)).unwrap().count()
}

#[test]
fn a_kill_at_any_moment_leaves_a_store_that_works() {
    const TEST: &str = "a_kill_at_any_moment_leaves_a_store_that_works";
    const MEASURED: u32 = 999_999;
    if let Some((number, path)) = parent() {
        let store = open(&path);
        build(&store, number);
        if number != MEASURED {
            for seed in number + 1.. {
                build(&store, seed);
            }
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // How long a child takes for one image, since machines and their load differ.
    let begun = std::time::Instant::now();
    assert!(child(TEST, dir.path(), MEASURED).wait().unwrap().success());
    let once = begun.elapsed();
    let mut complete = 1;
    for round in 0..25_u32 {
        let mut victim = child(TEST, dir.path(), round * 1000);
        // From before the store is opened to a few images later.
        std::thread::sleep(once * (round * 37 % 100) / 40);
        victim.kill().unwrap();
        victim.wait().unwrap();

        let store = open(dir.path());
        assert_eq!(store.check().unwrap().problems, [], "round {round}");
        let images = store.images().unwrap().len();
        assert!(images >= complete, "round {round}: a name was lost");
        complete = images;
        store.collect().unwrap();
        assert_eq!(count(&store, "ingest") + count(&store, "tmp"), 0, "round {round}");
        assert_eq!(count(&store, "locks"), 1, "round {round}");
        assert_eq!(store.images().unwrap().len(), complete);
        let listed = oci_spec::image::ImageIndex::from_file(store.root().join("index.json")).unwrap();
        assert_eq!(listed.manifests().len(), complete, "round {round}");
        build(&store, 1_000_000 + round);
        complete += 1;
        assert_eq!(store.check().unwrap().problems, []);
    }
    assert!(complete > 26, "some children should get as far as an image: {complete}");
}

#[test]
fn many_processes_do_nothing_twice_and_lose_nothing_to_a_collection() {
    const TEST: &str = "many_processes_do_nothing_twice_and_lose_nothing_to_a_collection";
    if let Some((number, path)) = parent() {
        let store = open(&path);
        if number == 0 {
            let end = std::time::Instant::now() + Duration::from_millis(1500);
            while std::time::Instant::now() < end {
                match store.collect() {
                    Ok(_) | Err(layer_store::Error::Busy) => std::thread::sleep(Duration::from_millis(5)),
                    Err(error) => panic!("{error}"),
                }
            }
            return;
        }
        // All take in the same blobs; who did is written down.
        for seed in 0..10 {
            let _in_use = store.in_use().unwrap();
            if take_in(&store, seed) {
                let mut log = std::fs::OpenOptions::new().append(true).open(path.join("logs/taken")).unwrap();
                writeln!(log, "{seed}").unwrap();
            }
            build(&store, seed);
        }
        build(&store, 500 + number);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    std::fs::write(dir.path().join("logs/taken"), "").unwrap();
    // Nothing names those blobs, so they stay only while somebody uses the store.
    let in_use = store.in_use().unwrap();
    let children: Vec<_> = (0..6).map(|number| child(TEST, dir.path(), number)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let taken = std::fs::read_to_string(dir.path().join("logs/taken")).unwrap();
    let mut taken: Vec<u32> = taken.lines().map(|line| line.parse().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..10).collect::<Vec<_>>());
    drop(in_use);
    store.collect().unwrap();
    assert_eq!(store.images().unwrap().len(), 15);
    assert_eq!(store.check().unwrap().problems, []);
}

#[test]
fn builds_and_collections_side_by_side() {
    const TEST: &str = "builds_and_collections_side_by_side";
    if let Some((number, path)) = parent() {
        let store = open(&path);
        for seed in number * 100..number * 100 + 8 {
            build(&store, seed);
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut children: Vec<_> = (1..4).map(|number| child(TEST, dir.path(), number)).collect();
    let mut collected = 0;
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        collected += u32::from(store.collect().is_ok());
        std::thread::sleep(Duration::from_millis(2));
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    store.collect().unwrap();
    assert_eq!(store.images().unwrap().len(), 24, "after {collected} collections between");
    assert_eq!(store.check().unwrap().problems, []);
}

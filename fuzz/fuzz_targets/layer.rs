//! A layer of a stranger: a tar described as in `testdata/tar/hostile`, or bytes. It becomes an index and a tree or it is
//! refused, the same for both; nothing beside its own directory changes, every path of it has an answer, and what was
//! taken in is given back to the byte.

#![no_main]

#[path = "../../layer-store/tests/hostile/archive.rs"]
mod archive;

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use layer_store::layer::{Form, Limits, TarLimits, decompress};
use layer_store::store::Durability;
use layer_store::{Digest, Store, StoreOptions};
use libfuzzer_sys::fuzz_target;

/// The store lies two directories deep in a place of its own, so that paths upwards end there.
struct Place {
    root: PathBuf,
    store: Store,
}

static PLACE: OnceLock<Place> = OnceLock::new();

const LIMITS: Limits = Limits { bytes: 1 << 20, ratio: 1100, free: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    let blob = described(bytes).unwrap_or_else(|| with_checksums(bytes.to_vec()));
    let mut tar = Vec::new();
    let whole = decompress(&blob[..], LIMITS).and_then(|mut bytes| bytes.read_to_end(&mut tar));
    let diff_id = Digest::of(&tar);
    let Place { root, store } = PLACE.get_or_init(place);
    let limits = TarLimits { entries: 500, bytes: 1 << 24, ..TarLimits::default() };
    // The index of a tar that came before is still in memory, so whether it was read says nothing.
    let apply = |form| store.apply_within(&mut &blob[..], &diff_id, form, LIMITS, limits).map(drop);
    let indexed = apply(Form::Index).map_err(|error| error.to_string());
    let extracted = apply(Form::Tree).map_err(|error| error.to_string());
    assert_eq!(indexed, extracted);
    assert!(whole.is_ok() || indexed.is_err());
    assert_eq!(names(root), ["a", "canary"]);
    assert_eq!(names(&root.join("a")), ["canary", "store"]);
    assert_eq!(names(&store.root().join("tmp")).len(), 0);
    if indexed.is_ok() {
        look_at(store, &diff_id);
        let layer = store.root().join("layers").join(diff_id.hex());
        fs::remove_dir_all(layer).unwrap();
    }
});

fn look_at(store: &Store, diff_id: &Digest) {
    let view = store.view(&[*diff_id]).unwrap();
    for entry in store.index(diff_id).unwrap().entries() {
        // A loop of links is an error.
        let _ = view.resolve(&entry.path, true);
        let _ = view.lookup(&entry.path).and_then(|located| view.content(located));
    }
    let _ = view.walk(b"");
}

fn place() -> Place {
    let shared_memory = PathBuf::from("/dev/shm");
    let parent = if shared_memory.is_dir() { shared_memory } else { std::env::temp_dir() };
    let root = parent.join(format!("fuzz-layer-{}", std::process::id()));
    fs::create_dir_all(root.join("a")).unwrap();
    for directory in [root.clone(), root.join("a")] {
        fs::write(directory.join("canary"), "alive").unwrap();
    }
    let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
    let store = Store::open(&root.join("a/store"), options).unwrap();
    Place { root, store }
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The tar that a description means, if it is one and asks for no more than a tar of some kilobytes.
fn described(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("expect "))?;
    let counts = text.split(['*', ' ']).filter_map(|after| {
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    });
    let growth = counts.fold(1_usize, |product, count| product.saturating_mul(count.max(1)));
    (growth < 1 << 16).then(|| archive::build(text).ok()).flatten()
}

/// Corrects the checksums of what looks like headers, which mutation destroys and which would be all that is seen.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

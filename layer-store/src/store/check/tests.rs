//! A flipped bit in any file of the store is found, and nothing made after a repair has it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Checked, Problem, Remedy};
use crate::config::RootFs;
use crate::digest::HashingWriter;
use crate::layer::tests::{dir, file, store};
use crate::layer::{Compression, Form, NewEntry, NewKind};
use crate::manifest::media_type;
use crate::store::{Durability, ImageRecord, PlatformImage};
use crate::{Descriptor, Digest, Error, ImageConfig, Store};

/// A store with layers in each form and an image of them: a tree alone, a tar alone, a pulled blob with its tree, a
/// blob that was made here, a patch of a tree, records.
fn furnished() -> (tempfile::TempDir, Store, Vec<Digest>) {
    let (directory, store) = store();
    let entries = |name: &str| -> Vec<NewEntry> {
        let link = NewKind::Hardlink { target: format!("{name}/file").into_bytes() };
        let symlink = NewKind::Symlink { target: b"file".to_vec() };
        let mut entries = vec![
            dir(name),
            file(&format!("{name}/file"), name.repeat(300).as_bytes()),
            file("etc/passwd", b"root"),
        ];
        for (path, kind) in [("link", link), ("symlink", symlink)] {
            entries.push(NewEntry { path: format!("{name}/{path}").into_bytes(), kind, ..dir("") });
        }
        entries
    };
    let tree = store.write_layer(entries("tree"), Form::Tree).unwrap();
    let tar = store.write_layer(entries("tar"), Form::Tar).unwrap();
    store.layer_blob(&tar, Compression::Gzip(6), false).unwrap();
    let pulled = pull(&store, &entries("pulled"));
    let link = crate::Entry {
        kind: crate::Kind::Hardlink { target: b"pulled/file".to_vec() },
        ..crate::Entry::implied_directory(b"pulled/other".to_vec())
    };
    let mut bytes = Vec::new();
    crate::layer::tar::encode(&link, &mut bytes).unwrap();
    bytes.extend_from_slice(&crate::layer::tar::END);
    let patched = Digest::of(&bytes);
    store.apply(&mut bytes.as_slice(), &patched, Form::Tar).unwrap();
    let layers = vec![tree, tar, pulled, patched];
    let trees = store.trees(&store.view(&layers).unwrap()).unwrap();
    assert_eq!(trees.len(), 5, "one of them is a patch");
    // What has a tree by now shall have nothing else but one form more.
    std::fs::remove_dir_all(store.tree_path(&tar)).unwrap();
    std::fs::remove_file(store.tree_marker(&tar)).unwrap();
    let step = format!(r#"{{"diff_id":"{tree}"}}"#);
    store.put_record("steps", &Digest::of(b"step"), step.as_bytes()).unwrap();
    name(&store, &layers);
    (directory, store, layers)
}

/// A layer that came from a registry, as blob and tree.
fn pull(store: &Store, entries: &[NewEntry]) -> Digest {
    let (_elsewhere, other) = crate::layer::tests::store();
    let diff_id = other.write_layer(entries.to_vec(), Form::Tar).unwrap();
    let blob = other.layer_blob(&diff_id, Compression::Gzip(6), false).unwrap();
    let bytes = other.read_blob(&blob.digest, 1 << 20).unwrap();
    store.put_blob(&bytes).unwrap();
    store.remember_blob(&diff_id, &blob).unwrap();
    store.apply(&mut bytes.as_slice(), &diff_id, Form::Tree).unwrap();
    diff_id
}

fn name(store: &Store, layers: &[Digest]) {
    let rootfs = RootFs { diff_ids: layers.to_vec(), ..RootFs::default() };
    let config = ImageConfig { rootfs, ..ImageConfig::default() }.to_bytes();
    let digest = store.put_blob(&config).unwrap();
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, config.len() as u64);
    let (name, tagged) = ("app:1".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    let platforms = vec![PlatformImage { config, manifest: None, origin: None }];
    store.tag(&ImageRecord { name, platforms, index: None, tagged }).unwrap();
}

/// Regular files that hold something: not locks, and not what is made anew from the rest.
fn files(store: &Store) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(store.root()).sort_by_file_name().into_iter();
    let mut files: Vec<PathBuf> = walk
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file() && entry.metadata().unwrap().len() > 0)
        .map(walkdir::DirEntry::into_path)
        .collect();
    let made_anew = ["oci-layout", "index.json", "locks/", "logs/"];
    files.retain(|file| {
        let below = file.strip_prefix(store.root()).unwrap().to_str().unwrap();
        !made_anew.iter().any(|name| below.starts_with(name))
    });
    files
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bit % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    let mode = std::fs::metadata(path).unwrap().permissions();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().write_all(&bytes).unwrap();
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn a_whole_store_has_no_problems() {
    let (_directory, store, _) = furnished();
    let Checked { blobs, layers, images, records, bytes, problems } = store.check().unwrap();
    assert_eq!((blobs, layers, images, records), (3, 4, 1, 1));
    assert!(bytes > 1000);
    assert_eq!(problems, []);
}

#[test]
fn a_flipped_bit_in_any_file_is_found_and_gets_into_no_layer() {
    let (_directory, first, _) = furnished();
    let kinds: Vec<String> = files(&first)
        .iter()
        .map(|file| file.strip_prefix(first.root()).unwrap().display().to_string())
        .collect();
    assert!(kinds.len() > 14, "{kinds:?}");
    drop(first);
    for (number, kind) in kinds.iter().enumerate() {
        let (_directory, store, layers) = furnished();
        flip(&store.root().join(kind), 7919 * (number + 1));
        // As the next process finds it.
        let options = crate::StoreOptions { durability: Durability::None, ..Default::default() };
        let store = Store::open(store.root(), options).unwrap();
        let found = store.check().unwrap().problems;
        assert!(!found.is_empty(), "{kind}: not found");
        let repaired = store.repair(&found).unwrap();
        assert!(repaired.iter().any(|one| one.remedy != Remedy::Left), "{kind}");
        let left = store.check().unwrap().problems;
        let of_an_image = |problem: &Problem| matches!(problem, Problem::DamagedImage { .. });
        assert!(left.iter().all(of_an_image), "{kind}: {left:?}");
        for layer in &layers {
            let mut output = HashingWriter::new(std::io::sink());
            match store.write_tar(layer, &mut output) {
                Ok(()) => assert_eq!(output.finish().1, *layer, "{kind}"),
                Err(Error::Missing { .. }) => {}
                Err(error) => panic!("{kind}: {error}"),
            }
        }
        // A pulled layer comes back from its blob, or is fetched: it is never an error.
        if kind.contains("/tree/") && kind.contains(&layers[2].hex()) {
            assert!(repaired.iter().all(|one| one.remedy == Remedy::Removed), "{kind}: {repaired:?}");
            store.tree(&layers[2]).unwrap();
        }
    }
}

#[test]
fn a_reader_notices_what_the_disk_changed() {
    let (_directory, store, layers) = furnished();
    let tree = store.tree_path(&layers[0]).join("tree/file");
    let tar = store.tar_path(&layers[1]);
    flip(&tree, 100);
    flip(&tar, 8 * 2100);
    let copy = |layer: &Digest, path: &str| {
        let source = crate::layer::FileSource::Layer { diff_id: *layer, path: path.into() };
        let size = path.split('/').next().unwrap().len() as u64 * 300;
        let entry = NewEntry { kind: NewKind::File { size, source }, ..file("copy", b"") };
        store.write_layer(vec![entry], Form::Tar)
    };
    for (layer, path) in [(&layers[0], "tree/file"), (&layers[1], "tar/file")] {
        let error = copy(layer, path).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        let mut reader = store.open_file(layer, path.as_bytes()).unwrap();
        assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());
    }
    copy(&layers[2], "pulled/file").unwrap();
}

#[test]
fn what_was_made_here_is_made_again() {
    let (_directory, store, layers) = furnished();
    let blob = store.known_blobs(&layers[1]).unwrap()[0].clone();
    flip(&store.blob_path(&blob.digest), 4000);
    flip(&store.index_path(&layers[1]), 400);
    let found = store.check().unwrap().problems;
    assert_eq!(found.len(), 2, "{found:?}");
    let repaired = store.repair(&found).unwrap();
    assert!(repaired.iter().all(|one| one.remedy == Remedy::Made), "{repaired:?}");
    assert_eq!(store.check().unwrap().problems, []);
    assert_eq!(store.blob_size(&blob.digest).unwrap(), Some(blob.size));
}

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::index::{Kind, path};
use crate::store::{Durability, TreeKind};
use crate::{Error, Store, StoreOptions};

pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
    let store = Store::open(&dir.path().join("store"), options).unwrap();
    (dir, store)
}

pub(crate) fn new(path: &str, kind: NewKind) -> NewEntry {
    let mode = if matches!(kind, NewKind::Directory { .. }) { 0o755 } else { 0o644 };
    NewEntry { path: path.into(), kind, mode, uid: 0, gid: 0, mtime: 1000, xattrs: BTreeMap::new() }
}

pub(crate) fn dir(path: &str) -> NewEntry {
    new(path, NewKind::Directory { opaque: false })
}

pub(crate) fn file(path: &str, bytes: &[u8]) -> NewEntry {
    let source = FileSource::Bytes(bytes.into());
    new(path, NewKind::File { size: bytes.len() as u64, source })
}

pub(super) fn link(path: &str, target: &str) -> NewEntry {
    new(path, NewKind::Hardlink { target: target.into() })
}

pub(super) fn tar_of(store: &Store, diff_id: &Digest) -> Vec<u8> {
    let mut tar = Vec::new();
    store.write_tar(diff_id, &mut tar).unwrap();
    tar
}

/// All that can be seen of a directory but sockets: path to kind, content, mode, owner, number of names and time.
pub(super) fn seen(root: &Path) -> BTreeMap<String, String> {
    let with_time = |metadata: &std::fs::Metadata| {
        let whiteout = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        format!(" @{}", if whiteout { 0 } else { metadata.mtime() })
    };
    seen_with(root, with_time)
}

/// [`seen`] without times.
pub(super) fn seen_but_times(root: &Path) -> BTreeMap<String, String> {
    seen_with(root, |_| String::new())
}

fn seen_with(root: &Path, time: impl Fn(&std::fs::Metadata) -> String) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let mut text = if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            format!("file {} of {}", bytes.escape_ascii(), metadata.nlink())
        } else if kind.is_symlink() {
            format!("-> {}", std::fs::read_link(entry.path()).unwrap().display())
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("{} {:x}", if kind.is_char_device() { "char" } else { "block" }, metadata.rdev())
        } else if kind.is_socket() {
            continue;
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            "dir".to_owned()
        };
        text +=
            &format!(" {:o} {}:{}", metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid());
        text += &time(&metadata);
        found.insert(entry.path().strip_prefix(root).unwrap().display().to_string(), text);
    }
    found
}

fn everything() -> Vec<NewEntry> {
    let mut tool = file("usr/bin/tool", b"#!");
    tool.mode = 0o4755;
    let mut owned = file("home/x", b"mine");
    (owned.uid, owned.gid, owned.mtime) = (1000, 100, -5);
    owned.xattrs.insert(b"user.note".to_vec(), b"hello".to_vec());
    owned.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
    vec![
        link("usr/bin/also", "usr/bin/tool"),
        tool,
        dir("usr"),
        dir("usr/bin"),
        dir("home"),
        owned,
        new("home/old", NewKind::Whiteout),
        new("fresh", NewKind::Directory { opaque: true }),
        new("lib", NewKind::Symlink { target: b"usr/lib".to_vec() }),
        new("pipe", NewKind::Fifo),
        file("empty", b""),
        file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
        file("big", &vec![b'x'; 700_000]),
    ]
}

#[test]
fn a_layer_is_the_same_in_every_form() {
    let (_dir, one) = store();
    let (_other_dir, other) = store();
    let tree = one.write_layer(everything(), Form::Tree).unwrap();
    let mut reversed = everything();
    reversed.reverse();
    let tar = other.write_layer(reversed, Form::Tar).unwrap();
    assert_eq!(tree, tar);
    assert_eq!(tar_of(&one, &tree), tar_of(&other, &tar));
    assert_eq!(*one.index(&tree).unwrap(), *other.index(&tar).unwrap());
    // The first name in order carries the bytes.
    let index = one.index(&tree).unwrap();
    assert_eq!(
        index.entry(b"usr/bin/tool").unwrap().kind,
        Kind::Hardlink { target: b"usr/bin/also".to_vec() }
    );
    assert_eq!(index.entry(b"usr/bin/also").unwrap().mode, 0o4755);

    let (from_sources, from_tar) = (one.tree(&tree).unwrap(), other.tree(&tar).unwrap());
    assert_eq!(seen(&from_sources), seen(&from_tar));
    let seen = seen(&from_tar);
    assert!(seen["home/old"].starts_with("char 0 0 "));
    assert!(seen["usr/bin/tool"].starts_with("file #! of 2 4755 "));
    assert_eq!(xattr(&from_tar.join("fresh"), "user.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(xattr(&from_tar.join("home/x"), "user.overlay.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(xattr(&from_tar.join("home/x"), "user.overlay.opaque"), None);
    if rustix::process::geteuid().is_root() {
        assert_eq!(seen["home/x"], "file mine of 1 644 1000:100 @-5");
    }

    for (store, diff_id) in [(&one, &tree), (&other, &tar)] {
        let read = |path: &str| {
            let mut bytes = Vec::new();
            store.open_file(diff_id, path.as_bytes()).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read("usr/bin/tool"), b"#!");
        assert_eq!(read("big").len(), 700_000);
        assert!(store.open_file(diff_id, b"usr").is_err());
        let view = store.view(&[*diff_id]).unwrap();
        assert_eq!(store.read_file(&view, b"/etc/passwd", 100).unwrap().unwrap().len(), 26);
        assert!(store.read_file(&view, b"/etc/passwd", 10).is_err());
        assert_eq!(store.read_file(&view, b"/etc/group", 10).unwrap(), None);
        assert_eq!(store.read_file(&view, b"/big/x", 10).unwrap(), None);
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    tree::xattrs::value(File::open(path).unwrap(), name.as_bytes()).unwrap()
}

#[test]
fn a_pulled_blob_gives_any_form() {
    let (_dir, source) = store();
    let diff_id = source.write_layer(everything(), Form::Tar).unwrap();
    let tar = tar_of(&source, &diff_id);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    for blob in [&tar, &gzip, &zstd] {
        let (_dir, store) = store();
        assert!(!store.has_layer(&diff_id) && !store.has_bytes(&diff_id));
        store.apply(&mut blob.as_slice(), &diff_id, Form::Index).unwrap();
        assert!(store.has_layer(&diff_id) && !store.has_bytes(&diff_id));
        assert!(matches!(store.tree(&diff_id), Err(Error::Missing { .. })));
        assert_eq!(store.index(&diff_id).unwrap().entries(), source.index(&diff_id).unwrap().entries());

        let digest = store.put_blob(blob).unwrap();
        let descriptor = crate::Descriptor::new("application/octet-stream", digest, blob.len() as u64);
        store.remember_blob(&diff_id, &descriptor).unwrap();
        assert!(store.has_bytes(&diff_id));
        assert_eq!(tar_of(&store, &diff_id), tar);
        let mut bytes = Vec::new();
        store.open_file(&diff_id, b"big").unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 700_000);
        // Several files of a blob are taken out in one go.
        let copied = ["usr/bin/tool", "big", "home/x"].map(|path| {
            let size = store.index(&diff_id).unwrap().entries().iter().find_map(|entry| match entry.kind {
                Kind::File { size, .. } if entry.path == path.as_bytes() => Some(size),
                _ => None,
            });
            let source = FileSource::Layer { diff_id, path: path.into() };
            new(path.rsplit('/').next().unwrap(), NewKind::File { size: size.unwrap_or(2), source })
        });
        let copied = store.write_layer(copied.to_vec(), Form::Tree).unwrap();
        let copied = seen(&store.tree(&copied).unwrap());
        assert!(copied["x"].starts_with("file mine ") && copied["tool"].starts_with("file #! "));
        assert_eq!(seen(&store.tree(&diff_id).unwrap()), seen(&source.tree(&diff_id).unwrap()));
    }
}

#[test]
fn wrong_bytes_leave_nothing() {
    let (_dir, store) = store();
    let wrong = Digest::of(b"wrong");
    for form in [Form::Tree, Form::Tar, Form::Index] {
        let error = store.apply(&mut &tar::END[..], &wrong, form).unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { expected, .. } if expected == wrong), "{error}");
        assert!(!store.has_layer(&wrong) && !store.has_bytes(&wrong));
    }
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert!(!store.root().join("layers").join(wrong.hex()).exists());
}

#[test]
fn a_damaged_tree_never_becomes_a_tar() {
    let (_dir, store) = store();
    let diff_id = store.write_layer(vec![file("a", b"good")], Form::Tree).unwrap();
    std::fs::write(store.tree(&diff_id).unwrap().join("a"), b"evil").unwrap();
    let error = store.write_tar(&diff_id, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[test]
fn sources_that_lie_are_errors() {
    let (dir, store) = store();
    std::fs::write(dir.path().join("real"), b"four").unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("sym")).unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("here")).unwrap();
    let root = Arc::new(OwnedFd::from(File::open(dir.path()).unwrap()));
    let write = |path: &str, size| {
        let source = FileSource::Host { root: Arc::clone(&root), path: path.into() };
        store.write_layer(vec![new("a", NewKind::File { size, source })], Form::Tree)
    };
    assert!(write("real", 4).is_ok());
    for (path, size) in
        [("real", 3), ("real", 5), ("sym", 4), ("here/real", 4), ("../etc/passwd", 4), ("none", 0)]
    {
        assert!(write(path, size).is_err(), "{path} {size}");
    }
    let refused = |entries| store.write_layer(entries, Form::Tar).unwrap_err().to_string();
    assert!(refused(vec![file("../a", b"")]).contains("not clean"));
    assert!(refused(vec![file("a/.wh.b", b"")]).contains(".wh."));
    assert!(refused(vec![link("a", "b")]).contains("not in the layer"));
    assert!(refused(vec![file("a", b""), file("a/b", b"")]).contains("no directory"));
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn unchanged_files_of_another_tree_are_linked() {
    let (_dir, store) = store();
    let first = store.write_layer(vec![file("a", b"same"), file("b", b"old")], Form::Tree).unwrap();
    let again = |path: &str, size| {
        new(path, NewKind::File { size, source: FileSource::Layer { diff_id: first, path: path.into() } })
    };
    let second = store.write_layer(vec![again("a", 4), file("b", b"new")], Form::Tree).unwrap();
    let inode = |diff_id, name| store.tree(diff_id).unwrap().join(name).metadata().unwrap().ino();
    assert_eq!(inode(&first, "a"), inode(&second, "a"));
    let mut moved = again("a", 4);
    moved.mode = 0o600;
    let third = store.write_layer(vec![moved], Form::Tree).unwrap();
    assert_ne!(inode(&first, "a"), inode(&third, "a"));
}

#[test]
fn files_that_are_as_in_an_earlier_layer_are_linked() {
    let (dir, store) = store();
    let long = |end: &[u8]| [&vec![7; 600_000][..], end].concat();
    let earlier =
        [file("same", &long(b"a")), file("end", &long(b"b")), file("mode", b"m"), file("size", b"x")];
    let first = store.write_layer(earlier.to_vec(), Form::Tree).unwrap();
    let mut closed = file("mode", b"m");
    closed.mode = 0o600;
    let host = dir.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("f"), long(b"c")).unwrap();
    let root = Arc::new(File::open(&host).unwrap().into());
    let source = FileSource::Host { root, path: "f".into() };
    let changed = NewEntry { kind: NewKind::File { size: 600_001, source }, ..file("end", b"") };
    let entries = vec![file("same", &long(b"a")), changed, closed, file("size", b"xy"), file("new", b"n")];
    let second = store.write_layer_like(entries.clone(), Form::Tree, Some(&first)).unwrap();
    let tree = |diff_id, name| store.tree(diff_id).unwrap().join(name);
    let inode = |diff_id, name| tree(diff_id, name).metadata().unwrap().ino();
    assert_eq!(inode(&first, "same"), inode(&second, "same"));
    for name in ["end", "mode", "size"] {
        assert_ne!(inode(&first, name), inode(&second, name), "{name}");
    }
    assert_eq!(std::fs::read(tree(&second, "end")).unwrap(), long(b"c"));
    assert_eq!(std::fs::read(tree(&first, "end")).unwrap(), long(b"b"));
    let (_other, alone) = tests::store();
    assert_eq!(alone.write_layer(entries, Form::Tree).unwrap(), second);
    assert_eq!(store.check().unwrap().problems, []);
}

#[test]
fn layers_without_bytes_need_no_blob() {
    let (_dir, store) = store();
    let diff_id = store.write_layer(vec![dir("work"), new("gone", NewKind::Whiteout)], Form::Index).unwrap();
    assert!(store.has_bytes(&diff_id));
    assert_eq!(Digest::of(&tar_of(&store, &diff_id)), diff_id);
    assert_eq!(seen(&store.tree(&diff_id).unwrap()).len(), 2);
    let empty = store.write_layer(vec![], Form::Index).unwrap();
    assert_eq!(empty.hex()[..12], *"5f70bf18a086");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_layer_comes_back(entries in tar::tests::entries(), seed: u8) {
        let (_dir, one) = store();
        let (_other_dir, other) = store();
        let entries: Vec<NewEntry> = entries.into_iter().filter_map(|entry| {
            let kind = match entry.kind {
                Kind::Directory { opaque } => NewKind::Directory { opaque },
                Kind::File { size, .. } => NewKind::File {
                    size,
                    source: FileSource::Bytes((0..size).map(|at| at as u8 ^ seed).collect()),
                },
                Kind::Symlink { target } => NewKind::Symlink { target },
                Kind::CharDevice { major, minor } => NewKind::CharDevice { major, minor },
                Kind::BlockDevice { major, minor } => NewKind::BlockDevice { major, minor },
                Kind::Fifo => NewKind::Fifo,
                Kind::Whiteout => NewKind::Whiteout,
                Kind::Hardlink { .. } => return None,
            };
            let uid = entry.uid.min(u32::MAX - 1);
            // What its mode closes, only root compares.
            let open = if rustix::process::geteuid().is_root() { 0 } else { 0o700 };
            Some(NewEntry { path: entry.path, kind, mode: entry.mode | open, uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs })
        }).collect();
        let diff_id = one.write_layer(entries, Form::Tree).unwrap();
        let tar = tar_of(&one, &diff_id);
        prop_assert_eq!(Digest::of(&tar), diff_id);
        other.apply(&mut tar.as_slice(), &diff_id, Form::Tree).unwrap();
        let (made, applied) = (one.index(&diff_id).unwrap(), other.index(&diff_id).unwrap());
        prop_assert_eq!(made.entries(), applied.entries());
        prop_assert_eq!(seen(&one.tree(&diff_id).unwrap()), seen(&other.tree(&diff_id).unwrap()));
        for entry in made.entries() {
            prop_assert!(path::is_clean(&entry.path));
        }
    }
}

/// Steps with one id have trees of their own, since files of other owners would be nobody's to them.
#[test]
fn a_store_of_one_id_has_trees_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let open = |trees| Store::open(directory.path(), StoreOptions { trees, ..StoreOptions::default() });
    let (many, one) =
        (open(TreeKind::default()).unwrap(), open(TreeKind { one_id: true, marks: true }).unwrap());
    // One that was made by steps of one kind serves those of the other, and comes back as it was.
    for (maker, other, name) in [(&many, &one, "many"), (&one, &many, "one")] {
        let entry = NewEntry { uid: 42, gid: 43, mode: 0o600, ..file(name, b"text") };
        let diff_id = maker.write_layer(vec![entry], Form::Tree).unwrap();
        assert!(maker.has_tree(&diff_id) && !other.has_tree(&diff_id) && other.has_bytes(&diff_id));
        let (own, theirs) = (maker.tree(&diff_id).unwrap(), other.tree(&diff_id).unwrap());
        assert_ne!(own, theirs);
        assert_eq!(std::fs::read(theirs.join(name)).unwrap(), b"text");
        assert_eq!(Digest::of(&tar_of(maker, &diff_id)), diff_id);
        assert_eq!(Digest::of(&tar_of(other, &diff_id)), diff_id);
        let owner = one.tree(&diff_id).unwrap().join(name).metadata().unwrap().uid();
        assert_eq!(owner, rustix::process::geteuid().as_raw());
    }
    assert!(many.check().unwrap().problems.is_empty());
}

/// Some filesystems refuse the marks of an overlay.
#[test]
fn a_tree_may_go_without_marks() {
    let directory = tempfile::tempdir().unwrap();
    let open = |trees| Store::open(directory.path(), StoreOptions { trees, ..StoreOptions::default() });
    let (marked, bare) =
        (open(TreeKind::default()).unwrap(), open(TreeKind { one_id: false, marks: false }).unwrap());
    for (maker, other, name) in [(&marked, &bare, "first"), (&bare, &marked, "second")] {
        let fresh = new("fresh", NewKind::Directory { opaque: true });
        let entries = vec![fresh, file(&format!("fresh/{name}"), b"text"), new("gone", NewKind::Whiteout)];
        let diff_id = maker.write_layer(entries, Form::Tree).unwrap();
        assert_eq!(Digest::of(&tar_of(maker, &diff_id)), diff_id);
        assert!(!other.has_tree(&diff_id));
        other.tree(&diff_id).unwrap();
        let (with, without) = (marked.tree(&diff_id).unwrap(), bare.tree(&diff_id).unwrap());
        assert!(with.join("gone").symlink_metadata().unwrap().file_type().is_char_device());
        assert!(!without.join("gone").exists());
        let opaque = |tree: &Path| xattr(&tree.join("fresh"), "user.overlay.opaque");
        assert_eq!((opaque(&with).as_deref(), opaque(&without)), (Some(&b"y"[..]), None));
        assert_eq!(std::fs::read(without.join("fresh").join(name)).unwrap(), b"text");
        assert_eq!(Digest::of(&tar_of(other, &diff_id)), diff_id);
    }
    assert_eq!(marked.check().unwrap().problems, []);
}

//! Hostile and odd layers: each case of `testdata/tar/hostile` is a small description of a tar, from which the tar is
//! made byte by byte, and what must come of it. Whatever comes, nothing outside the layer's own directory changes.

mod archive;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use proptest::prelude::*;

use layer_store::layer::{Form, Limits, TarLimits};
use layer_store::store::Durability;
use layer_store::{Digest, Index, Kind, Store, StoreOptions};

/// Small enough that a case can pass them.
fn limits() -> TarLimits {
    TarLimits { entries: 1000, bytes: 1 << 40, ..TarLimits::default() }
}

#[test]
fn each_case_does_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tar/hostile");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 60, "only {} cases in {}", cases.len(), folder.display());
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(failure) = check(case) {
            failures.push(format!("{}: {failure}", case.file_stem().unwrap().to_string_lossy()));
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn check(case: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(case).unwrap();
    let expected = text.lines().find_map(|line| line.strip_prefix("expect ")).ok_or("it expects nothing")?;
    let tar = archive::build(&text)?;
    let diff_id = Digest::of(&tar);

    // The store is deep inside, so that paths upwards end at the canaries.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("canary"), "alive").unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    std::fs::write(dir.path().join("a/canary"), "alive").unwrap();
    let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
    let store = Store::open(&dir.path().join("a/b/store"), options).unwrap();
    let before = outside(dir.path(), store.root());

    let apply = |form| store.apply_within(&mut tar.as_slice(), &diff_id, form, Limits::default(), limits());
    let indexed = apply(Form::Index).map_err(|error| error.to_string());
    let extracted = apply(Form::Tree).map_err(|error| error.to_string());
    if outside(dir.path(), store.root()) != before {
        return Err("something outside the store changed".to_owned());
    }
    if std::fs::read_dir(store.root().join("tmp")).unwrap().count() > 0 {
        return Err("something half-done stays".to_owned());
    }
    if indexed != extracted {
        return Err(format!("index {indexed:?}, tree {extracted:?}"));
    }
    match (expected.split_once(": "), indexed) {
        (Some(("error", part)), Err(error)) if error.contains(part) => Ok(()),
        (Some(("error", part)), result) => {
            Err(format!("should be an error with `{part}`, but is {result:?}"))
        }
        (Some(("entries", "…")), Ok(true)) => Ok(()),
        (Some(("entries", entries)), Ok(true)) => {
            let actual = listed(&store.index(&diff_id).unwrap());
            if actual == entries { Ok(()) } else { Err(format!("entries are {actual}")) }
        }
        (_, result) => Err(format!("expects `{expected}`, but is {result:?}")),
    }
}

/// All but the store: path to kind, mode, size and time.
fn outside(root: &Path, store: &Path) -> BTreeMap<String, (u32, u64, i64)> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .filter_entry(|entry| entry.path() != store)
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let facts = (metadata.permissions().mode(), metadata.size(), metadata.mtime());
            (entry.path().display().to_string(), facts)
        })
        .collect()
}

/// The entries, one word each: `a/` directory, `a//` opaque one, `a>` symlink, `a=b` hard link, `a-` whiteout.
fn listed(index: &Index) -> String {
    let words = index.entries().iter().map(|entry| {
        let path = String::from_utf8_lossy(&entry.path);
        match &entry.kind {
            Kind::Directory { opaque: false } => format!("{path}/"),
            Kind::Directory { opaque: true } => format!("{path}//"),
            Kind::Symlink { .. } => format!("{path}>"),
            Kind::Hardlink { target } => format!("{path}={}", String::from_utf8_lossy(target)),
            Kind::Whiteout => format!("{path}-"),
            _ => path.into_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// One line of a description whose few names meet again and again.
fn line() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c", "a/b", "b/a", "a/b/c", "a/c"]);
    prop_oneof![
        name().prop_map(|name| format!("dir {name}/")),
        name().prop_map(|name| format!("file {name} data=x")),
        (name(), name()).prop_map(|(name, to)| format!("link {name} to={to}")),
        (name(), name()).prop_map(|(name, to)| format!("link {name} to={to}")),
        (name(), name()).prop_map(|(name, to)| format!("sym {name} to={to}")),
        name().prop_map(|name| match name.rsplit_once('/') {
            Some((above, name)) => format!("file {above}/.wh.{name}"),
            None => format!("file .wh.{name}"),
        }),
        name().prop_map(|name| format!("file {name}/.wh..wh..opq")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_tree_is_what_the_index_says(lines in prop::collection::vec(line(), 1..9)) {
        let tar = archive::build(&lines.join("\n")).unwrap();
        let diff_id = Digest::of(&tar);
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        let apply = |form| store.apply(&mut tar.as_slice(), &diff_id, form).map_err(|error| error.to_string());
        let indexed = apply(Form::Index);
        prop_assert_eq!(&indexed, &apply(Form::Tree));
        if indexed.is_ok() {
            let tree = store.tree(&diff_id).unwrap();
            prop_assert_eq!(found(&tree), named(&store.index(&diff_id).unwrap()));
        }
    }
}

/// What a tree has, each path with its kind, or with the first path of the file that it is another name of.
fn found(tree: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let entries = walkdir::WalkDir::new(tree).min_depth(1).sort_by_file_name();
    let entries = entries.into_iter().map(|entry| {
        let entry = entry.unwrap();
        let path = String::from_utf8_lossy(entry.path().strip_prefix(tree).unwrap().as_os_str().as_bytes())
            .into_owned();
        let metadata = entry.metadata().unwrap();
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => "directory".to_owned(),
            kind if kind.is_symlink() => "symlink".to_owned(),
            kind if kind.is_char_device() => "whiteout".to_owned(),
            _ => files.entry(metadata.ino()).or_insert_with(|| path.clone()).clone(),
        };
        (path, kind)
    });
    entries.collect()
}

/// What the index says of that. Other names of files of lower layers are not in the tree.
fn named(index: &Index) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut entries: Vec<_> = index.entries().iter().map(|entry| (shown(&entry.path), entry)).collect();
    entries.sort_by(|(one, _), (other, _)| one.split('/').cmp(other.split('/')));
    for (path, entry) in entries {
        for above in Path::new(&path).ancestors().skip(1).filter(|above| *above != Path::new("")) {
            names.entry(shown(above.as_os_str().as_bytes())).or_insert_with(|| "directory".to_owned());
        }
        let file = match &entry.kind {
            Kind::Hardlink { target } if index.entry(target).is_none() => continue,
            Kind::Hardlink { target } => shown(target),
            _ => path.clone(),
        };
        let kind = match &entry.kind {
            Kind::Directory { .. } => "directory".to_owned(),
            Kind::Symlink { .. } => "symlink".to_owned(),
            Kind::Whiteout => "whiteout".to_owned(),
            _ => files.entry(file).or_insert_with(|| path.clone()).clone(),
        };
        names.insert(path, kind);
    }
    names.remove("");
    names
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

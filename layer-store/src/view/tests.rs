use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::index::{Builder, TarFacts};

/// A layer from words: `a/` directory, `a//` opaque directory, `a=b` hard link, `a>b` symlink, `a-` whiteout, else a
/// file.
fn layer(words: &str) -> Index {
    let mut builder = Builder::new();
    for (offset, word) in words.split_whitespace().enumerate() {
        let (path, kind) = if let Some((path, target)) = word.split_once('>') {
            (path, Kind::Symlink { target: target.into() })
        } else if let Some(path) = word.strip_suffix("//") {
            (path, Kind::Directory { opaque: true })
        } else if let Some(path) = word.strip_suffix('/') {
            (path, Kind::Directory { opaque: false })
        } else if let Some(path) = word.strip_suffix('-') {
            (path, Kind::Whiteout)
        } else if let Some((path, target)) = word.split_once('=') {
            (path, Kind::Hardlink { target: target.into() })
        } else {
            (word, Kind::File { size: 1, offset: offset as u64 })
        };
        builder.insert(Entry { kind, ..Entry::implied_directory(path.into()) }).unwrap();
    }
    builder.finish(TarFacts::default())
}

fn view(layers: &[&str]) -> View {
    let layers = layers.iter().enumerate();
    View::new(layers.map(|(at, words)| (Digest::of(&[at as u8]), Arc::new(layer(words)))).collect())
}

fn paths(found: &[Located<'_>]) -> String {
    found.iter().map(|located| path::printable(&located.entry.path)).collect::<Vec<_>>().join(" ")
}

#[test]
fn upper_layers_hide_and_merge() {
    let view = view(&["a/ a/1 a/2 b/ b/1 c", "a/ a/3 a/1- b// b/2 c/ c/x", "d-"]);
    assert_eq!(paths(&view.walk(b"")), " a a/2 a/3 b b/2 c c/x");
    assert_eq!(paths(&view.list(b"a")), "a/2 a/3");
    assert_eq!(paths(&view.list(b"")), "a b c");
    assert_eq!(paths(&view.walk(b"b")), "b b/2");
    assert_eq!(paths(&view.list(b"a/2")), "");
    assert!(view.lookup(b"a/1").is_none() && view.lookup(b"b/1").is_none() && view.lookup(b"d").is_none());
    assert_eq!(view.lookup(b"a/2").unwrap().diff_id, view.layers()[0].0);
    assert!(view.lookup(b"c/x").is_some());
}

#[test]
fn a_missing_parent_is_the_lower_directory() {
    let mut lower = layer("a/");
    lower = Index::new(lower.entries().iter().map(|e| Entry { mode: 0o700, ..e.clone() }).collect());
    let layers = vec![(Digest::of(b"0"), Arc::new(lower)), (Digest::of(b"1"), Arc::new(layer("a/x b/y")))];
    let view = View::new(layers);
    assert_eq!(view.lookup(b"a").unwrap().entry.mode, 0o700);
    assert_eq!(view.lookup(b"b").unwrap().entry.mode, 0o755);
    assert_eq!(paths(&view.walk(b"")), " a a/x b b/y");
    assert_eq!(view.root().mode, 0o755);
    assert_eq!(View::default().root().mode, 0o755);
}

#[test]
fn a_missing_parent_takes_the_place_of_a_file() {
    let view = view(&["a", "a/x"]);
    assert!(view.lookup(b"a").unwrap().entry.kind.is_directory());
    assert_eq!(paths(&view.walk(b"")), " a a/x");
}

#[test]
fn links_lead_below() {
    let view = view(&["f s>f", "g=f h=s", "f i=g", "j=f"]);
    let content = |path: &[u8]| view.content(view.lookup(path).unwrap()).map(|found| found.diff_id);
    let layer = |at: usize| Some(view.layers()[at].0);
    assert_eq!(content(b"g"), layer(0));
    assert_eq!(content(b"i"), layer(0));
    assert_eq!(content(b"j"), layer(2));
    assert_eq!(content(b"h"), None);
    assert_eq!(view.resolve(b"h", true).unwrap().path, b"f");
}

#[test]
fn resolves_as_a_process_in_the_image() {
    let view = view(&[
        "bin>usr/bin usr/ usr/bin/ usr/bin/sh a/ a/up>../../../x x loop>loop abs>/usr/bin dir>/a/ deep>missing/y",
    ]);
    let check = |path: &str, expected: &str| {
        let resolved = view.resolve(path.as_bytes(), true).unwrap();
        assert_eq!(path::printable(&resolved.path), expected, "{path}");
        assert_eq!(resolved.found.is_some(), view.lookup(expected.as_bytes()).is_some());
    };
    check("/bin/sh", "usr/bin/sh");
    check("bin//./sh", "usr/bin/sh");
    check("/a/up", "x");
    check("/../../x", "x");
    check("/abs/../lib/new", "usr/lib/new");
    check("/new/deep/../er", "new/er");
    check("/dir", "a");
    check("/deep", "missing/y");
    check("/", "");
    assert_eq!(view.resolve(b"/bin", false).unwrap().path, b"bin");
    assert_eq!(view.resolve(b"/a/../bin", false).unwrap().path, b"bin");
    assert!(view.resolve(b"/loop", true).is_err());
    assert!(view.resolve(b"/loop", false).is_ok());
    assert!(view.resolve(b"/x/y", true).is_err());
    assert!(view.resolve(b"/a\0b", true).is_err());
}

/// What extraction of one layer after the other would leave: path to layer, directories as `None` metadata apart.
fn model(layers: &[Index]) -> BTreeMap<Vec<u8>, (usize, bool)> {
    let mut tree: BTreeMap<Vec<u8>, (usize, bool)> = BTreeMap::new();
    tree.insert(Vec::new(), (0, true));
    for (at, index) in layers.iter().enumerate() {
        let clear = |tree: &mut BTreeMap<Vec<u8>, (usize, bool)>, path: &[u8], itself: bool| {
            tree.retain(|known, _| !(path::is_within(known, path) && (itself || known.as_slice() != path)));
        };
        for entry in index.entries() {
            match entry.kind {
                Kind::Whiteout => clear(&mut tree, &entry.path, true),
                Kind::Directory { opaque: true } => clear(&mut tree, &entry.path, false),
                _ => {}
            }
        }
        for entry in index.entries() {
            for ancestor in path::ancestors(&entry.path) {
                if tree.get(ancestor).is_none_or(|(_, directory)| !directory) {
                    tree.insert(ancestor.to_vec(), (at, true));
                }
            }
            if entry.kind == Kind::Whiteout {
                continue;
            }
            let directory = entry.kind.is_directory();
            if !directory {
                clear(&mut tree, &entry.path, true);
            }
            tree.insert(entry.path.clone(), (at, directory));
        }
    }
    tree
}

fn random_layer() -> impl Strategy<Value = Index> {
    let entry = ("[ab](/[abc]){0,3}", 0..6_u8).prop_map(|(path, kind)| {
        let kind = match kind {
            0 | 1 => Kind::File { size: 0, offset: 0 },
            2 | 3 => Kind::Directory { opaque: false },
            4 => Kind::Directory { opaque: true },
            _ => Kind::Whiteout,
        };
        Entry { kind, ..Entry::implied_directory(path.into_bytes()) }
    });
    prop::collection::vec(entry, 0..10).prop_map(|entries| {
        let mut builder = Builder::new();
        for entry in entries {
            // What is below a file is refused, which leaves the rest as a layer.
            let _ = builder.insert(entry);
        }
        builder.finish(TarFacts::default())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn shows_what_extraction_would(layers in prop::collection::vec(random_layer(), 1..5)) {
        let model = model(&layers);
        let view = View::new(
            layers.into_iter().enumerate().map(|(at, index)| (Digest::of(&[at as u8]), Arc::new(index))).collect(),
        );
        let shape = |located: &Located<'_>| {
            (located.entry.path.clone(), located.entry.kind.is_directory(), located.layer)
        };
        let walked: Vec<_> = view.walk(b"").iter().map(shape).collect();
        let mut expected: Vec<_> =
            model.iter().map(|(path, (layer, directory))| (path.clone(), *directory, *layer)).collect();
        expected.sort_by(|a, b| path::order(&a.0, &b.0));
        // An implied directory may stand for itself in a higher layer than the model's first.
        let names = |all: &[(Vec<u8>, bool, usize)]| {
            all.iter().map(|(path, directory, layer)| (path.clone(), (!directory).then_some(*layer))).collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&walked), names(&expected));
        for located in view.walk(b"") {
            let path = &located.entry.path;
            let found = view.lookup(path).unwrap();
            prop_assert_eq!((found.entry, found.layer), (located.entry, located.layer));
            let below: Vec<_> = expected.iter().filter(|(p, ..)| path::is_within(p, path)).cloned().collect();
            prop_assert_eq!(names(&view.walk(path).iter().map(shape).collect::<Vec<_>>()), names(&below));
            let children: Vec<_> = expected
                .iter()
                .filter(|(p, ..)| path::split(p).is_some_and(|(parent, _)| parent == path.as_slice()))
                .cloned()
                .collect();
            prop_assert_eq!(names(&view.list(path).iter().map(shape).collect::<Vec<_>>()), names(&children));
        }
        for path in ["a", "b", "a/a", "a/b", "a/b/c", "b/a/a", "b/c", "a/a/b/c"] {
            prop_assert_eq!(view.lookup(path.as_bytes()).is_some(), model.contains_key(path.as_bytes()), "{}", path);
        }
    }
}

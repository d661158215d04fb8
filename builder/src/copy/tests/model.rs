//! COPY against a naive model: one flat map that is changed step by step, no layers, no view, no draft.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{ModeChange, Owner, Request, entries, select};
use super::recipe::Line;
use super::{Form, Source, World, recipe};

type Tree = BTreeMap<String, Line>;

fn line(kind: char, path: &str, mode: u32, owner: (u32, u32), body: &str) -> Line {
    Line {
        kind,
        path: path.to_owned(),
        mode,
        owner,
        mtime: None,
        xattrs: BTreeMap::new(),
        body: body.to_owned(),
    }
}

/// A random tree: a list of (path, what) where later ones that do not fit are left out.
fn tree() -> impl Strategy<Value = Vec<Line>> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let path = prop::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    let target = prop::sample::select(vec!["a", "b", "../a", "/b", "/b/c", "c/../a", "nowhere", "../../b/a"]);
    let node = (path, 0..6_u8, target, prop::sample::select(vec![0o644, 0o700, 0o4755]), 0..3_u32);
    prop::collection::vec(node, 0..10).prop_map(|nodes| {
        let mut tree = Tree::new();
        for (path, kind, target, mode, id) in nodes {
            let blocked = parents(&path).any(|above| tree.get(above).is_some_and(|node| node.kind != 'd'));
            if blocked || tree.contains_key(&path) {
                continue;
            }
            for above in parents(&path) {
                tree.entry(above.to_owned()).or_insert_with(|| line('d', above, 0o755, (0, 0), ""));
            }
            let node = match kind {
                0..3 => line('f', &path, mode, (id, id), &format!("{path}{id}")),
                3..5 => line('d', &path, mode, (id, id), ""),
                _ => line('l', &path, 0o777, (id, id), target),
            };
            tree.insert(path, node);
        }
        tree.into_values().collect()
    })
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

/// The textual meaning of a path.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Replaces the first symlink on the path until there is none.
fn resolve(tree: &Tree, path: &str) -> Result<String, ()> {
    let mut path = clean(path);
    for _ in 0..=255 {
        let mut prefixes: Vec<String> = parents(&path).map(str::to_owned).collect();
        prefixes.push(path.clone());
        let blocking =
            prefixes.into_iter().find(|prefix| tree.get(prefix).is_some_and(|node| node.kind != 'd'));
        let Some(prefix) = blocking else { return Ok(path) };
        let node = &tree[&prefix];
        if node.kind != 'l' {
            return if prefix == path { Ok(path) } else { Err(()) };
        }
        let rest = path[prefix.len()..].to_owned();
        path = match node.body.strip_prefix('/') {
            Some(absolute) => clean(&format!("{absolute}{rest}")),
            None => clean(&format!("{}/{}{rest}", parent(&prefix), node.body)),
        };
    }
    Err(())
}

fn mkdir_all(tree: &mut Tree, path: &str, mode: u32, owner: (u32, u32)) -> Result<(), ()> {
    let all: Vec<String> =
        parents(path).map(str::to_owned).chain((!path.is_empty()).then(|| path.to_owned())).collect();
    for path in all {
        match tree.get(&path) {
            Some(node) if node.kind != 'd' => return Err(()),
            Some(_) => {}
            None => drop(tree.insert(path.clone(), line('d', &path, mode, owner, ""))),
        }
    }
    Ok(())
}

/// The children of the source directory and all below, relative to it.
fn below<'t>(tree: &'t Tree, directory: &str) -> Vec<(String, &'t Line)> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    tree.iter().filter_map(|(path, node)| Some((path.strip_prefix(&prefix)?.to_owned(), node))).collect()
}

fn copy(source: &Tree, tree: &mut Tree, request: &Request) -> Result<(), ()> {
    let mode_of = |node: &Line| match &request.mode {
        Some(change) if node.kind != 'l' => change.apply(node.mode, node.kind == 'd'),
        _ => node.mode,
    };
    let owner_of = |node: &Line| request.owner.map_or(node.owner, |owner| (owner.uid, owner.gid));
    let made_mode = if let Some(ModeChange::Octal(mode)) = request.mode { mode & 0o777 } else { 0o755 };
    let made_owner = request.owner.map_or((0, 0), |owner| (owner.uid, owner.gid));
    for written in &request.sources {
        let mut names = Vec::new();
        match written.strip_suffix('*') {
            None => names.push(clean(written)),
            Some(directory) => {
                let directory = resolve(source, directory)?;
                match source.get(&directory) {
                    _ if directory.is_empty() => {}
                    None => return Err(()),
                    Some(_) => {}
                }
                let children = below(source, &directory);
                let direct = children.iter().filter(|(path, _)| !path.contains('/'));
                names.extend(direct.map(|(path, _)| clean(&format!("{directory}/{path}"))));
            }
        }
        for name in names {
            let from = resolve(source, &name)?;
            let is_dir = from.is_empty() || source.get(&from).ok_or(())?.kind == 'd';
            let destination = if request.destination.starts_with('/') {
                request.destination.clone()
            } else {
                format!("{}/{}", request.cwd, request.destination)
            };
            let ensured =
                if destination.ends_with('/') { clean(&destination) } else { clean(parent(&destination)) };
            let ensured = resolve(tree, &ensured)?;
            mkdir_all(tree, &ensured, made_mode, made_owner)?;
            let mut to = resolve(tree, &destination)?;
            let there = if to.is_empty() { Some('d') } else { tree.get(&to).map(|node| node.kind) };
            let put = |tree: &mut Tree, to: &str, node: &Line| {
                tree.insert(to.to_owned(), line(node.kind, to, mode_of(node), owner_of(node), &node.body));
            };
            if !is_dir {
                if there == Some('d') {
                    to = clean(&format!("{to}/{}", name.rsplit('/').next().unwrap_or_default()));
                }
                mkdir_all(tree, parent(&to), made_mode, made_owner)?;
                if tree.get(&to).is_some_and(|node| node.kind == 'd') {
                    return Err(());
                }
                put(tree, &to, &source[&from]);
                continue;
            }
            mkdir_all(tree, &to, made_mode, made_owner)?;
            for (path, node) in below(source, &from) {
                let to = clean(&format!("{to}/{path}"));
                let there = tree.get(&to).map(|node| node.kind);
                if there.is_some_and(|there| (there == 'd') != (node.kind == 'd')) {
                    return Err(());
                }
                put(tree, &to, node);
            }
        }
    }
    Ok(())
}

fn request() -> impl Strategy<Value = Request> {
    let source = prop::sample::select(vec![".", "a", "b", "c", "a/b", "b/a", "*", "a/*", "b/c/"]);
    let destination =
        prop::sample::select(vec!["/", "/a", "/a/", "/b/c", "b/", "/c/b/a", ".", "/b/../a/c", "nowhere/x"]);
    let mode = prop::option::weighted(0.3, prop::sample::select(vec!["700", "4711", "go=u-w", "a+X"]));
    let owner = prop::option::weighted(0.3, Just(Owner { uid: 7, gid: 8 }));
    (prop::collection::vec(source, 1..3), destination, mode, owner).prop_map(
        |(sources, destination, mode, owner)| Request {
            sources: sources.into_iter().map(str::to_owned).collect(),
            destination: if destination == "." { "./".to_owned() } else { destination.to_owned() },
            cwd: "/a".to_owned(),
            mode: mode.map(|mode| mode.parse().unwrap()),
            owner,
            ..Request::default()
        },
    )
}

fn by_path(lines: &[Line]) -> Tree {
    lines.iter().map(|line| (line.path.clone(), line.clone())).collect()
}

/// Two layers instead of one: every other entry comes in an upper layer, over something else in the lower one.
fn in_two_layers(base: &[Line]) -> Vec<Vec<Line>> {
    let mut lower = base.to_vec();
    let mut upper = Vec::new();
    for (at, line) in base.iter().enumerate() {
        if at % 2 == 1 && line.kind == 'f' {
            "hidden by the layer above".clone_into(&mut lower[at].body);
            upper.push(line.clone());
        }
    }
    vec![lower, upper]
}

#[test]
fn entries_give_what_the_model_gives() {
    let world = World::new();
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(source in tree(), base in tree(), request in request())| {
        let base_layers = world.layers(&in_two_layers(&base));
        let below = world.store.view(&base_layers).unwrap();
        let stage = world.view(std::slice::from_ref(&source));
        let mut expected = by_path(&base);
        let model = copy(&by_path(&source), &mut expected, &request);
        let actual = select(Source::View(&world.store, &stage), &request)
            .and_then(|selection| entries(&world.store, &selection, &below, &request));
        match (actual, model) {
            (Err(_), Err(())) => {}
            (Ok(new), Ok(())) => {
                let layer = world.store.write_layer(new, Form::Tar).unwrap();
                let all: Vec<_> = base_layers.into_iter().chain([layer]).collect();
                let view = world.store.view(&all).unwrap();
                let mut merged = recipe::of_view(&world.store, &view);
                for line in &mut merged {
                    line.mtime = None;
                }
                let expected: Vec<Line> = expected.into_values().collect();
                merged.sort_by(|a, b| a.path.cmp(&b.path));
                prop_assert_eq!(recipe::render(&merged), recipe::render(&expected));
            }
            (Ok(_), Err(())) => prop_assert!(false, "the model refuses"),
            (Err(error), Ok(())) => prop_assert!(false, "{error}"),
        }
    });
}

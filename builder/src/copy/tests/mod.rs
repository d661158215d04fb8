//! COPY, ADD and WORKDIR by cases in `testdata/copy`; its README says how they are written.

use std::path::{Path, PathBuf};

use layer_store::layer::Form;
use layer_store::store::Durability;
use layer_store::{Digest, Store, StoreOptions, View};

mod archives;
mod case;
mod keys;
mod model;
mod recipe;

use case::Case;
use recipe::Line;

use super::{CopyError, Request, Source, entries, layer_of_archive, select, workdir};
use crate::context::LocalContext;
use crate::ignore::Matcher;

/// What a case needs on disk.
struct World {
    directory: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
        let store = Store::open(&directory.path().join("store"), options).unwrap();
        Self { directory, store }
    }

    fn layers(&self, recipes: &[Vec<Line>]) -> Vec<Digest> {
        recipes
            .iter()
            .map(|lines| {
                let entries = lines.iter().map(Line::entry).collect();
                self.store.write_layer(entries, Form::Tar).unwrap()
            })
            .collect()
    }

    fn view(&self, recipes: &[Vec<Line>]) -> View {
        self.store.view(&self.layers(recipes)).unwrap()
    }

    fn context(&self, case: &Case) -> LocalContext {
        let path = tempfile::tempdir_in(self.directory.path()).unwrap().keep();
        for archive in &case.archives {
            std::fs::write(path.join(&archive.name), archive.bytes()).unwrap();
        }
        recipe::make(&path, &case.context);
        let matcher = case.ignore.as_deref().map(|text| Matcher::parse(text).unwrap());
        LocalContext::open(&path, matcher).unwrap()
    }
}

/// Runs the instruction of a case: the layer on its base, as lines.
fn run(world: &World, case: &Case) -> Result<Outcome, CopyError> {
    let base = world.layers(&case.base);
    let below = if case.link { View::default() } else { world.store.view(&base).unwrap() };
    let new = if let Some(path) = &case.workdir {
        workdir(&below, path, case.request.owner, 7)?
    } else {
        let context = world.context(case);
        let stage = world.view(&case.stage);
        let source = match (case.from, case.checkout) {
            (true, _) => Source::View(&world.store, &stage),
            (_, true) => Source::Checkout(&context),
            _ => Source::Context(&context),
        };
        let mut selection = select(source, &case.request)?;
        if !case.inline.is_empty() {
            selection.append(select(Source::Inline(case.inline.clone()), &case.request)?);
        }
        let new = entries(&world.store, &selection, &below, &case.request)?;
        selection.verify()?;
        new
    };
    let mut layer: Vec<Line> = new.iter().map(Line::of_new).collect();
    layer.sort_by(|a, b| a.path.cmp(&b.path));
    let diff_id = world.store.write_layer(new, Form::Tar).unwrap();
    let mut all = base;
    all.push(diff_id);
    let view = world.store.view(&all).unwrap();
    Ok(Outcome { merged: recipe::of_view(&world.store, &view), layer })
}

struct Outcome {
    /// The filesystem.
    merged: Vec<Line>,
    /// The new layer's entries.
    layer: Vec<Line>,
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/copy")
}

/// One case; the message if it fails.
fn check(world: &World, case: &Case) -> Result<(), String> {
    match (run(world, case), &case.error) {
        (Err(error), Some(expected)) => {
            let text = message(&error);
            if text.contains(expected) { Ok(()) } else { Err(format!("error: {text}\nexpected: {expected}")) }
        }
        (Err(error), None) => Err(format!("error: {}", message(&error))),
        (Ok(outcome), Some(expected)) => {
            Err(format!("no error, expected: {expected}\n{}", recipe::render(&outcome.merged)))
        }
        (Ok(outcome), None) => {
            compare(&outcome.merged, case.result.as_deref(), "result")?;
            compare(&outcome.layer, case.layer.as_deref(), "layer")
        }
    }
}

fn message(error: &CopyError) -> String {
    match error {
        CopyError::NotFound { ignored_by: Some(rule), .. } => format!("{error} (ignored by `{rule}`)"),
        CopyError::NotFound { nearest, .. } if !nearest.is_empty() => {
            format!("{error} (nearest {nearest:?})")
        }
        _ => error.to_string(),
    }
}

fn compare(actual: &[Line], expected: Option<&[Line]>, what: &str) -> Result<(), String> {
    let Some(expected) = expected else { return Ok(()) };
    let mut shown: Vec<Line> = actual.to_vec();
    for line in &mut shown {
        // A case says only the times that it is about.
        let timed = expected.iter().any(|expected| expected.path == line.path && expected.mtime.is_some());
        if !timed {
            line.mtime = None;
        }
    }
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    shown.sort_by(|a, b| a.path.cmp(&b.path));
    let (shown, expected) = (recipe::render(&shown), recipe::render(&expected));
    if shown == expected { Ok(()) } else { Err(format!("{what}:\n{shown}expected:\n{expected}")) }
}

#[test]
fn cases() {
    let mut failures = String::new();
    let mut count = 0;
    let world = World::new();
    let mut files: Vec<_> =
        std::fs::read_dir(testdata()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "cases")) {
        let text = std::fs::read_to_string(file).unwrap();
        for case in case::parse(&text) {
            count += 1;
            if let Err(why) = check(&world, &case) {
                let file = file.file_name().unwrap().to_string_lossy();
                failures.push_str(&format!("--- {file}: {}\n{why}\n", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(count >= 120, "only {count} cases in testdata/copy");
}

#[test]
fn an_archive_becomes_a_context() {
    let world = World::new();
    let case =
        &case::parse("=== x\narchive t gz\n  d dir 700 5:6\n  f dir/f 640 7:8 \"x\"\n  z sparse \"end\"")[0];
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &case.archives[0].bytes()).unwrap();
    let layer = layer_of_archive(&world.store, "-", &file).unwrap().expect("it is an archive");
    let view = world.store.view(&[layer]).unwrap();
    let mut lines = recipe::of_view(&world.store, &view);
    for line in &mut lines {
        line.mtime = None;
        if line.kind == 'f' && line.path == "sparse" {
            assert_eq!(line.body.len(), 1 << 20);
            line.body = line.body.trim_start_matches('\0').to_owned();
        }
    }
    let text = "  d dir 700 5:6\n  f dir/f 640 7:8 \"x\"\n  f sparse 644 0:0 \"end\"\n";
    assert_eq!(recipe::render(&lines), text);
    let mut text = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut text, b"FROM scratch\n").unwrap();
    assert!(layer_of_archive(&world.store, "-", &text).unwrap().is_none());
}

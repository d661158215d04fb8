//! What pages show is what happens: those of the documentation, and those of `testdata/transcripts`, which hold the
//! output and the error messages of commands still.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::as_caller;
use crate::transcript;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn transcripts_are_what_happens() {
    let mut pages: Vec<PathBuf> = fs::read_dir(repository("testdata/transcripts"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    assert!(pages.len() >= 3, "{pages:?}");
    for page in pages {
        as_caller(&[], |lab| assert!(transcript::run(lab, &page) > 0, "{}", page.display()));
    }
}

#[test]
fn the_tutorial_works() {
    as_caller(&[], |lab| {
        let commands = transcript::run(lab, &repository("docs/tutorial.md"));
        assert!(commands > 30, "{commands}");
    });
}

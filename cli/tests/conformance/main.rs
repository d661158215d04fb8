//! The conformance suite: every `*.case` below `testdata/conformance` is one test. `testdata/conformance/README.md`
//! describes the format; a new case is a new file.

mod archive;
mod base;
mod case;
mod check;
mod entry;
mod git;
mod http;
mod image;
mod place;
mod run;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let folder = xtask::repository().join("testdata/conformance");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    files.sort();
    let servers = Arc::new(OnceLock::new());
    if !arguments.list {
        servers.get_or_init(|| run::Servers::start().map_err(|error| format!("{error:#}")));
    }
    let trials = files
        .into_iter()
        .map(|path| {
            let name = name(&folder, &path);
            let servers = Arc::clone(&servers);
            let id = name.replace("::", "-");
            Trial::test(name, move || {
                let servers = servers.get().ok_or("the servers were not started")?;
                run::case(&path, &id, servers.as_ref()?).map_err(Failed::from)
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("testdata/conformance is readable") {
        let path = entry.expect("testdata/conformance is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "case") {
            files.push(path);
        }
    }
}

/// `copy/wildcard.case` is the test `copy::wildcard`.
fn name(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).expect("collected below the folder").with_extension("");
    relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("::")
}

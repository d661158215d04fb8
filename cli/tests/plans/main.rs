//! Plans: every `*.plan` below `testdata/plans` is one test. `testdata/plans/README.md` describes the format; a new
//! case is a new file.

mod case;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use xtask::registry::Registry;
use xtask::{base_image, mirror};

/// What all cases share: a registry that has busybox, and the settings that lead there.
pub(crate) struct Servers {
    _registry: Registry,
    directory: tempfile::TempDir,
}

impl Servers {
    fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let registry = Registry::start()?;
        base_image::push_busybox(registry.address())?;
        mirror::daemon_json(directory.path(), registry.address())?;
        Ok(Self { _registry: registry, directory })
    }

    pub(crate) fn daemon_json(&self) -> PathBuf {
        self.directory.path().join("daemon.json")
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let folder = xtask::repository().join("testdata/plans");
    let entries = std::fs::read_dir(folder).expect("testdata/plans is readable");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("testdata/plans is readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "plan"));
    files.sort();
    assert!(files.len() >= 40, "only {} plans", files.len());
    let servers = Arc::new(OnceLock::new());
    if !arguments.list {
        servers.get_or_init(|| Servers::start().map_err(|error| format!("{error:#}")));
    }
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let servers = Arc::clone(&servers);
            Trial::test(name, move || {
                let servers = servers.get().ok_or("the registry was not started")?;
                case::check(&path, servers.as_ref()?).map_err(Failed::from)
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

//! A store, a small image, and a sandbox over them.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use builder::sandbox::{
    ExitStatus, Filesystem, Finished, Isolation, Output, Sandbox, SandboxError, SandboxSettings, Step,
};
use layer_store::index::Kind;
use layer_store::layer::{DiffOptions, Form};
use layer_store::store::Durability;
use layer_store::{Digest, Store, StoreOptions};

pub(crate) struct World {
    pub(crate) phase: String,
    pub(crate) dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    pub(crate) sandbox: Option<Sandbox>,
    steps: AtomicU32,
    image: PathBuf,
}

/// What a step did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) finished: Finished,
}

/// What takes a mount or a namespace: write protection, limits of size, a network of one's own.
const NEEDS_MOUNTS: &[&str] = &[
    "the_surroundings_are_a_containers",
    "capabilities_are_dockers",
    "an_insecure_step_may_all",
    "no_network_is_none",
    "an_empty_base_works",
    "a_host_directory_is_read_and_never_written",
    "a_file_can_be_bound",
    "layers_can_be_bound",
    "a_tmpfs_is_forgotten",
    "a_cache_is_kept",
    "mounts_nest",
    "impossible_mounts_are_named",
    "no_descriptor_leaks",
    "the_builders_program_cannot_be_written",
];

/// How the phases end whose worlds are where no overlay can be mounted.
pub(crate) const COPIES: &str = "-copies";

impl World {
    /// A world below `place`.
    pub(crate) fn new(phase: &str, place: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("rbuild-sandbox-").tempdir_in(place).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut world = Self {
            phase: phase.to_owned(),
            dir,
            runtime,
            sandbox: None,
            steps: AtomicU32::new(0),
            image: PathBuf::new(),
        };
        world.make_image();
        let sandbox = world.start();
        let copies = sandbox.report().filesystem == Filesystem::Copy;
        assert_eq!(copies, world.has_copies(), "{:?}", sandbox.report());
        world.sandbox = Some(sandbox);
        world.image = world.layer(&world.path("image"));
        world
    }

    pub(crate) fn can(&self, test: &str) -> bool {
        match self.phase.as_str() {
            "chroot" => !NEEDS_MOUNTS.contains(&test),
            _ if test.starts_with("copies_") => self.has_copies(),
            _ => !test.starts_with("without_mounts_"),
        }
    }

    /// The rung's name.
    pub(crate) fn rung(&self) -> &str {
        self.phase.strip_suffix(COPIES).unwrap_or(&self.phase)
    }

    /// Whether the root of a step is a copy of its image.
    pub(crate) fn has_copies(&self) -> bool {
        self.phase == "chroot" || self.phase.ends_with(COPIES)
    }

    pub(crate) fn start(&self) -> Sandbox {
        let isolation = match self.rung() {
            "root" => Isolation::Root,
            "userns" => Isolation::Userns,
            "single" => Isolation::Single,
            _ => Isolation::Chroot,
        };
        let settings =
            SandboxSettings { store_root: self.path("store"), isolation, durability: Durability::None };
        self.block(Sandbox::start(settings)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A directory below the world's with some files.
    pub(crate) fn tree(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.path(name);
        std::fs::create_dir_all(&root).unwrap();
        for (path, content) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    fn make_image(&self) {
        let files = [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("run/.keep", ""),
        ];
        let root = self.tree("image", &files);
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let names = std::process::Command::new("/bin/busybox").arg("--list").output().unwrap();
        for name in String::from_utf8(names.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        symlink("/run", root.join("var-run")).unwrap();
    }

    /// A tree as a sandbox takes it: the tree itself, or where it is to be copied a layer of the store.
    pub(crate) fn layer(&self, tree: &Path) -> PathBuf {
        if !self.has_copies() {
            return tree.to_owned();
        }
        let store = self.store();
        let nothing = store.view(&[]).unwrap();
        // Everything is root's, whoever made it here.
        let options = DiffOptions { owners: Some(Vec::new()), ..DiffOptions::default() };
        let diff_id = store.commit_whole(tree, &nothing, &options, None, Form::Tree).unwrap();
        store.tree(&diff_id).unwrap()
    }

    fn store(&self) -> Store {
        let custodian = self.sandbox.as_ref().and_then(Sandbox::custodian);
        let options = StoreOptions { durability: Durability::None, custodian, ..StoreOptions::default() };
        Store::open(&self.path("store"), options).unwrap()
    }

    /// The paths that a step over the small image changed, sorted.
    pub(crate) fn changes(&self, ran: &Ran) -> Vec<String> {
        self.changes_over(ran, std::slice::from_ref(&self.image))
    }

    /// The same of a step over these layers.
    pub(crate) fn changes_over(&self, ran: &Ran, lowers: &[PathBuf]) -> Vec<String> {
        if !self.has_copies() {
            return names(&ran.finished.changed);
        }
        let index = self.store().index(&self.layer_of(ran, lowers)).unwrap();
        let paths = index.entries().iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
        paths.filter(|path| !path.is_empty()).collect()
    }

    /// Who owns what a step over these layers changed, as the layer has it.
    pub(crate) fn owners_over(&self, ran: &Ran, lowers: &[PathBuf]) -> Vec<String> {
        let index = self.store().index(&self.layer_of(ran, lowers)).unwrap();
        let text = |entry: &layer_store::index::Entry| {
            let path = String::from_utf8_lossy(&entry.path);
            match entry.kind {
                Kind::Whiteout => format!("{path} -"),
                _ => format!("{path} {}:{}", entry.uid, entry.gid),
            }
        };
        index.entries().iter().filter(|entry| !entry.path.is_empty()).map(text).collect()
    }

    /// Makes what a step over the small image changed a layer, and gives its tree.
    pub(crate) fn commit(&self, ran: &Ran) -> PathBuf {
        let diff_id = self.layer_of(ran, std::slice::from_ref(&self.image));
        self.store().tree(&diff_id).unwrap()
    }

    /// The devices of a step's layer, as text.
    pub(crate) fn devices(&self, ran: &Ran) -> Vec<String> {
        // What a step with a copy leaves is its image, too, which is a layer only there.
        let below = if self.has_copies() { std::slice::from_ref(&self.image) } else { &[] };
        let diff_id = self.layer_of(ran, below);
        let index = self.store().index(&diff_id).unwrap();
        let text = |entry: &layer_store::index::Entry| {
            let (kind, major, minor) = match entry.kind {
                Kind::CharDevice { major, minor } => ('c', major, minor),
                Kind::BlockDevice { major, minor } => ('b', major, minor),
                _ => return None,
            };
            let path = String::from_utf8_lossy(&entry.path);
            Some(format!("{path} {kind} {major}:{minor} {:o} {}:{}", entry.mode, entry.uid, entry.gid))
        };
        index.entries().iter().filter_map(text).collect()
    }

    fn layer_of(&self, ran: &Ran, lowers: &[PathBuf]) -> Digest {
        let digest = |tree: &PathBuf| {
            Digest::from_hex(tree.parent().unwrap().file_name().unwrap().to_str().unwrap()).unwrap()
        };
        let below: Vec<Digest> = lowers.iter().map(digest).collect();
        let sandbox = self.sandbox.as_ref().unwrap();
        // As under SOURCE_DATE_EPOCH, so that times on the disk and in the layer differ.
        let owners = ran.finished.owners.clone();
        let options = DiffOptions { clamp_mtime: Some(1_000_000_000), owners };
        self.block(sandbox.commit(&ran.finished.changed, &below, options)).unwrap()
    }

    /// A step over the small image that runs a shell script.
    pub(crate) fn script(&self, script: &str) -> Step {
        let number = self.steps.fetch_add(1, Ordering::Relaxed);
        let scratch = self.path(&format!("store/scratch-{number}"));
        std::fs::create_dir_all(&scratch).unwrap();
        Step {
            lowers: vec![self.image.clone()],
            scratch,
            argv: ["sh", "-c", script].map(Into::into).to_vec(),
            env: vec!["PATH=/bin".into()],
            ..Step::default()
        }
    }

    pub(crate) fn try_run(&self, step: Step) -> Result<Ran, SandboxError> {
        self.block(run(self.sandbox.as_ref().unwrap(), step))
    }

    pub(crate) fn run(&self, step: Step) -> Ran {
        self.try_run(step).unwrap()
    }

    /// Runs a script and expects it to end well; gives what it wrote.
    pub(crate) fn sh(&self, script: &str) -> String {
        let ran = self.run(self.script(script));
        assert!(ran.status.is_success(), "{script}: {ran:?}");
        ran.stdout
    }
}

pub(crate) async fn run(sandbox: &Sandbox, step: Step) -> Result<Ran, SandboxError> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Output, bytes::Bytes)>(4);
    let collect = tokio::spawn(async move {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some((which, bytes)) = receiver.recv().await {
            match which {
                Output::Stdout => stdout.extend_from_slice(&bytes),
                Output::Stderr => stderr.extend_from_slice(&bytes),
            }
        }
        (stdout, stderr)
    });
    let finished = tokio::time::timeout(Duration::from_secs(60), sandbox.run(step, sender)).await.unwrap()?;
    let (stdout, stderr) = collect.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { status: finished.status, stdout: text(stdout), stderr: text(stderr), finished })
}

/// The paths of a tree, sorted.
pub(crate) fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = walkdir::WalkDir::new(root)
        .min_depth(1)
        .into_iter()
        .map(|entry| entry.unwrap().path().strip_prefix(root).unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

//! A place for one test: a registry with a base image, a store, a project directory, and a user to build as.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;
use xtask::registry::Registry;
use xtask::{base_image, is_root, mirror, packages, subject};

/// Who runs rbuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The user of the tests: root in CI.
    Caller,
    /// A user with subordinate ids and no privilege, whom `cargo xtask test` makes where it runs as root.
    Plain,
}

/// A test's surroundings. Everything goes when it is dropped.
pub(crate) struct Lab {
    pub(crate) registry: Registry,
    pub(crate) directory: TempDir,
    who: Who,
    owner: Option<(u32, u32)>,
}

/// Runs a test as the caller and, where that is root, as a plain user too.
pub(crate) fn as_each_user(needs: &[&str], test: impl Fn(&Lab)) {
    let users = if is_root() { [Some(Who::Caller), Some(Who::Plain)] } else { [Some(Who::Caller), None] };
    for who in users.into_iter().flatten() {
        let Some(lab) = Lab::new(who, needs) else { continue };
        test(&lab);
        lab.nothing_left();
    }
}

/// Runs a test as the caller.
pub(crate) fn as_caller(needs: &[&str], test: impl Fn(&Lab)) {
    if let Some(lab) = Lab::new(Who::Caller, needs) {
        test(&lab);
        lab.nothing_left();
    }
}

impl Lab {
    /// A lab, or `None` with a note of the skip where something that the test needs is not here: a program's name, or
    /// `root`.
    pub(crate) fn new(who: Who, needs: &[&str]) -> Option<Self> {
        let missing: Vec<&str> = needs
            .iter()
            .copied()
            .filter(|need| if *need == "root" { !is_root() } else { packages::find(need).is_none() })
            .collect();
        if !missing.is_empty() {
            skip(&missing.join(", "));
            return None;
        }
        let owner = match who {
            Who::Caller => None,
            Who::Plain => {
                let ids = subject::ids(subject::PLAIN_USER);
                if ids.is_none() {
                    skip(&format!(
                        "the user {} with subordinate ids (`cargo xtask test` as root makes it)",
                        subject::PLAIN_USER
                    ));
                    return None;
                }
                ids
            }
        };
        let directory = TempDir::with_prefix("rbuild-e2e-").unwrap();
        let registry = Registry::start().unwrap();
        base_image::push_busybox(registry.address()).unwrap();
        mirror::daemon_json(directory.path(), registry.address()).unwrap();
        let lab = Self { registry, directory, who, owner };
        fs::set_permissions(lab.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["home", "project"] {
            fs::create_dir(lab.path(name)).unwrap();
        }
        lab.give(&lab.path("home"));
        lab.give(&lab.path("project"));
        Some(lab)
    }

    /// A path of the lab.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Whether this lab's rbuild runs without privilege.
    pub(crate) fn is_plain(&self) -> bool {
        self.who == Who::Plain || !is_root()
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path("project").join(name);
        let parent = path.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        fs::write(&path, content).unwrap();
        self.give(parent);
        self.give(&path);
    }

    /// Makes the lab's user the owner.
    pub(crate) fn give(&self, path: &Path) {
        if let Some((uid, gid)) = self.owner {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// rbuild with these words, in the project directory, as the lab's user.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.owner {
            None => Command::new(binary()),
            Some(ids) => subject::as_user(ids, binary()),
        };
        command.args(words).current_dir(self.path("project")).env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin:/usr/sbin:/sbin".into()));
        command.env("HOME", self.path("home")).env("RBUILD_ROOT", self.path("home/store"));
        command.env("RBUILD_DAEMON_JSON", self.path("daemon.json"));
        command
    }

    /// Runs rbuild to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs rbuild, which has to succeed. Returns what it wrote to standard error.
    #[track_caller]
    pub(crate) fn succeed(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "as {:?}: rbuild {}\n{said}", self.who, words.join(" "));
        said
    }

    /// Runs rbuild, which has to succeed. Returns its standard output.
    #[track_caller]
    pub(crate) fn answer(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "as {:?}: rbuild {}\n{said}", self.who, words.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs rbuild, which has to fail with this status and one error. Returns what it wrote to standard error.
    #[track_caller]
    pub(crate) fn fail(&self, status: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(status),
            "as {:?}: rbuild {}\n{said}",
            self.who,
            words.join(" ")
        );
        let errors = said.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "one clear error:\n{said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// Asks for a build and gets it; `-t app:1.0 .`.
    #[track_caller]
    pub(crate) fn build(&self, dockerfile: &str) -> String {
        self.write("Dockerfile", dockerfile);
        self.succeed(&["-t", "app:1.0", "."])
    }

    /// The name of the registry's image.
    pub(crate) fn remote(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    /// Pushes `app:1.0` and unpacks it with umoci. Returns the root filesystem. Owners are right only as root.
    #[track_caller]
    pub(crate) fn unpacked(&self) -> PathBuf {
        let remote = self.remote("team/app:1.0");
        self.succeed(&["push", "app:1.0", &remote]);
        let layout = self.path("layout");
        let bundle = self.path("bundle");
        for old in [&layout, &bundle] {
            if old.exists() {
                fs::remove_dir_all(old).unwrap();
            }
        }
        let to = format!("oci:{}:app", layout.display());
        peer("skopeo", &["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{remote}"), &to]);
        let image = format!("{}:app", layout.display());
        let bundle_text = bundle.display().to_string();
        let mut words = vec!["unpack", "--image", &image, &bundle_text];
        if !is_root() {
            words.insert(1, "--rootless");
        }
        peer("umoci", &words);
        bundle.join("rootfs")
    }

    /// Removes a store beside the lab's own, whose files may belong to subordinate ids.
    #[track_caller]
    pub(crate) fn drop_store(&self, store: &str) {
        let mut command = self.command(&["prune", "--all", "--force"]);
        assert!(command.env("RBUILD_ROOT", self.path("home").join(store)).output().unwrap().status.success());
    }

    /// No mount, process or half-written thing of this lab is left.
    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        let root = self.directory.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts: Vec<&str> =
            mounts.lines().filter(|line| line.contains(&format!("{root}/home"))).collect();
        assert!(mounts.is_empty(), "mounts are left:\n{}", mounts.join("\n"));
        let mut processes = self.processes();
        // The kernel may take a moment to end a killed namespace.
        for _ in 0..50 {
            if processes.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            processes = self.processes();
        }
        assert!(processes.is_empty(), "processes are left: {processes:?}");
        let scratch = self.path("home/store/tmp");
        let left = fs::read_dir(&scratch).map_or(0, Iterator::count);
        assert_eq!(left, 0, "`{}` is not empty", scratch.display());
    }

    /// Processes that were started with this lab's store, or whose directory or root is in it.
    fn processes(&self) -> Vec<String> {
        let root = self.directory.path().to_str().unwrap().as_bytes().to_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let process = entry.path();
            if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let wanted = [b"RBUILD_ROOT=".as_slice(), &root].concat();
            let holds = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
            if holds(&environment, &wanted) || self.is_marked(&line) {
                found.push(String::from_utf8_lossy(&line).replace('\0', " "));
            }
        }
        found
    }

    /// Commands of RUN that a test waits for carry this word.
    pub(crate) fn mark(&self) -> String {
        self.directory.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    fn is_marked(&self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        text.contains(&format!("marked-{}", self.mark()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !is_root() {
            // Files of subordinate ids go only through rbuild.
            let _ = self.run(&["prune", "--all", "--force"]);
        }
    }
}

/// Runs another tool, which has to succeed. Returns its standard output.
#[track_caller]
pub(crate) fn peer(program: &str, words: &[&str]) -> String {
    let path = packages::find(program).unwrap();
    let output = Command::new(path).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}\n{said}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn skip(need: &str) {
    let thread = std::thread::current();
    subject::skip(thread.name().unwrap_or("a test"), need);
}

pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| subject::reachable(&subject::under_test(env!("CARGO_BIN_EXE_rbuild"))).unwrap())
}

/// A command in a process group of its own, as a shell would start it.
pub(crate) fn in_own_group(mut command: Command) -> Command {
    command.process_group(0);
    command
}

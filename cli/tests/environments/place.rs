//! A directory with the program, the project and a store, and what a build in it gave.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;
use xtask::container::Environment;
use xtask::{base_image, packages, subject};

use crate::Where;

/// Where one build runs. Its directory is `/work` in a container.
pub(crate) struct Place {
    directory: PathBuf,
    disk: Disk,
    _base: TempDir,
    owner: (u32, u32),
    unshared: bool,
    container: Option<Environment>,
}

/// What the directory is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// This machine's own, as a volume is.
    Volume,
    /// An overlay, as a container's own root is: no overlay's changes can be in it, and no device that is a whiteout.
    Overlay,
}

/// What it gave.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The digest of the manifest; `None` where the build failed.
    pub(crate) image: Option<String>,
    pub(crate) log: String,
    /// The same of the build without RUN.
    pub(crate) plain: Option<String>,
    pub(crate) plain_log: String,
    /// What `rbuild doctor --format json` said.
    pub(crate) doctor: String,
    pub(crate) rung: Option<String>,
    pub(crate) id_map: Option<String>,
    pub(crate) degradations: Vec<String>,
    /// How long one `RUN true` takes, in milliseconds, where that was measured.
    pub(crate) run_true: Option<f64>,
}

/// Steps that are timed: enough that the start of the program does not count.
const TIMED_STEPS: usize = 10;

const SCRIPT: &str = r#"
export SOURCE_DATE_EPOCH=1767225600
here=$PWD
export RBUILD_ROOT=$here/store HOME=$here
./rbuild doctor --format json > doctor.json 2> doctor.err
build() {
  ./rbuild build --progress plain --metadata-file $1.json -o type=oci,dest=$1.tar -f context/$2 context > $1.log 2>&1
}
build plain Plain.Dockerfile
build image Dockerfile
if test -e context/Timed.1; then
  for count in 1 11; do
    begin=$(date +%s%N)
    build timed Timed.$count
    echo $(( $(date +%s%N) - begin )) > timed.$count
  done
fi
exit 0
"#;

impl Place {
    pub(crate) fn new(at: &Where, disk: Disk) -> Result<Self, Failed> {
        let base = TempDir::with_prefix("rbuild-environment-")?;
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755))?;
        let directory = base.path().join("root");
        fs::create_dir(&directory)?;
        if disk == Disk::Overlay {
            mount_overlay(base.path(), &directory)?;
        }
        let (owner, container) = match at {
            Where::Here(user) => (user.unwrap_or((0, 0)), None),
            Where::Unshared => ((0, 0), None),
            Where::Container(environment) => {
                ((environment.owner(), environment.owner()), Some((**environment).clone()))
            }
        };
        let unshared = matches!(at, Where::Unshared);
        let place = Self { directory, disk, _base: base, owner, unshared, container };
        fs::create_dir(place.path("context"))?;
        for name in ["Dockerfile", "Plain.Dockerfile"] {
            fs::copy(crate::data(name), place.path("context").join(name))?;
        }
        fs::write(place.path("context/rootfs.tar"), rootfs()?)?;
        fs::write(place.path("script"), SCRIPT)?;
        let binary = crate::binary()?;
        fs::hard_link(&binary, place.path("rbuild"))
            .or_else(|_| fs::copy(&binary, place.path("rbuild")).map(drop))?;
        for path in ["", "context"] {
            lchown(place.path(path), Some(place.owner.0), Some(place.owner.1))?;
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs doctor and both builds, and times RUN where that is wanted.
    pub(crate) fn build(&self, timed: bool) -> Result<Found, Failed> {
        if timed {
            self.timed_dockerfiles()?;
        }
        let output = match &self.container {
            Some(environment) => environment
                .run(&self.directory, &[], &["/bin/sh", "script"])
                .map_err(|error| format!("{error:#}"))?,
            None if self.unshared => {
                let mut unshare = Command::new("unshare");
                unshare.args(["--user", "--map-root-user", "sh"]);
                self.shell(unshare)?
            }
            None if self.owner == (0, 0) => self.shell(Command::new("sh"))?,
            None => self.shell(subject::as_user(self.owner, Path::new("sh")))?,
        };
        if !output.status.success() {
            return Err(format!(
                "the script ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
        let doctor = self.read("doctor.json");
        let said: serde_json::Value = serde_json::from_str(&doctor)
            .map_err(|error| format!("doctor: {error}: {doctor}{}", self.read("doctor.err")))?;
        let rung = said["isolation"].as_str().map(str::to_owned);
        let works =
            said["rungs"].as_array().into_iter().flatten().find(|one| one["rung"] == said["isolation"]);
        let degradations = works.and_then(|works| works["degradations"].as_array()).into_iter().flatten();
        Ok(Found {
            image: self.digest("image.json"),
            log: self.read("image.log"),
            plain: self.digest("plain.json"),
            plain_log: self.read("plain.log"),
            rung,
            id_map: works.and_then(|works| works["idMap"].as_str()).map(str::to_owned),
            degradations: degradations
                .filter_map(|less| less["feature"].as_str())
                .map(str::to_owned)
                .collect(),
            doctor,
            run_true: self.run_true(),
        })
    }

    fn shell(&self, mut command: Command) -> std::io::Result<std::process::Output> {
        command.arg("script").current_dir(&self.directory).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").output()
    }

    fn timed_dockerfiles(&self) -> std::io::Result<()> {
        for (name, count) in [("Timed.1", 1), ("Timed.11", 1 + TIMED_STEPS)] {
            let mut text = "FROM scratch\nADD rootfs.tar /\nENV PATH=/bin\n".to_owned();
            text.extend((0..count).map(|number| format!("RUN true {name} {number}\n")));
            fs::write(self.path("context").join(name), text)?;
        }
        Ok(())
    }

    fn run_true(&self) -> Option<f64> {
        let read = |name: &str| self.read(name).trim().parse::<f64>().ok();
        let (one, many) = (read("timed.1")?, read("timed.11")?);
        Some((many - one) / TIMED_STEPS as f64 / 1e6)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn digest(&self, name: &str) -> Option<String> {
        let metadata: serde_json::Value = serde_json::from_str(&self.read(name)).ok()?;
        metadata["containerimage.digest"].as_str().map(str::to_owned)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the directory goes by root's hand: a container's files are another's, which root may remove.
        let _ = chown(&self.directory, Some(0), Some(0));
        if self.disk == Disk::Overlay {
            let _ = Command::new("umount").arg("--lazy").arg(&self.directory).status();
        }
    }
}

fn mount_overlay(base: &Path, at: &Path) -> Result<(), Failed> {
    let parts = ["lower", "upper", "work"].map(|name| base.join(name));
    for part in &parts {
        fs::create_dir(part)?;
    }
    let [lower, upper, work] = parts.map(|part| part.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mounted =
        Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(at).output()?;
    if mounted.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&mounted.stderr).into_owned().into())
    }
}

/// busybox with what the Dockerfile needs beyond it: setcap with its libraries, and a directory to remove.
fn rootfs() -> Result<Vec<u8>, Failed> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |path: &str, bytes: &[u8], mode: u32, kind: tar::EntryType| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(1_767_225_600);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, bytes)
    };
    let setcap = packages::find("setcap").ok_or("setcap is not here")?;
    append("sbin/setcap", &fs::read(&setcap)?, 0o755, tar::EntryType::Regular)?;
    let output = Command::new("ldd").arg(&setcap).output()?;
    for library in
        String::from_utf8_lossy(&output.stdout).split_whitespace().filter(|word| word.starts_with('/'))
    {
        append(library.trim_start_matches('/'), &fs::read(library)?, 0o755, tar::EntryType::Regular)?;
    }
    for directory in ["mnt", "srv", "var/x", "var/x/y"] {
        append(&format!("{directory}/"), &[], 0o755, tar::EntryType::Directory)?;
    }
    append("var/x/y/f", b"old", 0o644, tar::EntryType::Regular)?;
    let more = tar.into_inner()?;
    let mut whole = base_image::busybox_tar().map_err(|error| format!("{error:#}"))?;
    // The end of an archive is two blocks of zeros.
    while whole.last() == Some(&0) {
        whole.pop();
    }
    whole.resize(whole.len().next_multiple_of(512), 0);
    whole.extend(more);
    Ok(whole)
}

//! The examples of the library crates, run as their readers would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use walkdir::WalkDir;

use crate::lab::{Lab, as_caller, peer};

/// Runs an example, which has to succeed. Returns its standard output.
#[track_caller]
fn example(lab: &Lab, name: &str, words: &[&str]) -> String {
    let output = Command::new(examples().join(name)).args(words).current_dir(lab.path("project")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{name}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where the examples are. `cargo test` of the workspace has built them; a test of this crate alone may have to.
fn examples() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let profile = PathBuf::from(env!("CARGO_BIN_EXE_rbuild")).parent().unwrap().to_owned();
        let built = profile.join("examples");
        if are_new(&built) {
            return built;
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--examples", "--target-dir"]);
        cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
        built
    };
    BUILT.get_or_init(build).clone()
}

/// Whether every example is there, and younger than all that it is made of.
fn are_new(examples: &Path) -> bool {
    let age = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = ["layer-store", "registry-client", "builder"].iter().flat_map(|name| {
        WalkDir::new(root.join(name)).into_iter().filter_map(Result::ok).filter_map(|file| age(file.path()))
    });
    let newest = sources.max();
    let all = ["build_image", "copy_image", "remote_file", "archive_files"];
    all.iter().all(|name| age(&examples.join(name)) > newest)
}

#[test]
fn a_program_builds_copies_and_reads_images() {
    as_caller(&["skopeo"], |lab| {
        let base = lab.remote("library/busybox:1");
        lab.write("Dockerfile", format!("FROM {base}\nRUN echo made > /made\nCOPY note /etc/note\n"));
        lab.write("note", "copied\n");
        let (built, copied) = (lab.remote("team/app:1.0"), lab.remote("copies/app:1.0"));
        let store = lab.path("home/example").display().to_string();
        let said = example(lab, "build_image", &[".", &built, &store]);
        assert!(said.starts_with("sha256:") && said.ends_with(": 2 steps ran, 1 cached\n"), "{said}");
        assert!(example(lab, "build_image", &[".", &built, &store]).contains(": 0 steps ran, 3 cached"));

        let said = example(lab, "copy_image", &[&built, &copied]);
        let digest = |name: &str| {
            let place = format!("docker://{name}");
            peer("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &place])
        };
        assert_eq!(digest(&copied), digest(&built));
        assert!(said.starts_with(digest(&built).trim()), "{said}");

        let archive = lab.path("app.tar").display().to_string();
        let to = format!("oci-archive:{archive}");
        peer("skopeo", &["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{built}"), &to]);
        let list = example(lab, "archive_files", &[&archive]);
        assert!(list.lines().any(|name| name == "bin/busybox"), "{list}");
        assert_eq!(example(lab, "archive_files", &[&archive, "/etc/note"]), "copied\n");

        // The layer of the base is not read for a file of a layer above it.
        let blobs = WalkDir::new(lab.registry.data()).into_iter().filter_map(Result::ok);
        let largest = blobs.max_by_key(|entry| entry.metadata().map_or(0, |of| of.len())).unwrap();
        let whole = fs::read(largest.path()).unwrap();
        assert!(whole.len() > 500_000, "{} is no base layer", largest.path().display());
        fs::write(largest.path(), b"damaged").unwrap();
        assert_eq!(example(lab, "remote_file", &[&built, "/etc/note"]), "copied\n");
        assert_eq!(example(lab, "remote_file", &[&built, "made"]), "made\n");
        fs::write(largest.path(), whole).unwrap();
        assert!(example(lab, "remote_file", &[&built, "/etc/passwd"]).starts_with("root:"));
    });
}

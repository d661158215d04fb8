//! A disk that changes what the store holds: it is found, repaired, and gets into no image.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::lab::{Lab, as_each_user};

const DOCKERFILE: &str = "\
FROM busybox:1
COPY words /words
RUN cat /words /words > /twice && ln /twice /again
FROM busybox:1
COPY --from=0 /twice /again /two/
";

/// Builds and exports; returns the digest of the manifest. `SOURCE_DATE_EPOCH` makes it the same each time.
#[track_caller]
fn build(lab: &Lab) -> String {
    let metadata = lab.path("project/metadata.json");
    let mut command = lab.command(&[
        "--metadata-file",
        metadata.to_str().unwrap(),
        "--output",
        "type=oci,dest=out.tar",
        "-t",
        "app:1.0",
        ".",
    ]);
    let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
    metadata["containerimage.digest"].as_str().unwrap().to_owned()
}

/// All files of the store that match, the same in each store of the same content.
fn files(store: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(store).sort_by_file_name().into_iter().filter_map(Result::ok);
    walk.filter(|entry| entry.file_type().is_file() && entry.metadata().is_ok_and(|found| found.len() > 0))
        .map(walkdir::DirEntry::into_path)
        .filter(|path| fits(path.strip_prefix(store).unwrap().to_str().unwrap()))
        .collect()
}

fn flip(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    let at = metadata.len() / 2;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    fs::set_permissions(path, metadata.permissions()).unwrap();
}

#[test]
fn a_flipped_bit_in_each_form_is_found_repaired_and_in_no_image() {
    as_each_user(&[], |lab| {
        lab.write("words", "many words\n".repeat(3000));
        lab.write("Dockerfile", DOCKERFILE);
        let wanted = build(lab);
        let store = lab.path("home/store");
        lab.succeed(&["store", "check"]);
        type Fits = fn(&str) -> bool;
        let forms: [(&str, Fits); 5] = [
            ("blob", |path| path.starts_with("blobs/")),
            ("index", |path| path.ends_with("/index") && path.starts_with("layers/")),
            ("tree", |path| path.contains("/tree/")),
            ("tar", |path| path.ends_with("/tar")),
            ("record", |path| path.starts_with("steps/")),
        ];
        for (form, fits) in forms {
            let found = files(&store, fits);
            assert!(!found.is_empty(), "the build leaves no {form}");
            for file in &found {
                flip(file);
            }
            let said = lab.fail(1, &["store", "check"]);
            assert!(said.contains("--repair"), "{form}: {said}");
            let shown = lab.run(&["store", "check", "--json"]);
            let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
            assert!(!shown["problems"].as_array().unwrap().is_empty(), "{form}: {shown}");
            // Built, pushed or exported before the repair, the image is right or it is an error.
            let exported = lab.command(&["--output", "type=oci,dest=early.tar", "."]).output().unwrap();
            let said = String::from_utf8_lossy(&exported.stderr).into_owned();
            assert!(exported.status.success() || said.contains("error: "), "{form}: {said}");

            let _ = lab.run(&["store", "check", "--repair"]);
            assert_eq!(build(lab), wanted, "{form}");
            lab.succeed(&["store", "check"]);
        }
    });
}

#[test]
fn a_copy_never_takes_what_the_disk_changed() {
    as_each_user(&[], |lab| {
        lab.write("words", "many words\n".repeat(3000));
        lab.write("Dockerfile", DOCKERFILE);
        lab.succeed(&["-t", "app:1.0", "."]);
        for file in files(&lab.path("home/store"), |path| path.ends_with("/twice")) {
            flip(&file);
        }
        lab.write("Dockerfile", DOCKERFILE.replace("/two/", "/three/"));
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("damaged") && said.contains("rbuild store check --repair"), "{said}");
        let _ = lab.run(&["store", "check", "--repair"]);
        lab.succeed(&["-t", "app:1.0", "."]);
    });
}

//! What flags of a build decide: platforms, targets, annotations, layers made one.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lab::{Lab, as_caller};

/// A document of an OCI layout, by its digest.
fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    serde_json::from_slice(&fs::read(layout.join("blobs").join(digest)).unwrap()).unwrap()
}

/// Builds into a layout, and gives the first thing that it lists.
fn build(lab: &Lab, words: &[&str]) -> (std::path::PathBuf, Value) {
    let layout = lab.path("home/layout");
    if layout.exists() {
        fs::remove_dir_all(&layout).unwrap();
    }
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let words: Vec<&str> =
        ["build", "-t", "app:1.0", "-o", &output].iter().chain(words).chain(&["."]).copied().collect();
    lab.succeed(&words);
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let first = index["manifests"][0].clone();
    (layout, first)
}

#[test]
fn several_platforms_are_one_index() {
    as_caller(&[], |lab| {
        lab.write("a", "a");
        lab.write("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY a /a\nCOPY a /$TARGETARCH\n");
        let metadata = lab.path("home/metadata");
        let (layout, top) = build(
            lab,
            &[
                "--platform=linux/amd64,linux/arm64",
                "--annotation=index:which=index",
                "--annotation=manifest[linux/arm64]:which=arm",
                "--metadata-file",
                metadata.to_str().unwrap(),
            ],
        );
        let index = blob(&layout, &top);
        assert_eq!(index["annotations"]["which"], "index");
        let images = index["manifests"].as_array().unwrap();
        let platforms: Vec<&str> =
            images.iter().map(|image| image["platform"]["architecture"].as_str().unwrap()).collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        let manifests: Vec<Value> = images.iter().map(|image| blob(&layout, image)).collect();
        assert_eq!(manifests[1]["annotations"]["which"], "arm");
        assert!(manifests[0]["annotations"].is_null());
        assert_eq!(blob(&layout, &manifests[1]["config"])["architecture"], "arm64");
        assert_eq!(manifests[0]["layers"][0], manifests[1]["layers"][0], "what is the same is one layer");
        assert_ne!(manifests[0]["layers"][1], manifests[1]["layers"][1]);
        let said: Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
        assert_eq!(said["containerimage.digest"], top["digest"]);
    });
}

#[test]
fn squashed_layers_hold_the_same_files() {
    as_caller(&[], |lab| {
        lab.write("a", "a");
        lab.write("Dockerfile", "FROM busybox:1\nCOPY a /a\nRUN rm /bin/vi /a && echo b > /b && mkdir -p /d/e && rm -r /home\nCOPY a /d/f\n");
        let list = |place: &str, words: &[&str]| {
            let out = lab.path("home").join(place);
            let words: Vec<&str> =
                ["build", "-o", out.to_str().unwrap()].iter().chain(words).chain(&["."]).copied().collect();
            lab.succeed(&words);
            let found = std::process::Command::new("find")
                .args([".", "-printf", "%p %m %U %s\n"])
                .current_dir(&out)
                .output();
            let mut lines: Vec<String> =
                String::from_utf8(found.unwrap().stdout).unwrap().lines().map(str::to_owned).collect();
            lines.sort();
            // The sizes of directories are the filesystem's own affair.
            lines.retain(|line| !line.starts_with(". "));
            lines
        };
        let apart = list("apart", &[]);
        assert_eq!(list("one", &["--squash"]), apart);
        assert!(
            apart.iter().any(|line| line.starts_with("./d/f "))
                && !apart.iter().any(|line| line.starts_with("./home"))
        );
        let (layout, top) = build(lab, &["--squash"]);
        let manifest = blob(&layout, &top);
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "the base image's and one");
        let config = blob(&layout, &manifest["config"]);
        let made = config["history"].as_array().unwrap().iter().filter(|line| line["empty_layer"] != true);
        assert_eq!(made.count(), config["rootfs"]["diff_ids"].as_array().unwrap().len());
    });
}

#[test]
fn several_targets_are_built_and_the_last_is_the_image() {
    as_caller(&[], |lab| {
        lab.write("a", "a");
        lab.write("Dockerfile", "FROM busybox:1 AS test\nRUN echo ran-test\nFROM scratch AS app\nCOPY a /app\nFROM scratch\nCOPY a /other\n");
        let said = lab.succeed(&["build", "-t", "app:1.0", "--target=test", "--target=app", "."]);
        assert!(said.contains("ran-test") && !said.contains("/other"), "{said}");
        let layers = lab.answer(&["inspect", "--format", "{{json .RootFS.Layers}}", "app:1.0"]);
        assert_eq!(layers.matches("sha256:").count(), 1, "{layers}");
        lab.write("Dockerfile", "FROM busybox:1 AS test\nRUN false\nFROM scratch AS app\nCOPY a /app\n");
        lab.fail(1, &["build", "--target=test,app", "."]);
    });
}

#[test]
fn the_metadata_file_has_buildx_fields() {
    as_caller(&[], |lab| {
        lab.write("a", "a");
        lab.write("Dockerfile", "FROM scratch\nCOPY a /a\n");
        let file = lab.path("home/metadata");
        let app = lab.remote("team/app:1.0");
        let read = |words: &[&str]| -> Value {
            let start = ["build", "--metadata-file", file.to_str().unwrap()];
            let words: Vec<&str> = start.into_iter().chain(words.iter().copied()).chain(["."]).collect();
            lab.succeed(&words);
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap()
        };
        let pushed = read(&["-t", &app, "--push"]);
        let digest = lab.answer(&["manifest", "digest", &app]);
        assert_eq!(pushed["containerimage.digest"], digest.trim());
        let descriptor = &pushed["containerimage.descriptor"];
        assert_eq!(descriptor["digest"], digest.trim());
        assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert!(descriptor["size"].is_u64() && descriptor["platform"]["os"] == "linux", "{descriptor}");
        let id = lab.answer(&["inspect", "--format", "{{.Id}}", &app]);
        assert_eq!(pushed["containerimage.config.digest"], id.trim());
        assert_eq!(pushed["image.name"], app.as_str());
        let reference = pushed["buildx.build.ref"].as_str().unwrap();
        assert_eq!(reference.split('/').count(), 3, "{reference}");
        assert!(lab.answer(&["logs", reference.rsplit('/').next().unwrap()]).contains("COPY a /a"));
        let provenance = &pushed["buildx.build.provenance"];
        assert!(provenance["buildDefinition"]["buildType"].is_string(), "{provenance}");
        // Where it stays in the store it has the same digest already.
        let kept = read(&["-t", "app:1.0", "-t", "team/app:2"]);
        assert_eq!(kept["containerimage.digest"], digest.trim());
        assert_eq!(kept["image.name"], "docker.io/library/app:1.0,docker.io/team/app:2");
        let several = read(&["-t", "several:1.0", "--platform=linux/amd64,linux/arm64"]);
        let top = lab.answer(&["inspect", "--format", "{{.Descriptor.digest}}", "several:1.0"]);
        assert_eq!(several["containerimage.digest"], top.trim());
        assert!(several["containerimage.config.digest"].is_null());
        assert!(several["buildx.build.provenance/linux/arm64"]["buildDefinition"].is_object());
    });
}

//! The registry toolkit: copies in every direction, and images that are changed where they are.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, as_caller, as_each_user, peer};

/// Pushes two images as the platforms of one index, and gives its name.
fn two_platforms(lab: &Lab) -> String {
    for platform in ["linux/amd64", "linux/arm64"] {
        lab.write(
            "Dockerfile",
            "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /common\nLABEL arch=$TARGETARCH\n",
        );
        let tag = platform.replace('/', "-");
        lab.succeed(&["--platform", platform, "-t", &tag, "."]);
        lab.succeed(&["push", &tag, &lab.remote(&format!("team/one:{tag}"))]);
    }
    let index = lab.remote("team/app:1.0");
    let (amd64, arm64) = (lab.remote("team/one:linux-amd64"), lab.remote("team/one:linux-arm64"));
    lab.succeed(&["index", "create", &index, &amd64, &arm64]);
    index
}

fn json(lab: &Lab, words: &[&str]) -> Value {
    serde_json::from_str(&lab.answer(words)).unwrap()
}

fn digest(lab: &Lab, place: &str) -> String {
    lab.answer(&["manifest", "digest", place]).trim().to_owned()
}

#[test]
fn an_index_travels_everywhere_and_stays_what_it_is() {
    as_each_user(&[], |lab| {
        let index = two_platforms(lab);
        let wanted = digest(lab, &index);
        let (layout, oci) = (lab.path("project/layout"), lab.path("project/oci.tar"));
        let docker = lab.path("project/docker.tar");
        let places = [
            format!("oci:{}:v1", layout.display()),
            format!("oci-archive:{}", oci.display()),
            format!("docker-archive:{}:team/app:2", docker.display()),
            "store:copied:1".to_owned(),
        ];
        for place in &places {
            lab.succeed(&["copy", &index, place]);
            assert_eq!(digest(lab, place), wanted, "{place}");
            let back = lab.remote("team/back:1");
            lab.succeed(&["copy", place, &back]);
            assert_eq!(digest(lab, &back), wanted, "{place}");
            assert_eq!(lab.answer(&["manifest", "platforms", place]), "linux/amd64\nlinux/arm64\n");
        }
        // The index of several platforms is pushed whole.
        let pushed = lab.remote("team/pushed:1");
        lab.succeed(&["push", "copied:1", &pushed]);
        assert_eq!(digest(lab, &pushed), wanted);
        // Fewer only where that is asked for.
        let arm = lab.remote("team/arm:1");
        lab.succeed(&["copy", "--platform", "linux/arm64", &index, &arm]);
        assert_eq!(lab.answer(&["manifest", "platforms", &arm]), "linux/arm64\n");
    });
}

#[test]
fn a_plan_says_what_a_copy_then_does() {
    as_caller(&[], |lab| {
        let index = two_platforms(lab);
        let layout = format!("oci:{}", lab.path("project/layout").display());
        let plan = json(lab, &["copy", "--dry-run", "--json", &index, &layout]);
        assert!(!lab.path("project/layout").exists());
        let blobs = plan["images"][0]["plan"]["blobs"].as_array().unwrap();
        let (moved, bytes) = (blobs.len() as u64, plan["images"][0]["plan"]["bytes"].as_u64().unwrap());
        assert!(moved == 3 && blobs.iter().all(|blob| blob["step"] == "move"), "{plan}");
        let copied = json(lab, &["copy", "--json", &index, &layout]);
        let copied = &copied["images"][0]["copied"];
        assert_eq!((copied["moved"].as_u64(), copied["bytes"].as_u64()), (Some(moved), Some(bytes)));

        let sibling = lab.remote("team/sibling:1");
        let plan = json(lab, &["copy", "--dry-run", "--json", &index, &sibling]);
        let blobs = plan["images"][0]["plan"]["blobs"].as_array().unwrap();
        assert!(blobs.iter().all(|blob| blob["step"] == "mount"), "{plan}");
        assert!(lab.fail(1, &["manifest", "digest", &sibling]).contains("there is no image"));
        let copied = json(lab, &["copy", "--json", &index, &sibling]);
        assert_eq!(copied["images"][0]["copied"]["bytes"], 0);
        assert_eq!(copied["images"][0]["copied"]["mounted"], 3);
        let again = json(lab, &["copy", "--dry-run", "--json", &index, &sibling]);
        let plan = &again["images"][0]["plan"];
        assert!(plan["manifests"].as_array().unwrap().iter().all(|one| one["there"] == true), "{plan}");
        let push = json(lab, &["push", "--dry-run", "--json", "linux-amd64", &lab.remote("team/new:1")]);
        assert_eq!(push["images"][0]["plan"]["bytes"], 0, "{push}");
        assert!(lab.fail(1, &["tags", &lab.remote("team/new")]).contains("404"));
    });
}

#[test]
fn changes_move_no_layers_and_keep_platforms() {
    as_each_user(&[], |lab| {
        let index = two_platforms(lab);
        let changed = lab.remote("team/app:2");
        let words = ["mutate", &index, "-t", &changed, "-l", "a=b", "-e", "X=1", "--entrypoint", "/run now"];
        let more =
            ["-u", "7", "-w", "/srv", "-a", "k=v", "-a", "index:i=j", "--remove-label", "arch", "--json"];
        let result = json(lab, &[&words[..], &more].concat());
        // Two configurations and no layer.
        assert_eq!(result["images"][0]["copied"]["moved"], 2, "{result}");
        assert_eq!(lab.answer(&["manifest", "platforms", &changed]), "linux/amd64\nlinux/arm64\n");
        let raw: Value = serde_json::from_str(&lab.answer(&["manifest", "raw", &changed])).unwrap();
        assert_eq!(raw["annotations"]["i"], "j");
        lab.succeed(&["copy", &changed, "store:changed:1"]);
        let config = json(lab, &["inspect", "changed:1"]);
        let config = &config[0]["Config"];
        assert_eq!(config["Labels"], serde_json::json!({ "a": "b" }));
        assert_eq!(config["Env"][1], "X=1");
        assert_eq!(config["Entrypoint"], serde_json::json!(["/run", "now"]));
        assert_eq!((&config["User"], &config["WorkingDir"]), (&"7".into(), &"/srv".into()));
        // Nothing asked, nothing changed.
        let same = lab.remote("team/app:3");
        lab.succeed(&["mutate", &index, "-t", &same]);
        assert_eq!(digest(lab, &same), digest(lab, &index));
    });
}

#[test]
fn layers_are_put_on_merged_and_written_out() {
    as_caller(&["root"], |lab| {
        let index = two_platforms(lab);
        lab.write("added.txt", "added\n");
        let tar = lab.path("project/layer.tar").display().to_string();
        let project = lab.path("project").display().to_string();
        peer("tar", &["-C", &project, "-cf", &tar, "added.txt"]);
        let appended = lab.remote("team/app:appended");
        lab.succeed(&["append", &index, &tar, "-t", &appended]);
        let flat = lab.remote("team/app:flat");
        lab.succeed(&["flatten", &appended, "-t", &flat]);
        let inspected = json(lab, &["manifest", "inspect", "--json", "--platform", "linux/arm64", &flat]);
        assert_eq!(inspected["manifest"]["layers"].as_array().unwrap().len(), 1);
        let files = format!("{}/", lab.path("project/files").display());
        lab.succeed(&["export", &flat, "-o", &files]);
        assert_eq!(fs::read_to_string(lab.path("project/files/added.txt")).unwrap(), "added\n");
        assert!(lab.path("project/files/common").exists());
        let no_tar = lab.fail(1, &["append", &index, "added.txt", "-t", &appended]);
        assert!(no_tar.contains("`added.txt` is not the tar of a layer"), "{no_tar}");

        lab.write("Dockerfile", "FROM scratch\nCOPY added.txt /base\n");
        for platform in ["linux/amd64", "linux/arm64"] {
            let tag = platform.replace('/', "-");
            lab.succeed(&["--platform", platform, "-t", &tag, "."]);
            lab.succeed(&["push", &tag, &lab.remote(&format!("base/one:{tag}"))]);
        }
        let (base, rebased) = (lab.remote("base/both:1"), lab.remote("team/app:rebased"));
        let (amd64, arm64) = (lab.remote("base/one:linux-amd64"), lab.remote("base/one:linux-arm64"));
        lab.succeed(&["index", "create", &base, &amd64, &arm64]);
        lab.succeed(&["rebase", &appended, "--old-base", &index, "--new-base", &base, "-t", &rebased]);
        let files = format!("{}/", lab.path("project/rebased").display());
        lab.succeed(&["export", &rebased, "-o", &files]);
        let names = |path: &str| lab.path(&format!("project/rebased/{path}")).exists();
        assert!(names("base") && names("added.txt") && !names("common"));
        let refused =
            lab.fail(1, &["rebase", &appended, "--old-base", &base, "--new-base", &index, "-t", &rebased]);
        assert!(refused.contains("does not stand on the old base"), "{refused}");
    });
}

#[test]
fn artifacts_blobs_and_deletion() {
    as_each_user(&[], |lab| {
        let index = two_platforms(lab);
        lab.write("sbom.json", "{}");
        let attach =
            ["attach", &index, "sbom.json:application/spdx+json", "--artifact-type", "application/sbom"];
        let entry = json(lab, &[&attach[..], &["--json"]].concat());
        // A second one is added to the first.
        lab.succeed(&["attach", &index, "sbom.json", "--artifact-type", "application/other"]);
        let list = json(lab, &["referrers", &index, "--json"]);
        assert_eq!(list["referrers"].as_array().unwrap().len(), 2, "{list}");
        let list = json(lab, &["referrers", &index, "--json", "--artifact-type", "application/sbom"]);
        assert_eq!(list["referrers"][0]["digest"], entry["digest"]);
        assert_eq!(list["referrers"].as_array().unwrap().len(), 1);

        let repository = lab.remote("team/app");
        let put = json(lab, &["blob", "put", &repository, "sbom.json", "--json"]);
        let blob = format!("{repository}@{}", put["digest"].as_str().unwrap());
        assert_eq!(lab.answer(&["blob", "get", &blob]), "{}");

        // A tag goes alone, a digest takes all its tags along.
        lab.succeed(&["copy", &index, &lab.remote("team/app:also")]);
        lab.succeed(&["delete", &index]);
        let tags = json(lab, &["tags", &repository, "--json"]);
        assert!(tags["tags"].as_array().unwrap().contains(&"also".into()), "{tags}");
        assert!(!tags["tags"].as_array().unwrap().contains(&"1.0".into()), "{tags}");
        let also = lab.remote("team/app:also");
        let pinned = format!("{repository}@{}", digest(lab, &also));
        lab.succeed(&["delete", &pinned]);
        assert!(lab.fail(1, &["manifest", "digest", &also]).contains("there is no image"));
        assert!(lab.fail(2, &["delete", &repository]).contains("neither a tag nor a digest"));
        assert!(lab.fail(1, &["delete", &index]).contains("404"));
        assert!(lab.fail(1, &["whoami", lab.registry.address()]).contains("there are no credentials"));
    });
}

#[test]
fn every_tag_of_a_repository_is_copied() {
    as_caller(&[], |lab| {
        let index = two_platforms(lab);
        lab.succeed(&["copy", &index, &lab.remote("team/app:2.0")]);
        let layout = format!("oci:{}", lab.path("project/all").display());
        lab.succeed(&["copy", "--all-tags", &lab.remote("team/app"), &layout]);
        let several = lab.fail(1, &["copy", &format!("oci:{}", lab.path("project/none").display()), &index]);
        assert!(several.contains("oci-layout"), "{several}");
        lab.succeed(&["copy", "--all-tags", &layout, &lab.remote("team/again")]);
        assert_eq!(lab.answer(&["tags", &lab.remote("team/again")]), "1.0\n2.0\n");
        assert_eq!(digest(lab, &lab.remote("team/again:2.0")), digest(lab, &index));
    });
}

#[test]
fn other_tools_and_rbuild_read_each_others_layouts_and_archives() {
    as_caller(&["skopeo", "umoci", "buildah", "root"], |lab| {
        lab.build("FROM busybox:1\nRUN echo made > /made\nLABEL a=b\n");
        let remote = lab.remote("team/app:1.0");
        lab.succeed(&["push", "app:1.0", &remote]);
        let path = |name: &str| lab.path(&format!("project/{name}")).display().to_string();
        let (ours, theirs) = (path("ours"), path("theirs"));
        lab.succeed(&["copy", &remote, &format!("oci:{ours}:v1")]);
        // Ours, read by theirs.
        peer("umoci", &["unpack", "--image", &format!("{ours}:v1"), &path("bundle")]);
        assert_eq!(fs::read_to_string(lab.path("project/bundle/rootfs/made")).unwrap(), "made\n");
        peer("skopeo", &["copy", "-q", &format!("oci:{ours}:v1"), &format!("oci:{theirs}:v1")]);
        let archive = path("ours.tar");
        lab.succeed(&["copy", "store:app:1.0", &format!("docker-archive:{archive}:app:1.0")]);
        let inspected = peer("skopeo", &["inspect", &format!("docker-archive:{archive}")]);
        assert!(inspected.contains("\"a\": \"b\""), "{inspected}");
        let oci = path("ours-oci.tar");
        lab.succeed(&["copy", &remote, &format!("oci-archive:{oci}:v1")]);
        let storage = path("buildah");
        let place = ["--root", &storage, "--runroot", &storage, "--storage-driver", "vfs"];
        peer("buildah", &[&place[..], &["pull", "-q", &format!("oci-archive:{oci}:v1")]].concat());
        // Theirs, read by ours.
        let wanted = digest(lab, &remote);
        assert_eq!(digest(lab, &format!("oci:{theirs}:v1")), wanted);
        for (transport, name) in [("oci-archive", "theirs-oci.tar"), ("docker-archive", "theirs.tar")] {
            let place = format!("{transport}:{}:team/app:1.0", path(name));
            peer("skopeo", &["copy", "-q", &format!("oci:{ours}:v1"), &place]);
            let back = lab.remote(&format!("team/{transport}:1"));
            lab.succeed(&["copy", &place, &back]);
            let files = format!("{}/", path(transport));
            lab.succeed(&["export", &back, "-o", &files]);
            assert_eq!(fs::read_to_string(format!("{files}made")).unwrap(), "made\n");
            // What Docker's archives hold bare travels compressed.
            let raw = lab.answer(&["manifest", "raw", &back]);
            assert!(raw.contains("tar+gzip") && !raw.contains(".tar\""), "{raw}");
        }
        let name = format!("docker://{}", lab.remote("team/buildah:1"));
        let push = ["push", "-q", "--tls-verify=false", "--format", "docker"];
        let image = peer("buildah", &[&place[..], &["images", "-q"]].concat());
        peer("buildah", &[&place[..], &push, &[image.trim(), &name]].concat());
        let layout = format!("oci:{}", path("from-buildah"));
        lab.succeed(&["copy", &name, &layout]);
        assert!(lab.answer(&["manifest", "raw", &layout]).contains("docker.distribution.manifest.v2"));
    });
}

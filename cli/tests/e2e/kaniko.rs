//! Builds in the words of kaniko's executor.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::lab::{as_caller, as_each_user, peer};

#[test]
fn an_executors_command_line_builds_and_pushes() {
    as_each_user(&["skopeo"], |lab| {
        lab.write(
            "app/docker/Dockerfile",
            "FROM busybox:1 AS app\nARG WHO\nCOPY file /file\nRUN echo \"$WHO\" > /who\n",
        );
        lab.write("app/file", "content");
        let (one, two) = (lab.remote("team/app:1"), lab.remote("other/app:2"));
        let context = format!("dir://{}", lab.path("project").display());
        let place = |name: &str| lab.path("home/out").join(name).display().to_string();
        let (digest, name, tag) = (place("deep/digest"), place("name"), place("tag"));
        let (tar, layout) = (place("app.tar"), place("layout"));
        let said = lab.succeed(&[
            "kaniko",
            "--context",
            &context,
            "--context-sub-path=app",
            "--dockerfile=docker/Dockerfile",
            "--destination",
            &one,
            "--destination",
            &two,
            "--build-arg=WHO=me",
            "--target=app",
            "--label=a=b",
            "--snapshot-mode=redo",
            "--use-new-run",
            "--skip-tls-verify",
            "--digest-file",
            &digest,
            "--image-name-with-digest-file",
            &name,
            "--image-name-tag-with-digest-file",
            &tag,
            "--tarPath",
            &tar,
            "--oci-layout-path",
            &layout,
        ]);
        assert!(said.contains("note: `--snapshot-mode` has nothing to do"), "{said}");
        let digest = fs::read_to_string(digest).unwrap();
        let address = lab.registry.address();
        assert_eq!(
            fs::read_to_string(name).unwrap(),
            format!("{address}/team/app@{digest}\n{address}/other/app@{digest}\n")
        );
        assert_eq!(fs::read_to_string(tag).unwrap(), format!("{one}@{digest}\n{two}@{digest}\n"));
        for place in [format!("docker://{one}"), format!("docker://{two}"), format!("oci:{layout}:1")] {
            let known: Value =
                serde_json::from_str(&peer("skopeo", &["inspect", "--tls-verify=false", &place])).unwrap();
            assert_eq!(known["Digest"], digest.as_str(), "{place}");
            assert_eq!(known["Labels"]["a"], "b");
        }
        peer("skopeo", &["inspect", &format!("docker-archive:{tar}:{two}")]);
        assert_eq!(lab.answer(&["cat", &one, "/who"]), "me\n");
    });
}

#[test]
fn nothing_is_pushed_and_the_digest_is_known() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo x > /x\n");
        let digest = |words: &[&str]| {
            let path = lab.path("home/digest").display().to_string();
            lab.succeed(&[&["kaniko", "-c", ".", "--digest-file", &path], words].concat());
            fs::read_to_string(path).unwrap()
        };
        let alone = digest(&["--no-push"]);
        let remote = lab.remote("team/app:1");
        assert_eq!(digest(&["--destination", &remote]), alone);
        let said = lab.fail(2, &["kaniko", "-c", "."]);
        assert!(said.contains("`--destination`"), "{said}");
        let said = lab.fail(2, &["kaniko", "-c", ".", "--no-push", "--bucket", "b"]);
        assert!(said.contains("`--bucket` is not supported"), "{said}");
        let said = lab.fail(1, &["kaniko", "--no-push"]);
        assert!(said.contains("`/workspace`"), "{said}");
    });
}

#[test]
fn a_cache_beside_the_destination_is_used() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo ran-$((1+1))\n");
        let remote = lab.remote("team/app:1");
        let build = |store: &str, words: &[&str]| {
            let store = lab.path(store).display().to_string();
            let common = ["--root", &store, "kaniko", "-c", ".", "-d", &remote, "--cache=true"];
            lab.succeed(&[&common, words].concat())
        };
        assert!(build("home/one", &[]).contains("ran-2"));
        assert!(!build("home/two", &["--no-push-cache"]).contains("ran-2"), "the cache is known");
        assert!(lab.answer(&["tags", &lab.remote("team/app/cache")]).contains("latest"));
        assert!(build("home/two", &["--cache=false"]).contains("ran-2"), "a cache may be switched off");
    });
}

#[test]
fn an_archive_is_a_context() {
    as_caller(&[], |lab| {
        let mut archive = xtask::base_image::Rootfs::default();
        archive.file("Dockerfile", b"FROM busybox:1\nCOPY file /file\n", 0o644).unwrap();
        archive.file("file", b"content", 0o644).unwrap();
        let archive = archive.finish().unwrap();
        lab.write("context.tar", &archive);
        let path = format!("tar://{}", lab.path("project/context.tar").display());
        lab.succeed(&["kaniko", "--context", &path, "--no-push", "--destination", "file:1"]);
        assert_eq!(lab.answer(&["cat", "file:1", "/file"]), "content");
        let words = ["kaniko", "--context", "tar://stdin", "--no-push", "--destination", "piped:1"];
        let mut child = lab.command(&words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lab.answer(&["cat", "piped:1", "/file"]), "content");
    });
}

#[test]
fn base_images_come_from_a_mirror_that_the_line_names() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nRUN true\n");
        let mirror = ["--registry-mirror", lab.registry.address()];
        for more in [&["--skip-default-registry-fallback"][..], &[]] {
            let words = [&["kaniko", "--context=.", "--no-push"][..], &mirror, more].concat();
            let mut command = lab.command(&words);
            let store = lab.path(if more.is_empty() { "home/one" } else { "home/two" });
            let output = command.env_remove("RBUILD_DAEMON_JSON").env("RBUILD_ROOT", store).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    });
}

//! Images on their way: push, pull, export, and what other tools make of them.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use xtask::registry::{PASSWORD, Registry, USER};
use xtask::upload;

use crate::lab::{as_caller, as_each_user, peer};

#[test]
fn other_tools_read_a_pushed_image() {
    as_caller(&["skopeo", "buildah", "root"], |lab| {
        lab.build("FROM busybox:1\nRUN echo made > /made\nLABEL a=b\nCMD [\"cat\", \"/made\"]\n");
        let remote = lab.remote("team/app:1.0");
        let said = lab.answer(&["push", "app:1.0", &remote]);
        let digest = said.trim().rsplit(' ').next().unwrap().to_owned();

        let inspected = peer("skopeo", &["inspect", "--tls-verify=false", &format!("docker://{remote}")]);
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        assert_eq!(inspected["Digest"], digest.as_str());
        assert_eq!(inspected["Labels"]["a"], "b");
        assert_eq!(inspected["Layers"].as_array().unwrap().len(), 2);

        let storage = lab.path("buildah").display().to_string();
        let place = ["--root", &storage, "--runroot", &storage, "--storage-driver", "vfs"];
        let image = format!("docker://{remote}");
        let from = [&place[..], &["from", "--quiet", "--tls-verify=false", &image]].concat();
        let container = peer("buildah", &from).trim().to_owned();
        let mounted = peer("buildah", &[&place[..], &["mount", &container]].concat());
        let made = fs::read_to_string(format!("{}/made", mounted.trim())).unwrap();
        assert_eq!(made, "made\n");
        peer("buildah", &[&place[..], &["umount", &container]].concat());
    });
}

#[test]
fn a_registry_with_a_password_is_logged_in_to() {
    as_each_user(&[], |lab| {
        let private = Registry::start_with_password().unwrap();
        let remote = format!("{}/team/app:1.0", private.address());
        lab.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        lab.succeed(&["-t", "app:1.0", "."]);
        let refused = lab.fail(1, &["push", "app:1.0", &remote]);
        assert!(refused.contains("401"), "{refused}");
        let login = |password: &str| {
            let mut command = lab.command(&["login", "-u", USER, "--password-stdin", private.address()]);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        assert_eq!(login("wrong").status.code(), Some(1));
        let output = login(PASSWORD);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        lab.succeed(&["push", "app:1.0", &remote]);
        lab.succeed(&["logout", private.address()]);
        lab.fail(1, &["push", "app:1.0", &remote]);
    });
}

/// A manifest can name any bytes as a layer that others have too. Nobody else's image gets those.
#[test]
fn an_image_that_lies_about_its_layers_spoils_no_other() {
    as_caller(&[], |lab| {
        let (mut honest, lie) = (tar::Builder::new(Vec::new()), vec![0; 1024]);
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        header.set_mode(0o644);
        honest.append_data(&mut header, "honest", &b"honest"[..]).unwrap();
        let honest = upload::layer(&honest.into_inner().unwrap()).unwrap();
        let lie = upload::Layer { diff_id: honest.diff_id.clone(), ..upload::layer(&lie).unwrap() };
        for (name, layer) in [("team/honest", honest), ("team/lie", lie)] {
            upload::image(lab.registry.address(), name, "1", &[layer], &serde_json::json!({})).unwrap();
        }
        // Nobody reads the layer here: the honest image needs it only to be passed on.
        for (name, made) in [("team/honest:1", "team/of-it:1"), ("team/lie:1", "team/other:1")] {
            lab.write("Dockerfile", format!("FROM {}\nENV a={name}\n", lab.remote(name)));
            lab.succeed(&["-t", &lab.remote(made), "."]);
        }
        lab.succeed(&["push", &lab.remote("team/of-it:1")]);
        let manifest = |name: &str| lab.answer(&["manifest", "raw", &lab.remote(name)]);
        let layers = |raw: &str| serde_json::from_str::<Value>(raw).unwrap()["layers"].clone();
        assert_eq!(
            layers(&manifest("team/of-it:1"))[0]["digest"],
            layers(&manifest("team/honest:1"))[0]["digest"]
        );
        // What would read the lie says so.
        lab.write(
            "Dockerfile",
            format!("FROM scratch\nCOPY --from={} /honest /\n", lab.remote("team/lie:1")),
        );
        lab.fail(1, &["--root", &lab.path("other").display().to_string(), "build", "-t", "of-lie", "."]);
    });
}

#[test]
fn a_base_layer_is_pushed_as_it_was_pulled() {
    as_each_user(&["skopeo"], |lab| {
        let layers = |name: &str| -> Vec<Value> {
            let raw = peer(
                "skopeo",
                &["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", lab.remote(name))],
            );
            serde_json::from_str::<Value>(&raw).unwrap()["layers"].as_array().unwrap().clone()
        };
        lab.write("file", "x");
        lab.write("Dockerfile", "FROM busybox:1\nCOPY file /\n");
        lab.succeed(&["-t", &lab.remote("team/app:2.0"), "--push", "."]);
        let (base, app) = (layers("library/busybox:1"), layers("team/app:2.0"));
        assert_eq!(app.len(), 2);
        assert_eq!(app[0]["digest"], base[0]["digest"], "no re-compression of what was pulled");
    });
}

#[test]
fn a_pushed_image_comes_back_as_the_same_image() {
    as_each_user(&[], |lab| {
        lab.build("FROM busybox:1\nRUN echo a > /a\n");
        let remote = lab.remote("team/app:1.0");
        lab.succeed(&["push", "app:1.0", &remote]);
        let id = |name: &str| lab.answer(&["inspect", "-f", "{{.Id}}", name]);
        let built = id("app:1.0");
        lab.succeed(&["rmi", "app:1.0"]);
        lab.succeed(&["prune", "--all", "--force"]);
        lab.fail(1, &["inspect", "-f", "{{.Id}}", "app:1.0"]).contains("app:1.0");
        let said = lab.answer(&["pull", &remote]);
        assert!(said.contains("Digest: sha256:"), "{said}");
        assert_eq!(id(&remote), built);
        // It is whole: a build on it needs no registry.
        lab.write("Dockerfile", format!("FROM {remote}\nRUN test \"$(cat /a)\" = a\n"));
        lab.succeed(&["-t", "next", "."]);
    });
}

#[test]
fn an_oci_archive_is_read_by_umoci_and_skopeo() {
    as_each_user(&["skopeo", "umoci"], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo x > /x\n");
        lab.succeed(&["-t", "app:1.0", "--output", "type=oci,dest=app.tar", "."]);
        let archive = lab.path("project/app.tar");
        let layout = lab.path("from-archive").display().to_string();
        peer(
            "skopeo",
            &["copy", "--quiet", &format!("oci-archive:{}", archive.display()), &format!("oci:{layout}:x")],
        );
        let bundle = lab.path("archive-bundle").display().to_string();
        let image = format!("{layout}:x");
        let mut words = vec!["unpack", "--image", &image, &bundle];
        if !xtask::is_root() {
            words.insert(1, "--rootless");
        }
        peer("umoci", &words);
        assert_eq!(fs::read_to_string(format!("{bundle}/rootfs/x")).unwrap(), "x\n");
    });
}

#[test]
fn the_same_input_gives_the_same_image_whoever_builds() {
    let mut seen = std::cell::RefCell::new(Vec::new());
    as_each_user(&[], |lab| {
        // Made now, in a directory of its own.
        lab.write("file", "x");
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nCOPY --chown=33:33 file /data/\nRUN mkdir /d && chown 7:8 /d && echo x > /d/f && chmod 4755 /d/f\n",
        );
        let to = "type=oci,dest=app.tar,rewrite-timestamp=true";
        let mut command =
            lab.command(&["--metadata-file", "metadata.json", "--output", to, "-t", "app:1.0", "."]);
        let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata = fs::read(lab.path("project/metadata.json")).unwrap();
        let metadata: Value = serde_json::from_slice(&metadata).unwrap();
        seen.borrow_mut().push(metadata["containerimage.digest"].to_string());
    });
    let ids = seen.get_mut();
    assert!(!ids.is_empty() && ids.iter().all(|id| id.contains("sha256:")), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), 1, "root and a plain user built different images: {ids:?}");
}

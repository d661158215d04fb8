//! Builds: what instructions do, the cache, and that it works without privilege.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use crate::lab::{as_caller, as_each_user};

#[test]
fn the_demo_project_is_built_and_then_cached() {
    as_each_user(&["skopeo", "umoci"], |lab| {
        let hello = xtask::repository().join("testdata/hello");
        for entry in fs::read_dir(hello).unwrap().map(Result::unwrap) {
            lab.write(entry.file_name().to_str().unwrap(), fs::read(entry.path()).unwrap());
        }
        let first = lab.succeed(&["-t", "app:1.0", "."]);
        assert!(first.contains("greeted all 3"), "{first}");

        let again = lab.succeed(&["build", "-t", "app:1.0", "."]);
        assert!(again.contains("nothing to do") && !again.contains("greeted all"), "{again}");

        let root = lab.unpacked();
        let page = fs::read_to_string(root.join("var/www/index.html")).unwrap();
        assert!(page.contains("<li>Hello, 世界!</li>"), "{page}");
        assert_eq!(fs::read_to_string(root.join("var/www/tested")).unwrap(), "greeted all 3\n");
        let serve = fs::metadata(root.join("usr/local/bin/serve")).unwrap();
        assert_eq!(serve.permissions().mode() & 0o7777, 0o755);
        if xtask::is_root() {
            let page = fs::metadata(root.join("var/www/index.html")).unwrap();
            assert_eq!((page.uid(), page.gid()), (33, 33), "--chown by name");
        }
    });
}

#[test]
fn a_changed_file_reruns_only_what_depends_on_it() {
    as_each_user(&[], |lab| {
        lab.write("a.txt", "a1");
        lab.write("b.txt", "b1");
        let dockerfile = "FROM busybox:1 AS one\nCOPY a.txt /a\nRUN echo ran-one; cp /a /one\n\
                          FROM busybox:1 AS two\nCOPY b.txt /b\nRUN echo ran-two; cp /b /two\n\
                          FROM busybox:1\nCOPY --from=one /one /\nCOPY --from=two /two /\n";
        let first = lab.build(dockerfile);
        assert!(ran(&first, "ran-one") && ran(&first, "ran-two"), "{first}");
        lab.write("b.txt", "b2");
        let second = lab.succeed(&["-t", "app:1.0", "."]);
        assert!(!ran(&second, "ran-one") && ran(&second, "ran-two"), "{second}");
        // A file that no step reads disturbs nothing.
        lab.write("c.txt", "c");
        let third = lab.succeed(&["-t", "app:1.0", "."]);
        assert!(third.contains("nothing to do"), "{third}");
        let fourth = lab.succeed(&["--no-cache", "-t", "app:1.0", "."]);
        assert!(ran(&fourth, "ran-one") && ran(&fourth, "ran-two"), "{fourth}");
    });
}

/// Whether a step wrote the word: its name has it too, which is not output.
#[test]
fn files_that_did_not_change_are_on_the_disk_once() {
    as_each_user(&[], |lab| {
        for number in 0..20 {
            lab.write(&format!("src/{number}"), format!("{number} "));
        }
        lab.build("FROM busybox:1\nCOPY src /src\nRUN cat /src/* > /all\n");
        lab.write("src/7", "seven");
        let said = lab.succeed(&["-t", "app:1.0", "."]);
        assert!(said.contains("2 steps ran"), "{said}");
        let trees = walkdir::WalkDir::new(lab.path("home")).into_iter().map(Result::unwrap);
        let copies =
            trees.filter(|entry| entry.path().parent().is_some_and(|parent| parent.ends_with("tree/src")));
        let mut inodes: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
        for copy in copies {
            inodes.entry(copy.file_name().to_owned()).or_default().insert(copy.metadata().unwrap().ino());
        }
        assert_eq!(inodes.len(), 20);
        assert!(
            inodes.iter().all(|(name, inodes)| inodes.len() == if name == "7" { 2 } else { 1 }),
            "{inodes:?}"
        );
    });
}

fn ran(said: &str, word: &str) -> bool {
    said.lines().any(|line| line.split(' ').next_back() == Some(word) && !line.contains("RUN"))
}

#[test]
fn instructions_do_what_they_say() {
    as_each_user(&["skopeo", "umoci"], |lab| {
        lab.write("dir/sub/file.txt", "content");
        lab.write("script.sh", "#!/bin/sh\n");
        lab.write("ignored.log", "x");
        lab.write(".dockerignore", "*.log\n");
        let mut archive = xtask::base_image::Rootfs::default();
        archive.directory("packed", 0o750).unwrap();
        archive.file("packed/inner", b"inner", 0o640).unwrap();
        lab.write("files.tar", archive.finish().unwrap());
        lab.build(
            "ARG TAG=1\nFROM busybox:${TAG} AS base\n\
             ARG WHO=nobody\nARG EMPTY\nENV A=1 B=\"two words\"\n\
             WORKDIR /work/here\n\
             COPY --chown=33:33 --chmod=640 dir/ ./copied/\n\
             COPY [\"script.sh\", \"/bin/script\"]\n\
             ADD files.tar /archive/\n\
             COPY . /all/\n\
             RUN [\"/bin/sh\", \"-c\", \"pwd > /pwd; id -u > /uid; echo \\\"$A $B $WHO\\\" > /env\"]\n\
             RUN rm /bin/script && mkdir -p /var/data && chown 33 /var/data && ln -s env /link && mkfifo /pipe\n\
             USER www-data\nRUN id -u > /tmp/uid\n\
             FROM base\nUSER 0\n\
             CMD [\"sh\", \"-c\", \"true\"]\nENTRYPOINT [\"/bin/env\"]\nLABEL one=1 two=\"2 3\"\n\
             EXPOSE 80 53/udp\nVOLUME /var/data\n",
        );
        let root = lab.unpacked();
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        assert_eq!(read("pwd"), "/work/here\n");
        assert_eq!(read("uid"), "0\n");
        assert_eq!(read("tmp/uid"), "33\n");
        assert_eq!(read("env"), "1 two words nobody\n");
        assert_eq!(read("work/here/copied/sub/file.txt"), "content");
        assert_eq!(read("archive/packed/inner"), "inner");
        assert!(!root.join("all/ignored.log").exists() && root.join("all/script.sh").exists());
        assert!(!root.join("bin/script").exists(), "a removed file is not in the image");
        assert_eq!(fs::read_link(root.join("link")).unwrap().to_str(), Some("env"));
        let mode = |name: &str| fs::symlink_metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("work/here/copied/sub/file.txt"), 0o640);
        assert_eq!(mode("archive/packed"), 0o750);
        if xtask::is_root() {
            let owner = |name: &str| fs::metadata(root.join(name)).unwrap().uid();
            assert_eq!(owner("work/here/copied/sub/file.txt"), 33);
            assert_eq!(owner("var/data"), 33);
            assert_eq!(owner("archive/packed/inner"), 0);
            assert_eq!(owner("all/script.sh"), 0);
        }

        let config = lab.answer(&["inspect", "--format", "{{json .Config}}", "app:1.0"]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["Entrypoint"], serde_json::json!(["/bin/env"]));
        assert_eq!(config["Cmd"], serde_json::json!(["sh", "-c", "true"]));
        assert_eq!(config["Labels"]["two"], "2 3");
        assert_eq!(config["ExposedPorts"], serde_json::json!({"53/udp": {}, "80/tcp": {}}));
        assert_eq!(config["Volumes"], serde_json::json!({"/var/data": {}}));
        assert_eq!(config["WorkingDir"], "/work/here");
        assert_eq!(config["User"], "0");
        assert!(config["Env"].as_array().unwrap().contains(&"B=two words".into()));
    });
}

#[test]
fn a_build_without_run_needs_nothing_of_the_kernel() {
    as_caller(&["root"], |lab| {
        lab.write("file", "x");
        lab.write("Dockerfile", "FROM busybox:1\nCOPY --chown=33 file /etc/file\nWORKDIR /new\nENV A=b\n");
        // No namespace, no mount, no chroot: refused to this process by an empty bounding set and no_new_privs.
        let rbuild = lab.command(&["-t", "app:1.0", "."]);
        let mut bare = std::process::Command::new("setpriv");
        bare.args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--no-new-privs",
            "--reuid=65534",
            "--clear-groups",
            "--",
        ]);
        bare.arg(rbuild.get_program()).args(rbuild.get_args()).current_dir(lab.path("project")).env_clear();
        bare.env("RBUILD_ROOT", lab.path("free/store")).env("RBUILD_DAEMON_JSON", lab.path("daemon.json"));
        fs::create_dir(lab.path("free")).unwrap();
        fs::set_permissions(lab.path("free"), fs::Permissions::from_mode(0o777)).unwrap();
        let output = bare.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let trees = fs::read_dir(lab.path("free/store/layers"))
            .unwrap()
            .map(Result::unwrap)
            .filter(|layer| layer.path().join("tree").exists())
            .count();
        assert_eq!(trees, 0, "nothing was extracted");
    });
}

#[test]
fn options_reach_the_build() {
    as_each_user(&[], |lab| {
        lab.write(
            "other.Dockerfile",
            "FROM busybox:1 AS first\nARG WHO\nRUN echo \"got $WHO\"\nFROM busybox:1\nRUN echo must-not-run; false\n",
        );
        let id = lab.path("project/id");
        let metadata = lab.path("project/metadata.json");
        let said = lab.answer(&[
            "build",
            "-q",
            "-f",
            "other.Dockerfile",
            "--target",
            "first",
            "--build-arg",
            "WHO=me",
            "--label",
            "a=b",
            "--platform",
            &layer_store::Platform::host().to_string(),
            "--iidfile",
            id.to_str().unwrap(),
            "--metadata-file",
            metadata.to_str().unwrap(),
            "-t",
            "app:1.0",
            "-t",
            "app:latest",
            ".",
        ]);
        assert_eq!(said.trim(), fs::read_to_string(&id).unwrap());
        assert!(said.starts_with("sha256:") && said.lines().count() == 1, "{said}");
        let metadata = fs::read_to_string(metadata).unwrap();
        assert!(metadata.contains(said.trim()), "{metadata}");
        assert_eq!(lab.answer(&["inspect", "-f", "{{.Config.Labels.a}}", "app:latest"]), "b\n");
    });
}

#[test]
fn secrets_are_seen_by_their_step_only() {
    as_each_user(&["skopeo", "umoci"], |lab| {
        lab.write("token", "s3cr3t");
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nRUN --mount=type=secret,id=token test \"$(wc -c < /run/secrets/token)\" -eq 6\n\
             RUN test ! -e /run/secrets/token\n",
        );
        let said = lab.succeed(&["--secret", "id=token,src=token", "-t", "app:1.0", "."]);
        assert!(!said.contains("s3cr3t"), "{said}");
        let root = lab.unpacked();
        let secret = root.join("run/secrets/token");
        assert!(!secret.exists() || fs::read(&secret).unwrap().is_empty());
    });
}

#[test]
fn contexts_come_from_anywhere() {
    as_each_user(&[], |lab| {
        let build = |words: &[&str], stdin: &[u8]| {
            let mut command = lab.command(words);
            let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(stdin).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{words:?}\n{}", String::from_utf8_lossy(&output.stderr));
        };
        let dockerfile = b"FROM busybox:1\nCOPY file /file\nRUN grep -q content /file\n";
        // A Dockerfile alone, and one beside a directory.
        build(&["-t", "alone", "-"], b"FROM busybox:1\nRUN true\n");
        lab.write("file", "content");
        build(&["-t", "beside", "-f", "-", "."], dockerfile);
        // An archive.
        let mut archive = xtask::base_image::Rootfs::default();
        archive.file("Dockerfile", dockerfile, 0o644).unwrap();
        archive.file("file", b"content", 0o644).unwrap();
        let archive = archive.finish().unwrap();
        build(&["-t", "archive", "-"], &archive);
        // One that was cut off is no Dockerfile, and no context without one either.
        let mut command = lab.command(&["-t", "cut", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&archive[..300]).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("cut off"), "{said}");
    });
}

#[test]
fn an_oci_layout_stands_for_a_name() {
    as_each_user(&["skopeo"], |lab| {
        let layout = lab.path("project/layout");
        let to = format!("type=oci,tar=false,dest={}", layout.display());
        for (name, text) in [("1", "one"), ("2", "two")] {
            lab.write("Dockerfile", format!("FROM busybox:1\nENV SAYS={text}\nRUN echo {text} > /said\n"));
            lab.succeed(&["-t", &format!("from-a-layout:{name}"), "--output", &to, "."]);
        }
        // The store knows the images under other names; the layout is what is asked.
        lab.succeed(&["rmi", "from-a-layout:1", "from-a-layout:2"]);
        lab.write(
            "Dockerfile",
            "FROM base\nRUN --mount=from=base,target=/m test \"$(cat /m/said)$SAYS\" = \"$(cat /said)$SAYS\"\n\
             COPY --from=base /said /copied\nRUN cat /copied > /end; test \"$SAYS\" = \"$(cat /copied)\"\n",
        );
        let digest = |tag: &str| {
            let text = crate::lab::peer("skopeo", &["inspect", &format!("oci:{}:{tag}", layout.display())]);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value["Digest"].as_str().unwrap().to_owned()
        };
        for (place, says) in [
            (format!("{}:1", layout.display()), "one"),
            ("layout:2".to_owned(), "two"),
            (format!("layout@{}", digest("1")), "one"),
        ] {
            lab.succeed(&["--build-context", &format!("base=oci-layout://{place}"), "-t", "app:1.0", "."]);
            let env = lab.answer(&["inspect", "-f", "{{json .Config.Env}}", "app:1.0"]);
            assert!(env.contains(&format!("SAYS={says}")), "{place}: {env}");
        }
        let said = lab.fail(1, &["--build-context", "base=oci-layout://layout:3", "-t", "app:1.0", "."]);
        assert!(said.contains("has no image `3`") && said.contains("Dockerfile:1"), "{said}");
        // An image of another store: nothing of it is here.
        let store = lab.path("home/other");
        let place = format!("base=oci-layout://{}:2", layout.display());
        lab.succeed(&[
            "--root",
            store.to_str().unwrap(),
            "build",
            "--build-context",
            &place,
            "-t",
            "app:1.0",
            ".",
        ]);
    });
}

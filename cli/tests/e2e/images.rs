//! Image commands as Docker users type them.

use std::io::Write as _;
use std::process::Stdio;

use crate::lab::{as_caller, as_each_user};

#[test]
fn images_are_listed_tagged_and_removed() {
    as_each_user(&[], |lab| {
        assert_eq!(lab.answer(&["images"]).split_whitespace().next(), Some("REPOSITORY"));
        lab.build("FROM busybox:1\nRUN true\nLABEL a=b\n");
        lab.succeed(&["tag", "app:1.0", "registry.example/team/app:2"]);
        let list = lab.answer(&["images"]);
        let header: Vec<&str> = list.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
        assert!(list.lines().any(|line| line.starts_with("registry.example/team/app ")), "{list}");
        assert!(list.lines().any(|line| line.starts_with("app ") && line.contains(" 1.0 ")), "{list}");

        let id = lab.answer(&["images", "-q", "app"]);
        assert_eq!(id.trim().len(), 12);
        let whole = lab.answer(&["images", "-q", "--no-trunc", "app:1.0"]);
        assert!(whole.starts_with(&format!("sha256:{}", id.trim())), "{whole}");
        assert_eq!(
            lab.answer(&["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=app*"]),
            "app:1.0\n"
        );
        assert_eq!(lab.answer(&["images", "-q", "--filter", "label=a=c"]), "");

        let both = lab.fail(1, &["rmi", id.trim()]);
        assert!(both.contains("several names"), "{both}");
        assert!(lab.answer(&["rmi", "app:1.0"]).starts_with("Untagged: app:1.0"));
        let last = lab.answer(&["rmi", &id.trim()[..6]]);
        assert!(
            last.contains("Untagged: registry.example/team/app:2") && last.contains("Deleted: sha256:"),
            "{last}"
        );
        let gone = lab.fail(1, &["rmi", "app:1.0"]);
        assert!(gone.contains("`app:1.0`"), "{gone}");
        assert_eq!(lab.answer(&["images", "-q", "app"]), "");
    });
}

#[test]
fn an_image_is_inspected_in_dockers_fields() {
    as_each_user(&[], |lab| {
        lab.build("FROM busybox:1\nENV A=1\nRUN echo x > /x\nCMD [\"sh\"]\n");
        let text = lab.answer(&["inspect", "app:1.0"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let image = &value.as_array().unwrap()[0];
        assert_eq!(image["RepoTags"], serde_json::json!(["app:1.0"]));
        assert_eq!(image["Os"], "linux");
        assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
        assert!(image["Size"].as_u64().unwrap() > 1_000_000);
        assert_eq!(image["Config"]["Cmd"], serde_json::json!(["sh"]));

        let history = lab.answer(&["history", "app:1.0"]);
        assert!(history.lines().nth(1).unwrap().contains("CMD [\"sh\"]"), "{history}");
        assert!(history.contains("RUN"), "{history}");
    });
}

#[test]
fn listings_take_dockers_formats() {
    as_caller(&[], |lab| {
        lab.write("x", "x\n");
        lab.build("FROM scratch\nCOPY x /\nCMD [\"sh\"]\n");
        lab.succeed(&["tag", "app:1.0", "other:2"]);
        let id = lab.answer(&["images", "-q", "app"]);
        let id = id.trim();
        assert_eq!(lab.answer(&["images", "-a", "-q"]), format!("{id}\n"), "one image, once");
        let table = lab.answer(&["images", "--format", r"table {{.ID}}\t{{.Tag}}"]);
        assert_eq!(table, format!("IMAGE ID       TAG\n{id}   1.0\n{id}   2\n"));
        let digests = lab.answer(&["images", "--digests", "app"]);
        assert!(digests.starts_with("REPOSITORY   TAG       DIGEST    IMAGE ID       CREATED"), "{digests}");
        let object = lab.answer(&["image", "ls", "--format", "json", "other"]);
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!((&object["Repository"], &object["ID"]), (&"other".into(), &id.into()));

        let history = lab.answer(&["history", "app:1.0"]);
        let header = history.lines().next().unwrap();
        assert_eq!(
            header.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect::<Vec<_>>(),
            ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
        );
        let ids = lab.answer(&["history", "-q", "app:1.0"]);
        assert_eq!(ids.lines().collect::<Vec<_>>(), [id, "<missing>"]);
        let exact =
            lab.answer(&["history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", "app:1.0"]);
        assert!(exact.starts_with("0 CMD [\"sh\"]\n2 COPY"), "{exact}");

        let gone = lab.answer(&["rmi", "other:2", &id[..5]]);
        assert!(gone.starts_with("Untagged: other:2\nUntagged: app:1.0\nDeleted: sha256:"), "{gone}");
        assert_eq!(lab.answer(&["rmi", "-f", "app:1.0"]), "");
        assert_eq!(lab.answer(&["images", "-q"]), "");
    });
}

#[test]
fn a_filesystem_is_imported() {
    as_each_user(&[], |lab| {
        lab.build("FROM busybox:1\nRUN mkdir /d && chown 5:6 /d && echo kept > /d/f\n");
        lab.succeed(&["export", "-o", "files.tar", "store:app:1.0"]);
        let id = lab.answer(&[
            "import",
            "-c",
            "CMD [\"cat\", \"/d/f\"]",
            "--change",
            "ENV A=1",
            "-m",
            "by hand",
            "files.tar",
            "system:1",
        ]);
        assert_eq!(id, lab.answer(&["images", "-q", "--no-trunc", "system:1"]));
        let told =
            lab.answer(&["inspect", "-f", "{{json .Config.Env}} {{.Config.Cmd}} {{.Comment}}", "system:1"]);
        assert_eq!(told, "[\"A=1\"] [cat /d/f] by hand\n");
        assert!(lab.answer(&["ls", "-l", "system:1", "/"]).contains(" 5     6 "), "owners stay");
        lab.write("Dockerfile", "FROM system:1\nRUN test \"$(cat /d/f)\" = kept\n");
        lab.succeed(&["-t", "next", "."]);
        lab.succeed(&["push", "system:1", &lab.remote("team/system:1")]);

        // Through a pipe, compressed with what no layer may be compressed with, and without a name.
        let tar = std::fs::read(lab.path("project/files.tar")).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(&tar).unwrap();
        let mut child =
            lab.command(&["import", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&xz.finish().unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
        let id = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && id.starts_with("sha256:"), "{id}");
        assert_eq!(lab.answer(&["inspect", "-f", "{{.Comment}}", id.trim()]), "Imported from -\n");

        let wrong = lab.fail(1, &["import", "-c", "RUN true", "files.tar"]);
        assert!(wrong.contains("`RUN` does not only change the configuration"), "{wrong}");
        assert!(lab.fail(1, &["import", "Dockerfile"]).contains("`Dockerfile` is not the tar of a layer"));
        assert!(lab.fail(1, &["import", "missing.tar"]).contains("cannot open `missing.tar`"));
    });
}

#[test]
fn info_is_for_people_and_programs() {
    as_each_user(&[], |lab| {
        let text = lab.answer(&["info"]);
        assert!(text.starts_with("Server Version: ") && text.contains("\nIsolation: "), "{text}");
        assert!(
            text.contains(&format!("Registry Mirrors:\n http://{}/\n", lab.registry.address())),
            "{text}"
        );
        let root = lab.path("home/store").display().to_string();
        assert_eq!(lab.answer(&["system", "info", "-f", "{{.DockerRootDir}}"]), format!("{root}\n"));
        let object = lab.answer(&["info", "--format", "json"]);
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!((&object["Images"], object["Rootless"].as_bool()), (&0.into(), Some(lab.is_plain())));
    });
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", "FROM scratch\n");
        let said = lab.fail(1, &["--root", "/proc/nowhere", "build", "."]);
        assert!(said.contains("/proc/nowhere") && said.contains("hint"), "{said}");
    });
}

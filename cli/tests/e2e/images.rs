//! Image commands as Docker users type them.

use crate::lab::as_each_user;

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
fn a_store_that_cannot_be_written_is_named() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", "FROM scratch\n");
        let said = lab.fail(1, &["--root", "/proc/nowhere", "build", "."]);
        assert!(said.contains("/proc/nowhere") && said.contains("hint"), "{said}");
    });
}

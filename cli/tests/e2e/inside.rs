//! Looking into images, and carrying them in files.

use crate::lab::{as_caller, as_each_user, peer};

#[test]
fn files_are_listed_and_printed_without_a_mount() {
    as_each_user(&[], |lab| {
        lab.write("a", "first\n");
        lab.build("FROM scratch\nCOPY --chown=5:6 --chmod=4711 a /d/a\nCOPY --chmod=640 a /d/b\n");
        assert_eq!(lab.answer(&["ls", "app:1.0"]), "d\n");
        assert_eq!(lab.answer(&["ls", "-R", "app:1.0"]), "d\nd/a\nd/b\n");
        let long = lab.answer(&["ls", "-l", "app:1.0", "/d"]);
        let line = long.lines().next().unwrap();
        assert!(line.starts_with("-rws--x--x     5     6          6 ") && line.ends_with(" a"), "{long}");
        let json = lab.answer(&["ls", "--json", "app:1.0", "d/b"]);
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((object["path"].as_str(), object["mode"].as_str()), (Some("/d/b"), Some("0640")));
        assert_eq!(lab.answer(&["cat", "app:1.0", "/d/a", "d/../d/b"]), "first\nfirst\n");
        assert!(lab.fail(1, &["cat", "app:1.0", "/d"]).contains("is a directory"));
        assert!(lab.fail(1, &["ls", "app:1.0", "/nope"]).contains("there is no `/nope`"));
        // A base whose layers nobody has needed yet is read where it is.
        assert!(lab.answer(&["ls", "busybox:1", "/bin"]).lines().any(|name| name == "busybox"));
    });
}

#[test]
fn layers_show_what_they_waste_and_images_how_they_differ() {
    as_each_user(&[], |lab| {
        lab.write("a", "x".repeat(1000));
        lab.build(
            "FROM scratch AS one\nENV A=1\nCOPY a /a\nFROM one\nCOPY --chmod=600 a /a\nCOPY a /b\nENV A=2\n",
        );
        lab.succeed(&["-t", "one", "--target", "one", "."]);
        let tree = lab.answer(&["tree", "--json", "app:1.0"]);
        let tree: serde_json::Value = serde_json::from_str(&tree).unwrap();
        assert_eq!((&tree["total"], &tree["wasted"]), (&3000.into(), &1000.into()));
        assert_eq!(tree["largest"][0]["path"], "/a");
        let text = lab.answer(&["tree", "app:1.0"]);
        assert!(text.contains("3kB in 3 layers, 1kB wasted"), "{text}");
        assert_eq!(
            lab.answer(&["diff", "one", "app:1.0"]),
            "C /a  (mode)\nA /b\nconfig.Env.A: \"1\" -> \"2\"\n"
        );
        assert_eq!(lab.answer(&["diff", "one", "one"]), "");
    });
}

#[test]
fn archives_go_to_another_store_and_to_skopeo() {
    as_caller(&["skopeo"], |lab| {
        lab.build("FROM busybox:1\nRUN echo kept > /kept\n");
        lab.succeed(&["tag", "app:1.0", "registry.example/other:2"]);
        lab.succeed(&["save", "-o", "both.tar", "app:1.0", "registry.example/other:2"]);
        let archive = lab.path("project/both.tar").display().to_string();
        let seen = peer(
            "skopeo",
            &["inspect", "--config", &format!("docker-archive:{archive}:docker.io/library/app:1.0")],
        );
        assert!(seen.contains("echo kept"), "{seen}");

        let other = lab.path("other").display().to_string();
        let loaded = lab.answer(&["--root", &other, "load", "-i", &archive]);
        assert_eq!(loaded, "Loaded image: app:1.0\nLoaded image: registry.example/other:2\n");
        let id = |root: &[&str]| lab.answer(&[root, &["images", "-q", "--no-trunc", "app:1.0"]].concat());
        assert_eq!(id(&[]), id(&["--root", &other]));
        assert_eq!(lab.answer(&["--root", &other, "cat", "app:1.0", "/kept"]), "kept\n");
        // Nobody has to be asked for what came with the archive.
        lab.write("next/Dockerfile", "FROM registry.example/other:2\nRUN cat /kept\n");
        lab.succeed(&["--root", &other, "build", "-t", "next", "next"]);

        let broken = lab.path("project/broken.tar");
        std::fs::write(&broken, &std::fs::read(&archive).unwrap()[..100_000]).unwrap();
        lab.fail(1, &["--root", &other, "load", "-i", broken.to_str().unwrap()]);
        assert!(lab.fail(1, &["load", "-i", "missing.tar"]).contains("`missing.tar`"));
    });
}

//! Bad input: one clear error, a non-zero status, nothing left behind, and the next build works.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::lab::{Lab, as_caller, as_each_user};

/// After whatever went wrong.
#[track_caller]
fn the_next_build_works(lab: &Lab) {
    lab.nothing_left();
    lab.build("FROM busybox:1\nRUN echo fine > /fine\n");
}

#[test]
fn dockerfiles_that_are_none() {
    as_each_user(&[], |lab| {
        let missing = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(missing.contains("Dockerfile") && missing.contains("No such file"), "{missing}");
        let elsewhere = lab.fail(1, &["-t", "app:1.0", "-f", "nowhere/Other", "."]);
        assert!(elsewhere.contains("nowhere/Other"), "{elsewhere}");
        lab.write("Dockerfile", "");
        let empty = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(empty.contains("Dockerfile") && empty.contains("empty"), "{empty}");
        lab.write("Dockerfile", "# only a comment\n");
        lab.fail(1, &["-t", "app:1.0", "."]);
        lab.write("Dockerfile", "FROM busybox:1\n\nRUNN make\n");
        let unknown = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(unknown.contains("Dockerfile:3") && unknown.contains("RUNN make"), "{unknown}");
        assert!(
            unknown.contains("did you mean") && unknown.contains("RUN?"),
            "the nearest instruction is named:\n{unknown}"
        );
        lab.write("Dockerfile", [0xff, 0xfe, 0]);
        let rubbish = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(rubbish.contains("UTF-8"), "{rubbish}");
        let context = lab.fail(1, &["-t", "app:1.0", "no-such-directory"]);
        assert!(context.contains("`no-such-directory`"), "{context}");
        the_next_build_works(lab);
    });
}

#[test]
fn command_lines_that_ask_for_something_wrong() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", "FROM scratch\n");
        for (words, names) in [
            (&["-t", "App:1.0", "."][..], "App:1.0"),
            (&["--attest", "type=nothing", "."], "nothing"),
            (&["--no-such-flag", "."], "--no-such-flag"),
            (&["--output", "type=nothing", "."], "nothing"),
            (&["--platform", "linux/am d64", "."], "linux/am d64"),
            (&["--push", "."], "name to push to"),
            (&["imags"], "images"),
        ] {
            let said = lab.fail(2, words);
            assert!(said.contains(names), "{words:?}\n{said}");
        }
    });
}

#[test]
fn a_base_image_that_is_not_there() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", format!("FROM {}\n", lab.remote("team/missing:9")));
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("team/missing:9") && said.contains("Dockerfile:1"), "{said}");
        lab.write("Dockerfile", "FROM busybox:nosuchtag AS x\n");
        let said = lab.fail(1, &["--pull", "-t", "app:1.0", "."]);
        assert!(said.contains("busybox:nosuchtag"), "{said}");
        the_next_build_works(lab);
    });
}

#[test]
fn a_registry_that_is_down() {
    as_each_user(&[], |lab| {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        lab.write("Dockerfile", format!("FROM 127.0.0.1:{port}/team/app:1\n"));
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(
            said.contains(&format!("127.0.0.1:{port}")) && said.to_lowercase().contains("refused"),
            "{said}"
        );
        the_next_build_works(lab);
        let said = lab.fail(1, &["push", "app:1.0", &format!("127.0.0.1:{port}/team/app:1")]);
        assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    });
}

#[test]
fn a_registry_that_answers_rubbish() {
    as_each_user(&[], |lab| {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 27\r\n\r\n<html>please log in.</html>",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 22\r\n\r\n{\"schemaVersion\":2,\"x\"",
            b"\x00\x01\x02rubbish\r\n\r\n",
            b"",
        ];
        for answer in answers {
            let address = rubbish(answer);
            lab.write("Dockerfile", format!("FROM {address}/team/app:1\nRUN true\n"));
            let said = lab.fail(1, &["-t", "app:1.0", "."]);
            assert!(said.contains(&address), "{said}");
        }
        the_next_build_works(lab);
    });
}

/// A server that gives every request the same answer. It ends with the test process.
fn rubbish(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    address
}

#[test]
fn a_copy_source_that_is_missing() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nCOPY config.yml /etc/\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("config.yml") && said.contains("Dockerfile:2"), "{said}");
        lab.write("config.yml", "x");
        lab.write(".dockerignore", "*.md\n*.yml\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(
            said.contains("config.yml") && said.contains("ignore file") && said.contains("`*.yml`"),
            "{said}"
        );
        lab.write("Dockerfile", "FROM busybox:1 AS a\nFROM busybox:1\nCOPY --from=a /nothing /\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("/nothing") && said.contains("Dockerfile:3"), "{said}");
        the_next_build_works(lab);
    });
}

#[test]
fn a_run_that_fails() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", "FROM busybox:1\nRUN i=0; while [ $i -lt 500 ]; do echo line-$i; i=$((i+1)); done; sleep 0.3; echo broken >&2; exit 7\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("Dockerfile:2") && said.contains("exited with status 7"), "{said}");
        assert!(said.contains("| broken"), "the last output is shown:\n{said}");
        let log = said
            .lines()
            .find_map(|line| line.split_once("the full log is `"))
            .unwrap()
            .1
            .trim_end_matches('`');
        let log = std::fs::read_to_string(log).unwrap();
        for number in 0..500 {
            assert!(
                log.lines().any(|line| line.ends_with(&format!(" line-{number}"))),
                "line-{number} is lost"
            );
        }
        lab.write("Dockerfile", "FROM busybox:1\nRUN [\"/no/such/program\"]\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("/no/such/program") && said.contains("Dockerfile:2"), "{said}");
        lab.write("Dockerfile", "FROM busybox:1\nRUN kill -9 $$\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("SIGKILL"), "{said}");
        the_next_build_works(lab);
    });
}

#[test]
fn a_disk_that_fills() {
    as_each_user(&["root", "mount"], |lab| {
        let disk = lab.path("home/small");
        std::fs::create_dir(&disk).unwrap();
        let disk_text = disk.to_str().unwrap();
        crate::lab::peer("mount", &["-t", "tmpfs", "-o", "size=12m,mode=777", "tmpfs", disk_text]);
        let build = |dockerfile: &str| {
            lab.write("Dockerfile", dockerfile);
            lab.command(&["--root", &format!("{disk_text}/store"), "build", "-t", "app:1.0", "."])
                .output()
                .unwrap()
        };
        lab.write("large", vec![7; 30 << 20]);
        let results = [
            build("FROM busybox:1\nRUN dd if=/dev/zero of=/large bs=1M count=30\n"),
            build("FROM busybox:1\nCOPY large /\nRUN true\n"),
            build("FROM busybox:1\nCOPY large /\n"),
        ];
        let after = build("FROM busybox:1\nRUN echo small > /small\n");
        let scratch = std::fs::read_dir(disk.join("store/tmp")).map_or(0, Iterator::count);
        crate::lab::peer("umount", &[disk_text]);
        for (at, output) in results.iter().enumerate() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "build {at}\n{said}");
            assert!(said.to_lowercase().contains("no space left"), "build {at}\n{said}");
        }
        assert!(after.status.success(), "{}", String::from_utf8_lossy(&after.stderr));
        assert_eq!(scratch, 0, "half-written things are left");
    });
}

//! What a hostile Dockerfile or image tries with the whole program: the host stays as it is and tells nothing.

use std::fs;

use crate::lab::{Lab, as_each_user};

/// Everything below the lab's directory but the store and the registry, with its content.
fn host(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![lab.path("project")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if path.file_name().is_none_or(|name| name != "Dockerfile") {
                found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

/// The lowest rung that each user has takes the same Dockerfiles.
fn on_each_rung(lab: &Lab, check: impl Fn(&str)) {
    for rung in if lab.is_plain() { ["userns", "single"] } else { ["root", "chroot"] } {
        check(rung);
    }
}

#[test]
fn the_context_is_never_written() {
    as_each_user(&[], |lab| {
        lab.write("src/file", "mine");
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nRUN --mount=type=bind,rw,target=/c echo changed > /c/src/file && rm -rf /c/src && touch /c/new && test ! -e /c/src\n",
        );
        let before = host(lab);
        on_each_rung(lab, |rung| {
            lab.succeed(&["--isolation", rung, "--no-cache", "-t", "app:1.0", "."]);
            assert_eq!(host(lab), before, "{rung}");
        });
    });
}

/// CVE-2024-9675.
#[test]
fn the_names_of_caches_lead_nowhere() {
    as_each_user(&[], |lab| {
        fs::write(lab.path("victim"), "untouched").unwrap();
        let mut text = "FROM busybox:1\n".to_owned();
        for id in ["../../../victim", "..", "/", "../../../../../../etc", "a/../../b"] {
            text += &format!(
                "RUN --mount=type=cache,id={id},target=/c rm -rf /c/* && touch /c/mine && test ! -e /c/passwd\n"
            );
        }
        text += "RUN --mount=type=cache,id=x,source=../../..,target=/c test ! -e /c/mounts && test ! -e /c/layers\n";
        lab.write("Dockerfile", text);
        on_each_rung(lab, |rung| {
            lab.succeed(&["--isolation", rung, "--no-cache", "-t", "app:1.0", "."]);
            assert_eq!(fs::read_to_string(lab.path("victim")).unwrap(), "untouched", "{rung}");
            for cache in fs::read_dir(lab.path("home/store/mounts")).unwrap().map(Result::unwrap) {
                let name = cache.file_name().to_string_lossy().into_owned();
                // A directory, or the mark beside it that says when it was used.
                let key = name.strip_suffix(".name").unwrap_or(&name);
                let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
                assert!(is_key, "{rung}: {name}");
            }
        });
    });
}

/// CVE-2024-9676: the image's lists of users are read inside the image and not without end.
#[test]
fn the_lists_of_users_are_the_images_own() {
    as_each_user(&[], |lab| {
        for (what, lists) in [
            ("absolute", "rm /etc/passwd && ln -s /proc/1/root/etc/passwd /etc/passwd"),
            ("relative", "rm /etc/passwd && ln -s ../../../../../../../../etc/shadow /etc/passwd"),
            ("itself", "rm /etc/passwd && ln -s passwd /etc/passwd"),
            ("endless", "head -c 30000000 /dev/zero | tr '\\\\0' x > /etc/passwd"),
            ("device", "rm /etc/passwd && mkfifo /etc/passwd"),
        ] {
            lab.write("Dockerfile", format!("FROM busybox:1\nRUN {lists}\nUSER daemon\nRUN true\n"));
            let said = lab.fail(1, &["-t", "app:1.0", "."]);
            assert!(said.contains("passwd"), "{what}: {said}");
            assert!(!said.contains("/root:") && !said.contains("$y$"), "{what}: {said}");
        }
    });
}

/// Nothing of the builder's own environment, credentials or secrets is in reach of a RUN that did not ask for it.
#[test]
fn the_builders_environment_and_secrets_are_out_of_reach() {
    as_each_user(&[], |lab| {
        lab.write("secret.txt", "hunter-two");
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nRUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null\n\
             RUN env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/self/mountinfo 2> /dev/null | tr '\\0' '\\n'; ls /run /run/secrets 2> /dev/null; \
             for f in /proc/[0-9]*/root /proc/[0-9]*/cwd; do cat $f/home/*/config.json $f/secret.txt 2> /dev/null; done; true\n",
        );
        on_each_rung(lab, |rung| {
            let mut command = lab.command(&[
                "--isolation",
                rung,
                "--no-cache",
                "--progress",
                "plain",
                "--secret",
                "id=s,src=secret.txt",
                "-t",
                "app:1.0",
                ".",
            ]);
            let output = command.env("REGISTRY_TOKEN", "token-of-the-builder").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{rung}: {said}");
            for word in ["token-of-the-builder", "hunter-two", "RBUILD_ROOT"] {
                assert!(!said.contains(word), "{rung}: `{word}` was read:\n{said}");
            }
        });
    });
}

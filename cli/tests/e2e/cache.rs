//! Shared caches: what one store did, another one does not do again.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::lab::{Lab, as_caller, as_each_user};

const PROJECT: &str = "FROM busybox:1 AS build\nWORKDIR /work\nCOPY a.txt .\nRUN echo ran-one; cat a.txt > /one\n\
                       RUN echo ran-two; cat /one > /two\nFROM busybox:1 AS test\nCOPY --from=build /two /two\n\
                       RUN echo ran-test\nFROM scratch AS app\nCOPY --from=build --chown=33:33 /two /two\n\
                       COPY --link a.txt /a\n";

/// Builds on another store.
fn build_on(lab: &Lab, store: &str, words: &[&str]) -> Output {
    let mut command = lab.command(&["build"]);
    if !words.contains(&"-t") {
        command.args(["-t", "app:1.0"]);
    }
    command.args(words).arg(".").env("RBUILD_ROOT", lab.path("home").join(store));
    command.output().unwrap()
}

#[track_caller]
fn succeed_on(lab: &Lab, store: &str, words: &[&str]) -> String {
    let output = build_on(lab, store, words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}\n{said}");
    said
}

fn id(lab: &Lab, store: &str) -> String {
    let mut command = lab.command(&["inspect", "--format", "{{.Id}}", "app:1.0"]);
    let output = command.env("RBUILD_ROOT", lab.path("home").join(store)).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The blobs of a store that are larger than any document.
fn layer_blobs(store: &Path) -> usize {
    let blobs = fs::read_dir(store.join("blobs/sha256")).unwrap().filter_map(Result::ok);
    blobs.filter(|blob| blob.metadata().unwrap().len() > 100_000).count()
}

#[test]
fn two_stores_that_share_a_registry_cache_run_each_step_once() {
    as_each_user(&[], |lab| {
        lab.write("Dockerfile", PROJECT);
        lab.write("a.txt", "a");
        let cache = lab.remote("team/cache:main");
        let to = format!("type=registry,ref={cache},mode=max");
        let from = format!("type=registry,ref={cache}");
        let first = succeed_on(lab, "one", &["--cache-to", &to, "--cache-from", &from]);
        assert!(first.contains("has nothing yet") && !first.contains("not written"), "{first}");
        let second = succeed_on(lab, "two", &["--cache-from", &from]);
        assert!(second.contains("nothing to do"), "{second}");
        assert_eq!(id(lab, "one"), id(lab, "two"), "the same image, to the last byte");
        assert_eq!(layer_blobs(&lab.path("home/two")), 0, "no layer came, since nothing asked for one");
        // The layers are fetched when something reads them, and then only those.
        let out = lab.path("home/out");
        succeed_on(lab, "two", &["--cache-from", &from, "-o", out.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(out.join("two")).unwrap(), "a");
        // A further step runs on layers that came from the cache.
        lab.write("Dockerfile", format!("{PROJECT}FROM build\nRUN echo ran-new; test -s /two\n"));
        let third = succeed_on(lab, "three", &["--cache-from", &from]);
        assert!(third.contains("1 step ran"), "{third}");
        for store in ["one", "two", "three"] {
            lab.drop_store(store);
        }
    });
}

#[test]
fn a_cache_of_a_branch_falls_back_to_main() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", PROJECT);
        lab.write("a.txt", "a");
        let cache = |branch: &str| {
            format!("type=registry,ref={},mode=max", lab.remote(&format!("team/cache:{branch}")))
        };
        let from = |branch: &str| lab.remote(&format!("team/cache:{branch}"));
        succeed_on(lab, "one", &["--cache-to", &cache("main")]);
        // What only the branch has does not get into the cache of main.
        lab.write("Dockerfile", PROJECT.replace("ran-two", "ran-branch"));
        let branch =
            ["--cache-to", &cache("branch"), "--cache-from", &from("branch"), "--cache-from", &from("main")];
        let second = succeed_on(lab, "two", &branch);
        assert!(second.contains("1 step ran"), "{second}");
        let third = succeed_on(lab, "three", &["--cache-from", &from("branch")]);
        assert!(third.contains("nothing to do"), "{third}");
        let fourth = succeed_on(lab, "four", &["--cache-from", &from("main")]);
        assert!(fourth.contains("1 step ran"), "{fourth}");
    });
}

#[test]
fn a_cache_in_a_directory_and_one_in_the_image() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", PROJECT);
        lab.write("a.txt", "a");
        let directory = lab.path("home/cache").display().to_string();
        let to = format!("type=local,dest={directory},mode=max");
        succeed_on(lab, "one", &["--cache-to", &to]);
        assert!(Path::new(&directory).join("oci-layout").exists());
        let from = format!("type=local,src={directory}");
        let second = succeed_on(lab, "two", &["--cache-from", &from]);
        assert!(second.contains("nothing to do"), "{second}");

        let image = lab.remote("team/app:1.0");
        succeed_on(lab, "one", &["-t", &image, "--push", "--cache-to", "type=inline"]);
        let third = succeed_on(lab, "three", &["--cache-from", &image, "--target", "build"]);
        assert!(third.contains("steps ran"), "an image carries only its own layers:\n{third}");
        lab.write("Dockerfile", "FROM scratch\nCOPY a.txt /a\nCOPY a.txt /b\n");
        succeed_on(lab, "one", &["-t", &image, "--push", "--cache-to", "type=inline"]);
        let fourth = succeed_on(lab, "four", &["--cache-from", &image]);
        assert!(fourth.contains("nothing to do"), "{fourth}");
    });
}

#[test]
fn a_cache_that_fails_is_a_warning() {
    as_caller(&[], |lab| {
        lab.write("Dockerfile", PROJECT);
        lab.write("a.txt", "a");
        let cache = lab.remote("team/cache:main");
        let to = format!("type=registry,ref={cache},mode=max");
        succeed_on(lab, "one", &["--cache-to", &to]);
        // Nobody is there, or has a name like that, or there is no such directory.
        let nowhere = [("a", "127.0.0.1:1/cache:main"), ("b", "type=local,src=/no/such/directory")];
        for (store, from) in nowhere {
            let said = succeed_on(lab, store, &["--cache-from", from]);
            assert!(said.contains("is not used"), "{said}");
        }
        let said = succeed_on(lab, "two", &["--cache-to", "type=registry,ref=127.0.0.1:1/cache:main"]);
        assert!(said.contains("is not written"), "{said}");
        // A record whose layer the registry has lost: the step is done here.
        for blob in fs::read_dir(lab.path("home/one/blobs/sha256")).unwrap().filter_map(Result::ok) {
            let bytes = fs::read(blob.path()).unwrap();
            // Layers of steps, and not that of the base image.
            if bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() < 100_000 {
                let name = blob.file_name().into_string().unwrap();
                let data = lab.registry.data().join("data/docker/registry/v2/blobs/sha256");
                let _ = fs::remove_dir_all(data.join(&name[..2]).join(name));
            }
        }
        let out = lab.path("home/out");
        let said = succeed_on(lab, "three", &["--cache-from", &cache, "-o", out.to_str().unwrap()]);
        assert!(said.contains("is not used"), "{said}");
        assert_eq!(fs::read_to_string(out.join("two")).unwrap(), "a");
    });
}

#[test]
fn cache_mounts_travel() {
    as_each_user(&[], |lab| {
        let dockerfile = |word: &str| {
            format!(
                "FROM busybox:1\nRUN --mount=type=cache,target=/c echo {word}; ls /c; date +%N > /c/{word}; mkdir -p /c/d\n"
            )
        };
        let cache = lab.remote("team/cache:mounts");
        let to = format!("type=registry,ref={cache}");
        lab.write("Dockerfile", dockerfile("first"));
        succeed_on(lab, "one", &["--cache-to", &to, "--cache-mounts"]);
        lab.write("Dockerfile", dockerfile("second"));
        let second = succeed_on(lab, "two", &["--cache-from", &cache, "--cache-mounts"]);
        assert!(second.lines().any(|line| line.ends_with(" first")), "{second}");
        let third = succeed_on(lab, "three", &["--cache-from", &cache]);
        assert!(!third.lines().any(|line| line.ends_with(" first")), "only where it is asked for:\n{third}");
        for store in ["one", "two", "three"] {
            lab.drop_store(store);
        }
    });
}

#[test]
fn many_writers_lose_nothing() {
    as_caller(&[], |lab| {
        let cache = lab.remote("team/cache:all");
        let to = format!("type=registry,ref={cache},mode=max");
        std::thread::scope(|scope| {
            for number in 0..6 {
                let (lab, to) = (&lab, &to);
                scope.spawn(move || {
                    lab.write(&format!("{number}.Dockerfile"), project_of(number));
                    let file = format!("{number}.Dockerfile");
                    succeed_on(lab, &format!("writer-{number}"), &["-f", &file, "--cache-to", to]);
                });
            }
        });
        for number in 0..6 {
            let said =
                succeed_on(lab, "reader", &["-f", &format!("{number}.Dockerfile"), "--cache-from", &cache]);
            assert!(said.contains("nothing to do"), "{number}:\n{said}");
        }
    });
}

fn project_of(number: usize) -> String {
    (0..4).fold("FROM scratch\n".to_owned(), |text, step| {
        format!("{text}COPY <<EOF /{number}/{step}\n{number} {step}\nEOF\n")
    })
}

#[test]
fn eight_processes_on_one_store_run_each_step_once() {
    as_each_user(&[], |lab| {
        lab.write("a.txt", "a");
        lab.write("Dockerfile", PROJECT);
        let running: Vec<_> = (0..8)
            .map(|_| {
                let mut command = lab.command(&["build", "-t", "app:1.0", "--target", "test,app", "."]);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let mut all = String::new();
        for child in running {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            all += &said;
        }
        for word in ["ran-one", "ran-two", "ran-test"] {
            let ran = all.lines().filter(|line| line.ends_with(word) && !line.contains("RUN")).count();
            assert_eq!(ran, 1, "{word}\n{all}");
        }
    });
}

//! What takes the disk, what goes and what stays: `rbuild du`, `rbuild prune`, limits, full and read-only disks.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::lab::{Lab, as_caller, as_each_user, peer, skip};

fn usage(lab: &Lab) -> Value {
    serde_json::from_str(&lab.answer(&["du", "--json"])).unwrap()
}

/// Bytes of a category.
fn bytes(usage: &Value, category: &str) -> u64 {
    let shares = usage["shares"].as_array().unwrap();
    shares
        .iter()
        .find(|share| share["category"] == category)
        .map_or(0, |share| share["bytes"].as_u64().unwrap())
}

fn on_disk(lab: &Lab) -> u64 {
    let store = lab.path("home/store");
    let text = peer("du", &["-s", "-B1", store.to_str().unwrap()]);
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Says that everything was last used long ago.
fn age(lab: &Lab) {
    for space in ["steps", "images", "contexts", "mounts", "logs"] {
        let files =
            walkdir::WalkDir::new(lab.path("home/store").join(space)).into_iter().filter_map(Result::ok);
        for file in files.filter(|entry| entry.file_type().is_file()) {
            let old = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400 * 3);
            fs::File::options().write(true).open(file.path()).unwrap().set_modified(old).unwrap();
        }
    }
}

#[test]
fn the_disk_is_explained_and_given_back_by_age_kind_and_size() {
    as_each_user(&[], |lab| {
        lab.write("big", vec![7; 3_000_000]);
        lab.build("FROM busybox:1\nCOPY big /big\nRUN --mount=type=cache,id=things,target=/c cp /big /c/ && cp /big /two\n");
        let before = usage(lab);
        let total = before["total"].as_u64().unwrap();
        assert!(total > 6_000_000 && total.abs_diff(on_disk(lab)) < 400_000, "{total} of {}", on_disk(lab));
        assert!(bytes(&before, "image") > 6_000_000, "{before:#}");
        assert!(bytes(&before, "mount") > 3_000_000, "{before:#}");
        let shown = lab.answer(&["du", "-v"]);
        assert!(
            shown.contains("RECLAIMABLE") && shown.contains("things") && shown.contains("RUN"),
            "{shown}"
        );

        // What is young, named or used stays.
        let would = lab.answer(&["prune", "--dry-run", "--filter", "until=24h"]);
        assert!(would.contains("Space that would be reclaimed: 0B"), "{would}");
        lab.succeed(&["prune", "--force"]);
        assert_eq!(usage(lab)["total"].as_u64().unwrap() / 100_000, total / 100_000);
        age(lab);
        // A build that runs nothing has used its steps.
        lab.succeed(&["-t", "app:1.0", "."]);
        lab.succeed(&["prune", "--filter", "until=24h", "--filter", "type=regular"]);
        assert!(lab.succeed(&["-t", "app:1.0", "."]).contains("nothing to do"));
        // The mount was not, since nothing ran.
        lab.succeed(&["prune", "--filter", "until=24h"]);
        assert_eq!(bytes(&usage(lab), "mount"), 0);

        lab.succeed(&["rmi", "app:1.0"]);
        assert!(lab.succeed(&["-t", "other:1.0", "."]).contains("nothing to do"), "the cache outlives names");
        lab.succeed(&["rmi", "other:1.0"]);
        let freed = lab.answer(&["prune", "--keep-storage", "5m", "--verbose"]);
        assert!(freed.contains("regular"), "{freed}");
        assert!(usage(lab)["total"].as_u64().unwrap() <= 5 << 20);
        lab.succeed(&["prune", "--all", "--force"]);
        assert!(usage(lab)["total"].as_u64().unwrap() < 100_000, "{:#}", usage(lab));
        lab.succeed(&["store", "check"]);
    });
}

#[test]
fn a_hard_limit_holds() {
    as_each_user(&[], |lab| {
        lab.write("big", vec![7; 3_000_000]);
        for tag in 0..6 {
            lab.write("Dockerfile", format!("FROM scratch\nCOPY big /big-{tag}\n"));
            lab.succeed(&["build", "--max-used-space", "9m", "-t", "app:1.0", "."]);
            assert!(on_disk(lab) <= 9 << 20, "after build {tag}: {}", on_disk(lab));
        }
        let said = lab.fail(1, &["build", "--max-used-space", "2m", "-t", "app:2.0", "."]);
        assert!(said.contains("limit") && said.contains("hint"), "{said}");
        lab.succeed(&["-t", "app:2.0", "."]);
    });
}

#[test]
fn a_prune_takes_nothing_from_a_running_build() {
    as_each_user(&[], |lab| {
        lab.write(
            "Dockerfile",
            format!(
                "FROM busybox:1\nRUN echo one > /one\nRUN echo is-running; while ! test -e /go; do sleep 0.1; test -e /c/go && touch /go; done; : marked-{}\nRUN cat /one > /two\n",
                lab.mark()
            )
            .replace("RUN echo is", "RUN --mount=type=cache,target=/c echo is"),
        );
        let mut child = lab
            .command(&["--progress", "plain", "-t", "app:1.0", "."])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.ends_with(" is-running")));
        lab.succeed(&["prune", "--all", "--force"]);
        let mount =
            walkdir::WalkDir::new(lab.path("home/store/mounts")).min_depth(1).max_depth(1).into_iter();
        let mount =
            mount.filter_map(Result::ok).find(|entry| entry.file_type().is_dir()).expect("the mount stays");
        fs::write(mount.path().join("go"), "").unwrap();
        let said: String = lines.map_while(Result::ok).map(|line| line + "\n").collect();
        assert!(child.wait().unwrap().success(), "{said}");
        lab.succeed(&["store", "check"]);
        assert!(lab.succeed(&["-t", "app:1.0", "."]).contains("nothing to do"));
    });
}

#[test]
fn a_full_disk_is_a_clear_error_and_breaks_nothing() {
    as_caller(&["root", "mount"], |lab| {
        let place = lab.path("small");
        fs::create_dir(&place).unwrap();
        let small = place.to_str().unwrap().to_owned();
        peer("mount", &["-t", "tmpfs", "-o", "size=12m", "tmpfs", &small]);
        let root = format!("{small}/store");
        let with_root = |words: &[&str]| -> Vec<String> {
            ["--root", &root].iter().chain(words).map(|word| (*word).to_owned()).collect()
        };
        let run = |words: &[&str]| {
            let words = with_root(words);
            lab.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo fine > /fine\n");
        let first = run(&["build", "-t", "app:1.0", "."]);
        assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
        for dockerfile in [
            "FROM busybox:1\nCOPY big /big\n",
            "FROM busybox:1\nRUN head -c 30000000 /dev/urandom > /big\n",
            "FROM scratch\nCOPY big /big\n",
        ] {
            lab.write("big", vec![7; 30_000_000]);
            lab.write("Dockerfile", dockerfile);
            let failed = run(&["build", "-t", "app:2.0", "."]);
            let said = String::from_utf8_lossy(&failed.stderr).into_owned();
            assert_eq!(failed.status.code(), Some(1), "{said}");
            // A command says itself what it was told.
            let clear = said.contains("No space left on device") && said.contains("rbuild prune");
            assert!((clear || dockerfile.contains("RUN")) && !said.contains("panicked"), "{said}");
            let checked = run(&["store", "check"]);
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            assert!(run(&["prune"]).status.success());
        }
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo fine > /fine\n");
        let again = run(&["build", "-t", "app:1.0", "."]);
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.success() && said.contains("nothing to do"), "{said}");
        peer("umount", &[&small]);
    });
}

#[test]
fn a_read_only_store_can_be_read_and_says_why_not_more() {
    as_caller(&["root", "mount"], |lab| {
        lab.build("FROM busybox:1\nRUN echo fine > /fine\n");
        let store = lab.path("home/store");
        let store = store.to_str().unwrap();
        peer("mount", &["--bind", store, store]);
        peer("mount", &["-o", "remount,ro,bind", store]);
        let images = lab.answer(&["images", "-q"]);
        let checked = lab.run(&["store", "check"]);
        let used = lab.run(&["du"]);
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo more > /fine\n");
        let built = lab.run(&["-t", "app:2.0", "."]);
        let pruned = lab.run(&["prune"]);
        peer("umount", &[store]);
        assert!(!images.is_empty());
        assert!(
            used.status.success() && checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stderr)
        );
        for failed in [built, pruned] {
            let said = String::from_utf8_lossy(&failed.stderr).into_owned();
            assert_eq!(failed.status.code(), Some(1), "{said}");
            assert!(said.contains("ead-only file system") && said.contains("hint"), "{said}");
        }
        lab.succeed(&["-t", "app:2.0", "."]);
        lab.succeed(&["store", "check"]);
    });
}

#[test]
fn a_filesystem_is_written_out_without_a_copy_in_the_store() {
    as_each_user(&["tar"], |lab| {
        lab.write("big", vec![7; 3_000_000]);
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nRUN echo x > /x && ln /x /y && chmod 640 /x\nCOPY big /big\n",
        );
        lab.succeed(&["-t", "app:1.0", "."]);
        let before = usage(lab)["total"].as_u64().unwrap();
        let mut command =
            lab.command(&["--output", "type=tar,dest=out.tar", "--output", "type=local,dest=out", "."]);
        let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let again = lab.run(&["--output", "type=tar,dest=again.tar", "."]);
        assert!(again.status.success());
        let after = usage(lab)["total"].as_u64().unwrap();
        // The layers of the other epoch, which differ in their times, and no filesystem.
        assert!(after < before + 3_500_000, "{before} {after}");
        let archive = lab.path("project/out.tar");
        let listed = peer("tar", &["-tvf", archive.to_str().unwrap(), "--utc", "--full-time"]);
        assert!(listed.contains("y link to x"), "{listed}");
        assert!(listed.lines().all(|line| line.contains("2023-11-14 22:13:20")), "{listed}");
        let out = lab.path("project/out");
        let facts = peer("stat", &["-c", "%h %a %Y", out.join("y").to_str().unwrap()]);
        assert_eq!(facts, "2 640 1700000000\n");
        assert_eq!(fs::read(out.join("big")).unwrap().len(), 3_000_000);
    });
}

#[test]
fn eight_builds_and_prunes_at_once_all_succeed_and_do_nothing_twice() {
    as_each_user(&[], |lab| {
        lab.write("big", vec![7; 500_000]);
        let same = "FROM busybox:1\nCOPY big /big\nRUN --mount=type=cache,id=count,target=/c echo once >> /c/count && sleep 0.3\n";
        let start = |number: u32| {
            let file = format!("Dockerfile-{number}");
            let text =
                if number < 4 { same.to_owned() } else { format!("{same}RUN echo {number} > /number\n") };
            lab.write(&file, text);
            let mut command = lab.command(&["-f", &file, "-t", &format!("app:{number}"), "."]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut builds: Vec<_> = (0..8).map(start).collect();
        let mut prunes = 0;
        while builds.iter_mut().any(|build| build.try_wait().unwrap().is_none()) {
            lab.succeed(&["prune", "--filter", "until=1h"]);
            prunes += 1;
        }
        for build in builds {
            let output = build.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert!(prunes > 0);
        lab.succeed(&["store", "check"]);
        let count = walkdir::WalkDir::new(lab.path("home/store/mounts"))
            .into_iter()
            .filter_map(Result::ok)
            .find(|entry| entry.file_name() == "count")
            .expect("the cache directory");
        assert_eq!(fs::read_to_string(count.path()).unwrap(), "once\n", "one step ran more than once");
        for number in 0..8 {
            let file = format!("Dockerfile-{number}");
            let said = lab.succeed(&["-f", &file, "-t", &format!("app:{number}"), "."]);
            assert!(said.contains("nothing to do"), "{said}");
        }
    });
}

#[test]
fn changes_wait_in_memory_where_a_disk_takes_no_overlay() {
    as_caller(&["bindfs", "root"], |lab| {
        if fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            return skip("somebody who may open /dev/fuse");
        }
        let (real, disk) = (lab.path("real"), lab.path("disk"));
        for place in [&real, &disk] {
            fs::create_dir(place).unwrap();
        }
        peer("bindfs", &[real.to_str().unwrap(), disk.to_str().unwrap()]);
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nRUN rm /etc/group; mkdir -p /x/y; echo 1 > /x/y/z; chown 33:33 /x/y/z; ln /x/y/z /hard\n\
             RUN rm -r /x && mkdir /x && mv /hard /x/soft && chmod 4755 /x/soft\n",
        );
        let build = |store: &std::path::Path, isolation: &str| {
            let mut command = lab.command(&["build", "-q", isolation, "-t", "app:1.0", "."]);
            command.env("RBUILD_ROOT", store).env("SOURCE_DATE_EPOCH", "1");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{isolation} {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let expected = build(&lab.path("home/store"), "--isolation=root");
        for isolation in ["--isolation=root", "--isolation=userns", "--isolation=single"] {
            assert_eq!(build(&disk.join(&isolation[12..]), isolation), expected, "{isolation}");
        }
        let said = lab.command(&["doctor"]).env("RBUILD_ROOT", disk.join("root")).output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("overlay: an overlay whose changes are in memory instead"), "{said}");
        peer("umount", &[disk.to_str().unwrap()]);
    });
}

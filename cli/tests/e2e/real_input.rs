//! A real distribution: Debian made by mmdebstrap, and apt-get inside the sandbox.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::lab::{as_each_user, peer};

/// cron gives a file its group and set-group-id bit, tcpdump makes a user, ping has a file capability.
const DOCKERFILE: &str = "\
FROM debian:bookworm
RUN apt-get update \\
 && apt-get install -y --no-install-recommends jq cron tcpdump libcap2-bin iputils-ping \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log
RUN echo '{\"a\": [1, 2]}' | jq -c .a > /jq.out && getcap /bin/ping > /cap.out && id -u tcpdump > /user.out
";

#[test]
fn apt_get_installs_packages_in_the_sandbox() {
    let listings: Mutex<Vec<(&str, String)>> = Mutex::default();
    as_each_user(&["mmdebstrap", "skopeo", "umoci", "root"], |lab| {
        let tarball = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm.tar");
        xtask::base_image::push_debian(lab.registry.address(), &tarball).unwrap();
        lab.write("Dockerfile", DOCKERFILE);
        for rung in if lab.is_plain() { &["userns", "single"][..] } else { &["root", "chroot", "single"] } {
            lab.succeed(&["--isolation", rung, "--no-cache", "-t", "app:1.0", "."]);
            let root = lab.unpacked();
            let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
            assert_eq!(read("jq.out"), "[1,2]\n", "{rung}");
            assert_eq!(read("cap.out"), "/bin/ping cap_net_raw=ep\n", "{rung}");
            let user = format!("tcpdump:x:{}:", read("user.out").trim());
            assert!(read("etc/passwd").contains(&user), "{rung}: {user}");
            // dpkg knows what each package's files should be: independent of rbuild and umoci.
            let verify = Command::new("chroot").arg(&root).args(["dpkg", "--verify"]).output().unwrap();
            let differences = String::from_utf8_lossy(&verify.stdout);
            let differences: Vec<&str> = differences.lines().filter(|line| !line.contains("/etc/")).collect();
            assert!(verify.status.success() || differences.is_empty(), "{rung}: {differences:?}");
            let crontab = peer("stat", &["-c", "%a %U", root.join("usr/bin/crontab").to_str().unwrap()]);
            assert_eq!(crontab, "2755 root\n", "{rung}");
            listings.lock().unwrap().push((rung, listing(&root)));
        }
    });
    let listings = listings.into_inner().unwrap();
    let Some(((_, root), others)) = listings.split_first() else { return };
    for (rung, other) in others {
        let only = |one: &str, other: &str| -> Vec<String> {
            let other: std::collections::HashSet<&str> = other.lines().collect();
            one.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect()
        };
        assert_eq!(only(root, other), Vec::<String>::new(), "only on the rung `root`, not on `{rung}`");
        assert_eq!(only(other, root), Vec::<String>::new(), "only on the rung `{rung}`");
    }
}

/// Type, mode, owner, link target and size of everything.
fn listing(root: &Path) -> String {
    peer("find", &[root.to_str().unwrap(), "-mindepth", "1", "-printf", "%P %y %m %U:%G %l %s\\n"])
        .lines()
        // The size of a directory is the filesystem's own affair, and apt's caches hold times.
        .filter(|line| !line.contains("var/cache/") && !line.contains("var/lib/apt/"))
        .map(|line| {
            let directory = line.split(' ').nth(1) == Some("d");
            if directory {
                line.rsplit_once(' ').map_or(line, |(head, _)| head).to_owned() + "\n"
            } else {
                line.to_owned() + "\n"
            }
        })
        .collect()
}

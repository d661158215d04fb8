//! A real distribution: Debian made by mmdebstrap, and apt-get inside the sandbox.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::lab::{as_each_user, peer};

const DOCKERFILE: &str = "\
FROM debian:bookworm
RUN apt-get update \\
 && apt-get install -y --no-install-recommends jq cron \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log
RUN echo '{\"a\": [1, 2]}' | jq -c .a > /jq.out
";

#[test]
fn apt_get_installs_packages_in_the_sandbox() {
    let listings: Mutex<Vec<(bool, String)>> = Mutex::default();
    as_each_user(&["mmdebstrap", "skopeo", "umoci", "root"], |lab| {
        let tarball = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm.tar");
        xtask::base_image::push_debian(lab.registry.address(), &tarball).unwrap();
        lab.build(DOCKERFILE);

        let root = lab.unpacked();
        assert_eq!(fs::read_to_string(root.join("jq.out")).unwrap(), "[1,2]\n");
        // dpkg knows what each package's files should be: independent of rbuild and umoci.
        let verify = Command::new("chroot").arg(&root).args(["dpkg", "--verify"]).output().unwrap();
        let differences = String::from_utf8_lossy(&verify.stdout);
        let differences: Vec<&str> = differences.lines().filter(|line| !line.contains("/etc/")).collect();
        assert!(verify.status.success() || differences.is_empty(), "{differences:?}");
        // A package script gave crontab its group and setgid bit.
        let crontab = peer("stat", &["-c", "%a %U", root.join("usr/bin/crontab").to_str().unwrap()]);
        assert_eq!(crontab, "2755 root\n");
        listings.lock().unwrap().push((lab.is_plain(), listing(&root)));
    });
    let listings = listings.into_inner().unwrap();
    if let [(false, root), (true, plain)] = &listings[..] {
        let only = |one: &str, other: &str| -> Vec<String> {
            let other: std::collections::HashSet<&str> = other.lines().collect();
            one.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect()
        };
        assert_eq!(only(root, plain), Vec::<String>::new(), "only when root builds");
        assert_eq!(only(plain, root), Vec::<String>::new(), "only when a plain user builds");
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

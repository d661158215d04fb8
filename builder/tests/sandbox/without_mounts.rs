//! What a step without mounts sees of the kernel, call by call, and what it does not.

use builder::sandbox::{SecretBytes, Step, StepMount, StepUser};

use crate::Test;
use crate::world::{World, run};

pub(crate) const TESTS: &[Test] = &[
    ("without_mounts_proc_is_the_steps_own", proc),
    ("without_mounts_the_kernel_tells_and_is_not_told", kernel),
    ("without_mounts_links_lead_to_proc", links),
    ("without_mounts_another_user_has_proc_too", another_user),
    ("without_mounts_secrets_are_held_back_by_their_mode", secret_modes),
    ("without_mounts_sudo_keeps_its_bits", sudo),
    ("without_mounts_caches_are_used_in_turn", caches),
    ("without_mounts_a_killed_step_returns_its_cache", killed),
    ("without_mounts_signals_stay_inside", signals),
    ("without_mounts_directories_lead_nowhere", directories),
];

fn proc(world: &World) {
    assert_eq!(world.sh("readlink /proc/self/exe; cat /proc/self/comm"), "/bin/busybox\ncat\n");
    assert_eq!(world.sh("cd /etc && readlink /proc/self/cwd; readlink /proc/self/root"), "/etc\n/\n");
    assert_eq!(world.sh("readlink /proc/$$/exe; test \"$(readlink /proc/self)\" -gt 1"), "/bin/busybox\n");
    assert_eq!(world.sh("ps | grep -c '[s]andbox'; true"), "0\n", "its own processes only");
    assert_eq!(
        world.sh("test -d /proc/self/fd && test -e /proc/self/status && ! test -e /proc/none && echo ok"),
        "ok\n"
    );
    assert_eq!(world.sh("cat /proc/mounts; wc -l < /proc/self/mountinfo"), "none / rootfs rw 0 0\n1\n");
    assert_eq!(world.sh("exec 5< /etc/group; cat /proc/self/fd/5 | head -c 4"), "root");
    assert_eq!(world.sh("cd /proc/self && cat comm && cd /proc && cat self/comm"), "cat\ncat\n");
    assert_eq!(
        world.sh("cat /proc/self/root/etc/group | head -c 4; ls /proc/self/cwd/etc | head -n 1"),
        "rootgroup\n"
    );
}

fn kernel(world: &World) {
    assert_eq!(world.sh("grep -c ^processor /proc/cpuinfo | head -c 1 | tr 0-9 n"), "n");
    assert_eq!(
        world.sh("cat /proc/sys/kernel/ostype; ls /proc/sys/kernel | grep -x ostype"),
        "Linux\nostype\n"
    );
    assert!(world.sh("ls /proc").lines().any(|name| name == "meminfo"));
    assert!(world.sh("ls /sys/devices/system/cpu").lines().any(|name| name.starts_with("cpu")));
    assert_eq!(
        world.sh(
            "test -r /sys/devices/system/cpu/online && cat /sys/devices/system/cpu/online | tr -d '0-9,-'"
        ),
        "\n"
    );
    let refused = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches; do (echo x > $f) 2> /dev/null && echo wrote $f; done; cat /proc/kcore /proc/keys 2>&1 | grep -c 'No such'";
    assert_eq!(world.sh(refused), "2\n");
    let ran = world.run(world.script("ls /proc /sys > /dev/null; cat /proc/self/status > /dev/null"));
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
}

fn links(world: &World) {
    assert_eq!(world.sh("ln -s ../proc/self/mounts /etc/mtab; cut -d' ' -f2 /etc/mtab"), "/\n");
    let ran =
        world.run(world.script("echo out > /dev/stdout; echo err > /dev/stderr; echo in | cat /dev/stdin"));
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nin\n", "err\n"));
    assert_eq!(world.sh("ln -s /proc/self /tmp-self; cat /dev/../proc/self/comm"), "cat\n");
}

fn another_user(world: &World) {
    let user = StepUser { uid: 42, gid: 43, groups: vec![] };
    let script = "id -u; readlink /proc/self/exe; cat /proc/self/comm; ls /proc/self/fd | head -n 1; cat /proc/self/environ | tr '\\0' '\\n' | grep PATH; echo x > /dev/stderr";
    let ran = world.run(Step { user, ..world.script(script) });
    assert_eq!(ran.stdout, "42\n/bin/busybox\ncat\n0\nPATH=/bin\n", "{ran:?}");
    assert_eq!(ran.stderr, "x\n");
    let ran = world.sh("echo 'me:x:42:43::/:/bin/sh' >> /etc/passwd; su me -c 'readlink /proc/self/exe; cat /proc/$PPID/environ 2> /dev/null || echo refused'");
    assert_eq!(ran, "/bin/busybox\nrefused\n");
}

fn secret_modes(world: &World) {
    let mount = |target: &str, uid, mode| {
        let bytes = SecretBytes(b"hunter4"[..].into());
        StepMount::Secret { bytes, target: target.into(), mode, uid, gid: 0 }
    };
    let mounts = vec![mount("/s/mine", 42, 0o400), mount("/s/roots", 0, 0o400), mount("/s/all", 0, 0o444)];
    let user = StepUser { uid: 42, gid: 43, groups: vec![] };
    let script = "cat /s/mine; cat /s/roots 2> /dev/null || echo refused; ln -s /s /tmp-link 2> /dev/null; cd /s && cat all";
    assert_eq!(world.run(Step { mounts, user, ..world.script(script) }).stdout, "hunter4refused\nhunter4");
    let mounts = vec![mount("/var-run/secrets/x", 0, 0o400)];
    let ran = world.run(Step {
        mounts,
        ..world.script("cat /run/secrets/x; cat /var-run/secrets/x; cd /run; cat secrets/x")
    });
    assert_eq!(ran.stdout, "hunter4hunter4hunter4");
}

/// A step of another user whose image has sudo is left alone, so that sudo works.
fn sudo(world: &World) {
    let tree = world.tree("with-sudo", &[("usr/bin/sudo", "")]);
    let user = StepUser { uid: 42, gid: 43, groups: vec![] };
    let script = "ls -A /proc | wc -l";
    assert_ne!(world.run(Step { user: user.clone(), ..world.script(script) }).stdout, "0\n");
    let mut step = Step { user, ..world.script(script) };
    step.lowers.push(world.layer(&tree));
    assert_eq!(world.run(step).stdout, "0\n");
}

fn cache(world: &World, name: &str) -> StepMount {
    let source = world.tree(&format!("store/mounts/{name}"), &[("count", "0\n")]);
    StepMount::Cache { source, subpath: "".into(), target: "/cache".into(), readonly: false }
}

fn caches(world: &World) {
    let mount = cache(world, "turns");
    let sandbox = world.sandbox.as_ref().unwrap();
    let script = "n=$(cat /cache/count); sleep 0.05; echo $((n + 1)) > /cache/count";
    let steps: Vec<Step> =
        (0..6).map(|_| Step { mounts: vec![mount.clone()], ..world.script(script) }).collect();
    let ran = world.block(futures_util::future::join_all(steps.into_iter().map(|step| run(sandbox, step))));
    assert!(ran.into_iter().all(|ran| ran.unwrap().status.is_success()));
    assert_eq!(std::fs::read_to_string(world.path("store/mounts/turns/count")).unwrap(), "6\n");
}

fn killed(world: &World) {
    let mount = cache(world, "killed");
    let step =
        Step { mounts: vec![mount.clone()], ..world.script("echo 7 > /cache/count; echo ready; sleep 7272") };
    world.block(async {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
        let running = world.sandbox.as_ref().unwrap().run(step, sender);
        tokio::select! {
            _ = running => panic!("it ended by itself"),
            _ = receiver.recv() => {}
        }
    });
    let after = world.run(Step { mounts: vec![mount], ..world.script("cat /cache/count") });
    assert_eq!(after.stdout, "7\n");
}

/// The directory of one step is the next one's, with the times that its layer has.
fn signals(world: &World) {
    let own = std::process::id();
    assert_eq!(
        world.sh(&format!("kill -0 {own} 2> /dev/null && echo reached; kill -0 $$ && echo own")),
        "own\n"
    );
    assert_eq!(world.sh("trap '' TERM; sleep 40 & kill -TERM -1; wait; echo alive"), "alive\n");
}

/// `..` from what was opened, and the magic links of processes around the step, stay in the step's directory.
fn directories(world: &World) {
    let own = std::process::id();
    let script = format!(
        "for d in /proc /proc/self /proc/self/fd /sys /sys/devices /proc/self/root /proc/self/cwd; do cd $d && ls -d $PWD/../../../../../bin; cd ../../../../..; ls -d bin; done 2>&1 | sort -u | grep -v bin$; \
         ls /proc/{own} /proc/1 2> /dev/null; cat /proc/{own}/environ 2> /dev/null; echo end"
    );
    assert_eq!(world.sh(&script), "end\n");
}

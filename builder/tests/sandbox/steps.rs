//! What a step sees, what it may do, how it ends.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use builder::sandbox::{ExitStatus, Network, SandboxError, Step, StepUser};

use crate::Test;
use crate::world::{World, run};

pub(crate) const TESTS: &[Test] = &[
    ("output_arrives_to_the_last_byte", output),
    ("statuses_are_the_commands_own", statuses),
    ("a_missing_program_is_named", missing_program),
    ("only_the_steps_own_changes_are_left", changes),
    ("the_surroundings_are_a_containers", surroundings),
    ("capabilities_are_dockers", capabilities),
    ("an_insecure_step_may_all", insecure),
    ("ids_and_groups_are_as_asked", identity),
    ("the_working_directory_is_made", working_directory),
    ("the_environment_is_exactly_what_was_given", environment),
    ("no_network_is_none", no_network),
    ("strays_end_with_the_step", strays),
    ("dropping_the_future_kills_the_step", cancel),
    ("dropping_the_sandbox_leaves_nothing", drop_sandbox),
    ("many_at_once", many),
    ("many_layers", layers),
    ("a_long_stack_is_as_a_short_one", long_stacks),
    ("an_empty_base_works", scratch),
    ("limits_never_fail", limits),
    ("owners_are_as_given", owners),
    ("owners_of_many_files_are_recorded", many_owners),
    ("devices_are_made", devices),
    ("files_belong_to_who_made_them", makers),
];

fn output(world: &World) {
    let ran = world.run(world.script("seq 1 100000; echo problem >&2; seq 1 5 | tail -n1"));
    assert_eq!(ran.stdout.lines().count(), 100_001);
    assert!(ran.stdout.ends_with("100000\n5\n"));
    assert_eq!(ran.stderr, "problem\n");
    // The flood ends when the other stream was read.
    let ran = world
        .run(world.script("yes & flood=$!; head -c 300000 /dev/zero >&2; kill $flood; wait; echo end >&2"));
    assert_eq!(ran.stderr.len(), 300_000 + "end\n".len(), "{:?}", ran.status);
}

fn statuses(world: &World) {
    assert_eq!(world.run(world.script("exit 3")).status, ExitStatus::Code(3));
    assert_eq!(world.run(world.script("kill -9 $$")).status, ExitStatus::Signal(9));
}

fn missing_program(world: &World) {
    let step = Step { argv: vec!["no-such-program".into()], ..world.script("") };
    match world.try_run(step) {
        Err(SandboxError::Command { program, status: 127, .. }) => assert_eq!(program, "no-such-program"),
        other => panic!("{other:?}"),
    }
    let step = Step { argv: vec!["/etc/passwd".into()], ..world.script("") };
    assert!(matches!(world.try_run(step), Err(SandboxError::Command { status: 126, .. })));
}

fn changes(world: &World) {
    let image = world.path("image/etc");
    let before = std::fs::metadata(&image).unwrap();
    let ran =
        world.run(world.script("touch /new; rm /run/.keep; cat /etc/hosts /etc/resolv.conf > /dev/null"));
    assert!(ran.status.is_success(), "{ran:?}");
    assert_eq!(world.changes(&ran), ["dev", "new", "proc", "run", "run/.keep", "sys"]);
    if !world.has_copies() {
        let whiteout = std::fs::symlink_metadata(ran.finished.changed.join("run/.keep")).unwrap();
        assert_eq!((whiteout.mode() & 0o170_000, whiteout.rdev()), (0o020_000, 0), "a whiteout");
    }
    let ran = world.run(world.script("stat -c '%Y %a' /etc"));
    assert_eq!(ran.stdout, format!("{} {:o}\n", before.mtime(), before.mode() & 0o7777));
}

fn surroundings(world: &World) {
    assert_eq!(world.sh("hostname"), "buildkitsandbox\n");
    assert_eq!(world.sh("umask"), "0022\n");
    assert_eq!(world.sh("cat"), "", "standard input is empty");
    assert_eq!(world.sh("cat /proc/sys/kernel/core_pattern > /dev/null; (echo x > /proc/sys/vm/drop_caches) 2> /dev/null || echo refused"), "refused\n");
    assert_eq!(
        world.sh("ls /proc/acpi /sys/firmware 2> /dev/null; wc -c < /proc/keys"),
        "/proc/acpi:\n\n/sys/firmware:\n0\n"
    );
    assert_eq!(
        world.sh("for d in null zero full random urandom tty; do test -c /dev/$d || echo $d; done"),
        ""
    );
    assert_eq!(world.sh("head -c 3 /dev/zero | wc -c; echo a > /dev/null"), "3\n");
    assert_eq!(world.sh("touch /dev/shm/x && df -m /dev/shm | tail -n1 | awk '{print $2}'"), "64\n");
    assert_eq!(world.sh("echo to-stdout > /dev/stdout"), "to-stdout\n");
    assert_eq!(world.sh("set -- /proc/[0-9]*; echo $#"), "2\n", "its own processes only");
    assert!(world.sh("ls -d /dev/pts/ptmx /dev/mqueue").contains("/dev/pts/ptmx"));
}

fn capabilities(world: &World) {
    let status = world
        .sh("grep -E 'Cap(Prm|Eff|Bnd|Inh|Amb)|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\n\\t '");
    assert_eq!(
        status,
        "CapInh:0000000000000000CapPrm:00000000a80425fbCapEff:00000000a80425fbCapBnd:00000000a80425fb\
         CapAmb:0000000000000000NoNewPrivs:0Seccomp:2"
    );
    for refused in
        ["unshare -m true", "mount -t tmpfs x /run", "unshare -U true", "chroot / mount -t proc x /run"]
    {
        let ran = world.run(world.script(refused));
        assert!(!ran.status.is_success(), "{refused}: {ran:?}");
    }
    let user = StepUser { uid: 12, gid: 13, groups: vec![] };
    if world.rung() != "single" {
        let ran = world.run(Step {
            user,
            ..world.script("grep CapEff /proc/self/status; grep CapBnd /proc/self/status")
        });
        assert_eq!(ran.stdout, "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n");
    }
}

fn insecure(world: &World) {
    let step = Step {
        insecure: true,
        ..world.script("mount -t tmpfs x /run && grep -c tmpfs /proc/mounts > /dev/null")
    };
    let ran = world.run(step);
    assert!(ran.status.is_success(), "{ran:?}");
}

fn identity(world: &World) {
    let user = StepUser { uid: 1234, gid: 567, groups: vec![8, 9] };
    let ran = world
        .run(Step { user, ..world.script("id -u; id -g; id -G; touch /dev/shm/x; echo x > /dev/stderr") });
    assert_eq!(ran.stdout, "1234\n567\n567 8 9\n", "{ran:?}");
    assert_eq!(ran.stderr, "x\n");
}

fn working_directory(world: &World) {
    let ran =
        world.run(Step { cwd: "/var-run/new/deep".into(), ..world.script("pwd; stat -c '%a %u' /run/new") });
    assert_eq!(ran.stdout, "/run/new/deep\n755 0\n", "{ran:?}");
    assert!(world.changes(&ran).contains(&"run/new/deep".to_owned()));
}

fn environment(world: &World) {
    let env = vec!["PATH=/bin".into(), "A=b c".into()];
    let step = Step { argv: vec!["env".into()], env, ..world.script("") };
    assert_eq!(world.run(step).stdout, "PATH=/bin\nA=b c\n");
}

fn no_network(world: &World) {
    let step = Step {
        network: Network::None,
        ..world.script(
            "ls /sys/class/net; cat /proc/net/dev | wc -l; ping -c1 127.0.0.1 | grep -c '1 packets received'",
        )
    };
    let ran = world.run(step);
    assert!(ran.stdout.contains("lo\n"), "{ran:?}");
    assert_eq!(ran.stdout.lines().nth(1), Some("3"), "{ran:?}");
}

fn strays(world: &World) {
    let begin = Instant::now();
    let ran = world.run(world.script("sleep 4242 & setsid sleep 4242 & exit 0"));
    assert!(ran.status.is_success());
    assert!(begin.elapsed() < Duration::from_secs(25));
    assert!(!running("4242"));
}

fn cancel(world: &World) {
    let step = world.script("sleep 5252");
    world.block(async {
        let run = run(world.sandbox.as_ref().unwrap(), step);
        assert!(tokio::time::timeout(Duration::from_millis(500), run).await.is_err());
    });
    let begin = Instant::now();
    while running("5252") {
        assert!(begin.elapsed() < Duration::from_secs(20), "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn drop_sandbox(world: &World) {
    let sandbox = world.start();
    let step = world.script("sleep 6262");
    world.block(async {
        let _ = tokio::time::timeout(Duration::from_millis(300), run(&sandbox, step)).await;
    });
    drop(sandbox);
    assert!(!running("6262"));
}

fn many(world: &World) {
    let sandbox = world.sandbox.as_ref().unwrap();
    let steps: Vec<Step> =
        (0..12).map(|number| world.script(&format!("echo {number}; sleep 0.1; touch /{number}"))).collect();
    let ran = world.block(futures_util::future::join_all(steps.into_iter().map(|step| run(sandbox, step))));
    for (number, ran) in ran.into_iter().enumerate() {
        let ran = ran.unwrap();
        assert_eq!(ran.stdout, format!("{number}\n"));
        assert!(ran.finished.changed.join(number.to_string()).exists());
    }
}

fn layers(world: &World) {
    let mut step = world.script("cat /top; ls /layers | wc -l");
    for number in 0..130 {
        let (own, top) = (format!("layers/{number}"), number.to_string());
        let tree = world.tree(&format!("layer-{number}"), &[(&own, ""), ("top", &top)]);
        step.lowers.push(world.layer(&tree));
    }
    assert_eq!(world.run(step).stdout, "129130\n");
}

fn long_stacks(world: &World) {
    let script = "cat /sub/* /d/* | md5sum; rm /d/3; mv /d /e; echo more >> /top; ln /e/5 /hard; rm -r /sub; \
        mkdir /sub; touch /sub/new; chmod 700 /e/7; cat /top; ls -lR /e /sub /hard";
    let files: Vec<(String, String)> = (0..30)
        .flat_map(|at| [format!("d/{at}"), format!("sub/{at}")].map(|path| (path, at.to_string())))
        .collect();
    let short: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).chain([("top", "29")]).collect();
    let mut step = world.script(script);
    step.lowers.push(world.layer(&world.tree("short", &short)));
    let (short, over) = (world.run(step.clone()), step.lowers);
    assert!(short.status.is_success(), "{short:?}");
    let changed = world.changes_over(&short, &over);

    let image = over[0].clone();
    let mut lowers = vec![image.clone()];
    for (at, own) in files.chunks(2).enumerate() {
        let mut own: Vec<(&str, &str)> =
            own.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let text = at.to_string();
        own.push(("top", &text));
        lowers.push(world.layer(&world.tree(&format!("long-{at}"), &own)));
    }
    // Twice, and then over stacks that grow, shrink, and are of more bases than are remembered.
    for _ in 0..2 {
        let ran = world.run(Step { lowers: lowers.clone(), ..world.script(script) });
        assert_eq!(ran.stdout, short.stdout);
        assert_eq!(world.changes_over(&ran, &lowers), changed);
    }
    for count in (14..=31).rev().chain(14..=31) {
        let lowers = lowers[..count].to_vec();
        assert_eq!(world.run(Step { lowers, ..world.script("cat /top") }).stdout, (count - 2).to_string());
    }
    for own in 1..7 {
        let mut lowers = lowers.clone();
        lowers.remove(own);
        let missing = format!("ls /d | grep -cx {}", own - 1);
        assert_eq!(world.run(Step { lowers, ..world.script(&missing) }).stdout, "0\n");
    }
}

fn scratch(world: &World) {
    let busybox = std::fs::canonicalize("/bin/busybox").unwrap();
    let tree = world.path("only");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::copy(busybox, tree.join("sh")).unwrap();
    let lowers = vec![world.layer(&tree)];
    let step = Step {
        lowers: lowers.clone(),
        argv: ["/sh", "-c", "echo hi > /made"].map(Into::into).to_vec(),
        ..world.script("")
    };
    let ran = world.run(step);
    assert_eq!(world.changes_over(&ran, &lowers), ["dev", "made", "proc", "sys"], "{ran:?}");
    let step = Step { lowers: vec![], argv: vec!["/nothing".into()], ..world.script("") };
    assert!(matches!(world.try_run(step), Err(SandboxError::Command { status: 127, .. })));
}

fn limits(world: &World) {
    let limit = |name: &str, soft, hard| builder::sandbox::Ulimit { name: name.to_owned(), soft, hard };
    let ulimits = vec![
        limit("nofile", Some(100), Some(200)),
        limit("nproc", None, None),
        limit("core", Some(0), Some(0)),
        limit("memlock", Some(1 << 40), Some(1 << 40)),
    ];
    let ran = world.run(Step { ulimits, ..world.script("ulimit -n; ulimit -Hn; ulimit -c") });
    assert_eq!(ran.stdout, "100\n200\n0\n", "{ran:?}");
}

/// Whether some process of this machine has `word` as an argument.
fn running(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
    })
}

/// What a step's changes are owned by: on the disk, or as recorded.
fn owner_of(ran: &crate::world::Ran, path: &str) -> (u32, u32) {
    if let Some(owners) = &ran.finished.owners {
        let given = owners.iter().find(|(given, _, _)| given == path.as_bytes());
        return given.map_or((0, 0), |(_, uid, gid)| (*uid, *gid));
    }
    let stat = std::fs::symlink_metadata(ran.finished.changed.join(path)).unwrap();
    (inside(stat.uid()), inside(stat.gid()))
}

/// The number inside the user namespace of an id on the disk. Ids of users and of groups begin at the same number, as
/// `useradd` gives them.
fn inside(id: u32) -> u32 {
    if rustix::process::geteuid().is_root() {
        return id;
    }
    id.checked_sub(first_subordinate_id()).map_or(0, |offset| offset + 1)
}

/// Where this user's subordinate ids begin; none may be given to it, as on the rung with a single id.
fn first_subordinate_id() -> u32 {
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let table = std::fs::read_to_string("/etc/subuid").unwrap();
    let own = table.lines().find_map(|line| line.strip_prefix(user.trim())?.strip_prefix(':'));
    own.and_then(|range| range.split(':').next()?.parse().ok()).unwrap_or(u32::MAX)
}

fn owners(world: &World) {
    let ran = world.run(world.script(
        "touch /a && chown 5:6 /a && mv /a /b && mkdir -p /d/e && chown -R 7 /d && ln -s x /l && chown -h 8:9 /l \
         && touch /gone && chown 3:3 /gone && rm /gone && touch /plain && ln /b /c && chown 10 /plain && chown 0:0 /plain",
    ));
    assert!(ran.status.is_success(), "{ran:?}");
    assert_eq!(owner_of(&ran, "b"), (5, 6), "{ran:?}");
    assert_eq!(owner_of(&ran, "c"), (5, 6));
    assert_eq!(owner_of(&ran, "l"), (8, 9));
    assert_eq!(owner_of(&ran, "plain"), (0, 0));
    assert_eq!(owner_of(&ran, "d/e").0, 7);
}

/// What a step gave owners to is more than a pipe holds.
fn many_owners(world: &World) {
    let ran = world.run(world.script(
        "mkdir /many && cd /many && for a in $(seq 40); do for b in $(seq 100); do echo file-with-a-long-name-$a-$b; done; done > /list \
         && xargs touch < /list && chown -R 5:6 /many",
    ));
    assert!(ran.status.is_success(), "{ran:?}");
    assert_eq!(owner_of(&ran, "many/file-with-a-long-name-40-100"), (5, 6));
}

/// Where the kernel makes none for a step with one id, the layer has them all the same. A full user namespace has none.
fn devices(world: &World) {
    if world.rung() == "userns" {
        return;
    }
    let ran = world.run(world.script(
        "umask 022; mkdir /d; mknod /d/null c 1 3 && mknod -m 600 /d/disk b 259 70000 && mkfifo /d/pipe \
         && stat -c '%F %t:%T %a' /d/null /d/disk && chown 5:6 /d/disk && mv /d/disk /d/moved \
         && test -c /d/null && test -b /d/moved && ! mknod /d/null c 1 3 2>/dev/null",
    ));
    assert!(ran.status.is_success(), "{ran:?}");
    assert_eq!(ran.stdout, "character special file 1:3 644\nblock special file 103:11170 600\n");
    assert_eq!(world.devices(&ran), ["d/moved b 259:70000 600 5:6", "d/null c 1:3 644 0:0"],);
    let user = StepUser { uid: 42, gid: 43, groups: vec![] };
    let ran = world.run(Step { user, ..world.script("mknod /tmp/null c 1 3") });
    assert!(!ran.status.is_success(), "{ran:?}");
}

fn makers(world: &World) {
    if world.rung() == "single" {
        // Everything on the disk is the builder's, so permissions do not stop another user; the records are right.
        let user = StepUser { uid: 42, gid: 43, groups: vec![] };
        let ran = world
            .run(Step { user, ..world.script("mkdir /made && touch /made/y && ln -s y /made/z && id -u") });
        assert_eq!(ran.stdout, "42\n", "{ran:?}");
        for path in ["made", "made/y", "made/z"] {
            assert_eq!(owner_of(&ran, path), (42, 43), "{path}: {ran:?}");
        }
    }
    let ran = world.run(world.script("mkdir -m 777 /w; echo 'me:x:42:43::/:/bin/sh' >> /etc/passwd; su me -c 'mkdir /w/d && echo hi > /w/d/f && ln -s f /w/d/l && id -u && cat /w/d/f'; touch /w/mine"));
    assert_eq!(ran.stdout, "42\nhi\n", "{ran:?}");
    for path in ["w/d", "w/d/f", "w/d/l"] {
        assert_eq!(owner_of(&ran, path), (42, 43), "{path}: {ran:?}");
    }
    assert_eq!(owner_of(&ran, "w/mine"), (0, 0));
}

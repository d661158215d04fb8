//! The five mount types, and that none leaves a trace.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;

use builder::sandbox::{MountSource, SandboxError, SecretBytes, Step, StepMount};

use crate::Test;
use crate::world::{World, names};

pub(crate) const TESTS: &[Test] = &[
    ("a_host_directory_is_read_and_never_written", host_directory),
    ("a_file_can_be_bound", host_file),
    ("layers_can_be_bound", layers),
    ("a_tmpfs_is_forgotten", tmpfs),
    ("a_cache_is_kept", cache),
    ("a_secret_is_seen_and_gone", secret),
    ("an_agent_is_forwarded", ssh),
    ("mount_points_leave_no_trace", no_trace),
    ("mounts_nest", nested),
    ("what_a_mount_shows_is_there_and_gone", shown),
    ("impossible_mounts_are_named", impossible),
];

fn bind(source: MountSource, target: &str, readonly: bool) -> StepMount {
    StepMount::Bind { source, target: target.into(), readonly }
}

fn host(world: &World, name: &str, subpath: &str) -> MountSource {
    MountSource::Host { path: world.path(name), subpath: subpath.into() }
}

fn host_directory(world: &World) {
    let context = world.tree("context", &[("a", "A"), ("sub/b", "B")]);
    let mounts = vec![bind(host(world, "context", ""), "/src", true)];
    let ran = world.run(Step {
        mounts,
        ..world.script("cat /src/a /src/sub/b; touch /src/x 2> /dev/null || echo refused")
    });
    assert_eq!(ran.stdout, "ABrefused\n", "{ran:?}");
    let mounts = vec![bind(host(world, "context", "sub"), "/src", false)];
    let ran = world.run(Step {
        mounts,
        ..world.script("cat /src/b; echo changed > /src/b; rm -f /src/b; echo n > /src/new; ls /src")
    });
    assert_eq!(ran.stdout, "Bnew\n", "{ran:?}");
    assert_eq!(names(&context), ["a", "sub", "sub/b"]);
    assert_eq!(std::fs::read_to_string(context.join("sub/b")).unwrap(), "B");
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
}

fn host_file(world: &World) {
    let context = world.tree("context-file", &[("conf", "one")]);
    for readonly in [true, false] {
        let mounts = vec![bind(host(world, "context-file", "conf"), "/etc/new/conf", readonly)];
        let ran = world.run(Step {
            mounts,
            ..world.script("cat /etc/new/conf; (echo two > /etc/new/conf) 2> /dev/null && cat /etc/new/conf")
        });
        assert_eq!(ran.stdout, if readonly { "one" } else { "onetwo\n" }, "{ran:?}");
        assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
    }
    assert_eq!(std::fs::read_to_string(context.join("conf")).unwrap(), "one");
}

fn layers(world: &World) {
    let lowers = [
        world.tree("stage-1", &[("out/bin", "old"), ("out/lib", "lib")]),
        world.tree("stage-2", &[("out/bin", "new")]),
    ];
    symlink("/out", lowers[1].join("link")).unwrap_or_default();
    let stack: Vec<_> = lowers.iter().map(|tree| world.layer(tree)).collect();
    for (readonly, subpath) in [(true, "out"), (false, "/link")] {
        let source = MountSource::Layers { lowers: stack.clone(), subpath: subpath.into() };
        let mounts = vec![bind(source, "/from", readonly)];
        let ran = world.run(Step {
            mounts,
            ..world.script("cat /from/bin /from/lib; touch /from/x 2> /dev/null && echo wrote")
        });
        assert_eq!(ran.stdout, if readonly { "newlib" } else { "newlibwrote\n" }, "{ran:?}");
    }
    let source = MountSource::Layers { lowers: stack[..1].to_vec(), subpath: "out/bin".into() };
    let ran = world.run(Step { mounts: vec![bind(source, "/tool", true)], ..world.script("cat /tool") });
    assert_eq!(ran.stdout, "old");
    assert!(!lowers[1].join("out/x").exists());
}

fn tmpfs(world: &World) {
    let mounts = vec![StepMount::Tmpfs { target: "/scratch/space".into(), size: Some(1 << 20) }];
    let script =
        "echo x > /scratch/space/x; head -c 2000000 /dev/zero > /scratch/space/big 2> /dev/null || echo full";
    let ran = world.run(Step { mounts, ..world.script(script) });
    assert_eq!(ran.stdout, "full\n");
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
}

fn cache(world: &World) {
    let source = world.tree("store/mounts/cache", &[]);
    let mount = |readonly| StepMount::Cache {
        source: source.clone(),
        subpath: "".into(),
        target: "/root/.cache/pip".into(),
        readonly,
    };
    world.run(Step { mounts: vec![mount(false)], ..world.script("echo kept > /root/.cache/pip/x") });
    let ran = world.run(Step {
        mounts: vec![mount(true)],
        ..world.script("cat /root/.cache/pip/x; touch /root/.cache/pip/y 2> /dev/null || echo refused")
    });
    assert_eq!(ran.stdout, "kept\nrefused\n");
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
}

fn secret(world: &World) {
    let mount = |target: &str, uid, mode| StepMount::Secret {
        bytes: SecretBytes(b"hunter2"[..].into()),
        target: target.into(),
        mode,
        uid,
        gid: 0,
    };
    let mounts = vec![mount("/run/secrets/one", 0, 0o400), mount("/root/.npmrc", 0, 0o440)];
    let ran = world.run(Step { mounts, ..world.script("cat /run/secrets/one /root/.npmrc; stat -c '%a %u' /run/secrets/one; env; (echo x > /root/.npmrc) 2> /dev/null || echo refused; test -s /run/secrets/one || echo empty") });
    assert_eq!(
        ran.stdout,
        "hunter2hunter2400 0\nPATH=/bin\nrefused\n".replace(
            "PATH=/bin\n",
            &ran.stdout
                .lines()
                .filter(|line| line.contains('='))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        ),
        "{ran:?}"
    );
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
    if world.rung() != "single" {
        let user = builder::sandbox::StepUser { uid: 7, gid: 7, groups: vec![] };
        let ran = world.run(Step { mounts: vec![mount("/s", 7, 0o400)], user, ..world.script("cat /s") });
        assert_eq!(ran.stdout, "hunter2");
    }
    for entry in walkdir::WalkDir::new(world.path("store"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
    {
        if let Ok(bytes) = std::fs::read(entry.path()) {
            assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", entry.path().display());
        }
    }
}

fn ssh(world: &World) {
    let path = world.path("agent");
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 5];
        stream.read_exact(&mut question).unwrap();
        stream.write_all(b"answer").unwrap();
        question
    });
    let mounts =
        vec![StepMount::Ssh { socket: path, target: "/run/agent.sock".into(), mode: 0o600, uid: 0, gid: 0 }];
    let ran = world.run(Step { mounts, ..world.script("printf hello | nc local:/run/agent.sock 2> /dev/null || printf hello | nc -U /run/agent.sock 2>/dev/null; test -S /run/agent.sock && echo socket") });
    assert!(ran.stdout.ends_with("socket\n"), "{ran:?}");
    if world.rung() != "single" {
        let mount = StepMount::Ssh {
            socket: world.path("agent"),
            target: "/run/mine.sock".into(),
            mode: 0o640,
            uid: 42,
            gid: 43,
        };
        let ran =
            world.run(Step { mounts: vec![mount], ..world.script("stat -c '%a %u:%g' /run/mine.sock") });
        assert_eq!(ran.stdout, "640 42:43\n", "{ran:?}");
    }
    if ran.stdout.contains("answer") {
        assert_eq!(&answering.join().unwrap(), b"hello");
    }
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
}

fn no_trace(world: &World) {
    let times = "stat -c '%Y %Z' /run /etc | head -n2 | cut -d' ' -f1";
    let before = world.sh(times);
    let mounts = vec![
        StepMount::Tmpfs { target: "/run/a/b".into(), size: None },
        StepMount::Tmpfs { target: "/var-run/c".into(), size: None },
        StepMount::Tmpfs { target: "/new/deep/place".into(), size: None },
    ];
    let ran = world.run(Step { mounts: mounts.clone(), ..world.script(times) });
    assert_eq!(ran.stdout, before);
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
    let ran = world.run(Step { mounts, ..world.script("touch /run/a/mine /new/deep/mine") });
    let kept = world.changes(&ran);
    assert_eq!(
        kept,
        ["dev", "new", "new/deep", "new/deep/mine", "proc", "run", "run/a", "run/a/mine", "sys"]
    );
}

fn nested(world: &World) {
    world.tree("context-nested", &[("a", "A")]);
    let mounts = vec![
        StepMount::Tmpfs { target: "/w/inner/deep".into(), size: None },
        bind(host(world, "context-nested", ""), "/w", false),
    ];
    let ran = world
        .run(Step { mounts, ..world.script("cat /w/a; touch /w/inner/deep/x; grep -c ' /w' /proc/mounts") });
    assert_eq!(ran.stdout, "A2\n", "{ran:?}");
    assert_eq!(names(&world.path("context-nested")), ["a"]);
}

fn impossible(world: &World) {
    let missing = vec![bind(host(world, "not-there", ""), "/src", true)];
    let below = vec![bind(host(world, "image", "nothing/here"), "/src", true)];
    let over_root = vec![StepMount::Tmpfs { target: "/".into(), size: None }];
    let through_file = vec![StepMount::Tmpfs { target: "/etc/passwd/x".into(), size: None }];
    let wrong_kind = vec![bind(host(world, "image", "etc"), "/etc/passwd", true)];
    for (mounts, target, reason) in [
        (missing, "/src", "not-there"),
        (below, "/src", "nothing/here"),
        (over_root, "/", "root"),
        (through_file, "/etc/passwd/x", "Not a directory"),
        (wrong_kind, "/etc/passwd", "file"),
    ] {
        match world.try_run(Step { mounts, ..world.script("true") }) {
            Err(SandboxError::Mount { target: at, reason: why }) => {
                assert_eq!(at, target);
                assert!(why.contains(reason), "{why}");
            }
            other => panic!("{target}: {other:?}"),
        }
    }
}

/// What every rung can do, those without mounts as well.
fn shown(world: &World) {
    world.tree("context-shown", &[("a", "A"), ("sub/b", "B")]);
    let stage = world.tree("stage-shown", &[("out/x", "X")]);
    let cache = world.tree("store/mounts/shown", &[("old", "o")]);
    let secret = SecretBytes(b"hunter3"[..].into());
    let mounts = vec![
        StepMount::Tmpfs { target: "/w/inner/deep".into(), size: None },
        bind(host(world, "context-shown", ""), "/w", false),
        bind(
            MountSource::Layers { lowers: vec![world.layer(&stage)], subpath: "out".into() },
            "/etc/stage",
            true,
        ),
        StepMount::Cache {
            source: cache.clone(),
            subpath: "".into(),
            target: "/var-run/cache".into(),
            readonly: false,
        },
        StepMount::Secret { bytes: secret, target: "/run/secrets/s".into(), mode: 0o400, uid: 0, gid: 0 },
    ];
    let script = "cat /w/a /w/sub/b /etc/stage/x /run/cache/old /run/secrets/s; touch /w/inner/deep/n /w/n /run/cache/new";
    let ran = world.run(Step { mounts, ..world.script(script) });
    assert_eq!(ran.stdout, "ABXohunter3", "{ran:?}");
    assert_eq!(world.changes(&ran), ["dev", "proc", "sys"]);
    assert_eq!(names(&world.path("context-shown")), ["a", "sub", "sub/b"]);
    assert_eq!(names(&stage), ["out", "out/x"]);
    assert_eq!(names(&cache), ["new", "old"]);
}

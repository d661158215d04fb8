//! Ways out that other builders once had, one test a class: all refused, with the host untouched.

use std::os::unix::fs::symlink;

use builder::sandbox::{MountSource, SandboxError, Step, StepMount};

use crate::Test;
use crate::world::{World, names, run};

pub(crate) const TESTS: &[Test] = &[
    ("a_symlinked_mount_source_stays_inside", symlinked_source),
    ("a_symlinked_mount_target_stays_inside", symlinked_target),
    ("a_symlinked_cache_subpath_stays_inside", symlinked_cache),
    ("a_working_directory_below_proc_is_no_way_out", proc_directory),
    ("no_descriptor_leaks", descriptors),
    ("system_directories_that_are_symlinks_are_refused", symlinked_system),
    ("the_builders_memory_and_environment_are_out_of_reach", builder_memory),
    ("the_builders_program_cannot_be_written", builder_program),
    ("double_dots_lead_nowhere", dots),
    ("a_subpath_that_is_swapped_meanwhile_stays_inside", swapped),
    ("a_changed_root_cannot_be_left", changed_root),
];

fn image_with(world: &World, name: &str, links: &[(&str, &str)]) -> std::path::PathBuf {
    let root = world.tree(name, &[]);
    for (link, target) in links {
        let link = root.join(link);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = symlink(target, link);
    }
    root
}

/// CVE-2024-1753.
fn symlinked_source(world: &World) {
    std::fs::write(world.path("host-file"), "host").unwrap();
    let outside = world.dir.path().to_str().unwrap();
    let tree =
        image_with(world, "evil-source", &[("root", "/"), ("up", "../../../../../../.."), ("host", outside)]);
    std::fs::write(tree.join("mine"), "mine").unwrap();
    for subpath in ["root", "up"] {
        for source in [
            MountSource::Layers { lowers: vec![world.layer(&tree)], subpath: subpath.into() },
            MountSource::Host { path: tree.clone(), subpath: subpath.into() },
        ] {
            let mounts = vec![StepMount::Bind { source, target: "/src".into(), readonly: true }];
            assert_eq!(
                world.run(Step { mounts, ..world.script("cat /src/mine; ls /src | wc -l") }).stdout,
                "mine4\n"
            );
        }
    }
    let source = MountSource::Host { path: tree, subpath: "host".into() };
    let mounts = vec![StepMount::Bind { source, target: "/src".into(), readonly: true }];
    assert!(matches!(
        world.try_run(Step { mounts, ..world.script("true") }),
        Err(SandboxError::Mount { .. })
    ));
}

/// CVE-2024-23652, CVE-2024-45310.
fn symlinked_target(world: &World) {
    let outside = world.tree("outside", &[("victim", "untouched")]);
    let path = outside.to_str().unwrap();
    let evil = image_with(
        world,
        "evil-target",
        &[("out", path), ("up", "../../../../../../../../../.."), ("etc/hosts", path)],
    );
    let mut step = world.script("true");
    step.lowers.push(world.layer(&evil));
    step.mounts = vec![
        StepMount::Tmpfs { target: "/out/victim".into(), size: None },
        StepMount::Tmpfs { target: format!("/up{path}/new").into(), size: None },
    ];
    let _ = world.try_run(step);
    assert_eq!(names(&outside), ["victim"]);
    assert_eq!(std::fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
}

/// CVE-2024-11218, CVE-2024-23651.
fn symlinked_cache(world: &World) {
    let cache = world.tree("store/mounts/evil", &[("mine", "m")]);
    let _ = symlink(world.dir.path(), cache.join("sub"));
    let _ = symlink("../../../../..", cache.join("up"));
    let mount = |subpath: &str| StepMount::Cache {
        source: cache.clone(),
        subpath: subpath.into(),
        target: "/c".into(),
        readonly: false,
    };
    let step = Step { mounts: vec![mount("sub")], ..world.script("ls /c") };
    assert!(matches!(world.try_run(step), Err(SandboxError::Mount { .. })));
    let step = Step { mounts: vec![mount("up/../..")], ..world.script("cat /c/mine") };
    assert_eq!(world.run(step).stdout, "m");
}

/// The same while another step changes what the subpath is.
fn swapped(world: &World) {
    std::fs::write(world.path("host-marker"), "host").unwrap();
    let outside = world.dir.path().to_str().unwrap();
    let cache = world.tree("store/mounts/swapped", &[("sub/mine", "m")]);
    let mount = |subpath: &str| StepMount::Cache {
        source: cache.clone(),
        subpath: subpath.into(),
        target: "/c".into(),
        readonly: false,
    };
    let script = format!(
        "cd /c; ln -s {outside} link; n=0; while test $n -lt 300; do mv sub away; mv link sub; mv sub link; mv away sub; n=$((n + 1)); done"
    );
    let swapping = Step { mounts: vec![mount("")], ..world.script(&script) };
    let looks: Vec<Step> =
        (0..20).map(|_| Step { mounts: vec![mount("sub")], ..world.script("ls /c") }).collect();
    let sandbox = world.sandbox.as_ref().unwrap();
    let (swapped, looked) = world.block(async {
        futures_util::future::join(
            run(sandbox, swapping),
            futures_util::future::join_all(looks.into_iter().map(|step| run(sandbox, step))),
        )
        .await
    });
    swapped.unwrap();
    for look in looked {
        match look {
            Ok(ran) => assert!(!ran.stdout.contains("host-marker"), "{ran:?}"),
            Err(SandboxError::Mount { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// CVE-2024-21626.
fn proc_directory(world: &World) {
    for number in 3..12 {
        let step = Step {
            cwd: format!("/proc/self/fd/{number}").into(),
            ..world.script("ls -a ../../../.. | head -n 50; pwd")
        };
        match world.try_run(step) {
            Ok(ran) => assert!(
                !ran.stdout.contains("lost+found") && !ran.stdout.contains("boot"),
                "{number}: {ran:?}"
            ),
            Err(SandboxError::Setup(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn descriptors(world: &World) {
    // The fourth is the directory that is being read.
    let step = Step { argv: ["ls", "/proc/self/fd"].map(Into::into).to_vec(), ..world.script("") };
    assert_eq!(world.run(step).stdout, "0\n1\n2\n3\n");
}

/// CVE-2026-41579.
fn symlinked_system(world: &World) {
    for name in ["dev", "proc", "sys"] {
        let outside = world.tree("system-outside", &[("pts/x", "")]);
        let mut step = world.script("true");
        let evil = image_with(world, &format!("evil-{name}"), &[(name, outside.to_str().unwrap())]);
        step.lowers.push(world.layer(&evil));
        assert!(matches!(world.try_run(step), Err(SandboxError::Setup(_))), "{name}");
        assert_eq!(names(&outside), ["pts", "pts/x"]);
    }
}

fn builder_memory(world: &World) {
    let script = "for f in environ mem maps exe root cwd fd/0 cmdline; do head -c 1 /proc/1/$f > /dev/null 2>&1 && echo read $f; done; kill -9 1; kill -0 1 2> /dev/null; echo alive";
    let said = world.sh(script);
    assert!(!said.contains("environ") && !said.contains("mem") && !said.contains("maps"), "{said}");
    assert!(!said.contains("exe") && !said.contains("root") && !said.contains("fd/0"), "{said}");
    assert!(said.ends_with("alive\n"));
}

/// CVE-2019-5736: a step that makes the kernel start the builder's own program may not write to it.
fn builder_program(world: &World) {
    let own = std::env::current_exe().unwrap();
    let before = std::fs::metadata(&own).unwrap().len();
    let mut step = world.script("");
    let interpreter = world.tree("evil-interpreter", &[("go", "#!/proc/self/exe\n")]);
    std::os::unix::fs::chown(interpreter.join("go"), None, None).unwrap();
    std::fs::set_permissions(interpreter.join("go"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    step.lowers.push(world.layer(&interpreter));
    step.argv = vec!["/go".into()];
    let _ = world.try_run(step);
    let said = world
        .sh("(: >> /proc/1/exe) 2> /dev/null && echo wrote; (: >> /proc/self/exe) 2> /dev/null; echo end");
    assert_eq!(said, "end\n");
    assert_eq!(std::fs::metadata(&own).unwrap().len(), before);
}

fn dots(world: &World) {
    assert_eq!(world.sh("cd /../../../..; ls -d bin; test -e /boot || echo none"), "bin\nnone\n");
    let out =
        world.sh("mkdir /tmp2 && cd /tmp2 && mkdir x && chroot x /bin/true 2> /dev/null; ls -d /../bin");
    assert_eq!(out, "/../bin\n");
}

/// The classic way out of a chroot takes the capability to make another.
fn changed_root(world: &World) {
    let ran = world.run(world.script(
        "mkdir /jail; chroot /jail /bin/busybox true 2> /dev/null; cd ..; cd ../../../../..; ls -d lost+found boot home work 2> /dev/null; echo end",
    ));
    assert_eq!(ran.stdout, "end\n", "{ran:?}");
}

//! `rbuild run`: an image is tried where it was built. And what a build lets its commands see and use.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use crate::lab::{as_caller, as_each_user, skip};

#[test]
fn a_command_runs_in_an_image() {
    as_each_user(&[], |lab| {
        lab.build("FROM busybox:1\nENV A=1\nWORKDIR /work\nUSER nobody\nRUN id -u > /tmp/uid\nENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"echo default; exit 7\"]\n");
        let output = lab.run(&["run", "app:1.0"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "default\n", "{output:?}");
        assert_eq!(output.status.code(), Some(7), "the status is the command's");
        let said = lab.answer(&[
            "run",
            "--rm",
            "-e",
            "B=2",
            "-u",
            "0",
            "-w",
            "/tmp",
            "app:1.0",
            "id -u; pwd; echo $A$B; cat /tmp/uid; touch /new",
        ]);
        assert_eq!(said, "0\n/tmp\n12\n65534\n");
        let said = lab.answer(&["run", "--entrypoint", "ls", "app:1.0", "/"]);
        assert!(!said.lines().any(|name| name == "new"), "changes are gone: {said}");

        let shared = lab.path("project/shared");
        fs::create_dir(&shared).unwrap();
        lab.give(&shared);
        let volume = format!("{}:/data", shared.display());
        lab.answer(&["run", "-u", "0", "-v", &volume, "app:1.0", "echo kept > /data/file"]);
        assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "kept\n");
        let read_only = format!("{volume}:ro");
        let said = lab.answer(&[
            "run",
            "-u",
            "0",
            "-v",
            &read_only,
            "app:1.0",
            "cat /data/file; echo x 2>&1 > /data/file || true",
        ]);
        assert!(said.starts_with("kept\n") && fs::read_to_string(shared.join("file")).unwrap() == "kept\n");

        for (words, status) in [
            (&["app:1.0", "exit 3"][..], 3),
            (&["--entrypoint", "none", "app:1.0"], 127),
            (&["no.such/image:1"], 125),
        ] {
            let output = lab.run(&[&["run"], words].concat());
            assert_eq!(output.status.code(), Some(status), "{words:?}: {output:?}");
        }
    });
}

#[test]
fn what_is_typed_reaches_the_command() {
    as_each_user(&[], |lab| {
        let mut command =
            lab.command(&["run", "-i", "busybox:1", "sh", "-c", "read line; echo \"got $line\""]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(said, "got hello\n");
    });
}

/// util-linux's `script` is the person at the terminal.
#[test]
fn a_terminal_is_the_commands_own() {
    as_each_user(&["script"], |lab| {
        lab.succeed(&["pull", "busybox:1"]);
        let said = on_terminal(
            lab,
            "run -it busybox:1 sh -c 'tty; test -t 0 && echo terminal; exit 5'; echo status $?",
            "",
        );
        assert!(
            said.contains("/dev/pts/0") && said.contains("terminal") && said.contains("status 5"),
            "{said}"
        );

        lab.write("Dockerfile", "FROM busybox:1\nENV WHERE=there\nRUN echo made > /file; exit 9\n");
        let said = on_terminal(
            lab,
            "build --progress plain --on-error shell -t app:1.0 .; echo status $?",
            "cat /file; echo $WHERE-$(id -u)\nexit\n",
        );
        assert!(said.contains("made") && said.contains("there-0") && said.contains("status 1"), "{said}");
        let refused = lab.fail(2, &["build", "--on-error", "shell", "-t", "app:1.0", "."]);
        assert!(refused.contains("terminal"), "{refused}");
    });
}

/// Runs rbuild on a terminal of its own, with `typed` as what is typed there.
fn on_terminal(lab: &crate::lab::Lab, words: &str, typed: &str) -> String {
    let plain = lab.command(&[]);
    let program = plain.get_program().to_string_lossy().into_owned();
    let arguments: Vec<String> = plain.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let line = format!("{program} {} {words}", arguments.join(" "));
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(lab.path("project")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "dumb");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(typed.as_bytes()).unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    drop(input);
    child.wait().unwrap();
    said
}

#[test]
fn a_build_gives_its_commands_what_is_allowed() {
    as_each_user(&[], |lab| {
        let shared = lab.path("project/shared");
        fs::create_dir(&shared).unwrap();
        lab.give(&shared);
        lab.write("Dockerfile", "FROM busybox:1\nRUN grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; echo x > /data/file; ulimit -n\n");
        let volume = format!("{}:/data", shared.display());
        let said = lab.succeed(&[
            "build",
            "-v",
            &volume,
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CHOWN",
            "--security-opt",
            "no-new-privileges",
            "--ulimit",
            "nofile=99999999",
            "--no-cache",
            "--progress",
            "plain",
            "-t",
            "app:1.0",
            ".",
        ]);
        assert!(said.contains("NoNewPrivs:\t1"), "{said}");
        assert!(said.contains("CapEff:\t0000000000000001"), "{said}");
        assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "x\n");
        let wrong = lab.fail(2, &["build", "--cap-add", "NONE_SUCH", "."]);
        assert!(wrong.contains("`NONE_SUCH`"), "{wrong}");
    });
}

/// Where control groups are this process's to divide; where not, the refusal names the call.
#[test]
fn a_private_network_leads_out_and_not_to_the_host() {
    as_caller(&["pasta", "root"], |lab| {
        if fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
            return skip("somebody who may open /dev/net/tun");
        }
        let address = lab.registry.address().replace(':', " ");
        let dockerfile = format!(
            "FROM busybox:1\nRUN if nc -w 3 {address} < /dev/null; then echo yes; else echo no; fi > /reached; \
             cat /proc/net/route > /route; cat /etc/resolv.conf > /resolver\n"
        );
        let reached = |words: &[&str]| {
            lab.write("Dockerfile", &dockerfile);
            lab.succeed(&[&["-t", "app:1.0", "--no-cache"], words, &["."]].concat());
            ["/reached", "/route", "/resolver"].map(|path| lab.answer(&["cat", "app:1.0", path]))
        };
        assert_eq!(reached(&[])[0], "yes\n", "the host's network has the host's registry");
        for isolation in ["--isolation=userns", "--isolation=single"] {
            let [said, route, resolver] = reached(&["--network=private", isolation]);
            assert_eq!(said, "no\n", "{isolation}");
            let is_default = |line: &str| line.split_whitespace().nth(1) == Some("00000000");
            assert!(route.lines().any(is_default), "{isolation}: there is a way out\n{route}");
            assert!(resolver.ends_with("nameserver 169.254.1.1\n"), "{resolver}");
        }

        let output = lab.run(&["-t", "app:1.0", "--no-cache", "--network=private", "--isolation=root", "."]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("--isolation=userns"), "{said}");

        let words =
            ["run", "--network=private", "--isolation=userns", "app:1.0", "sh", "-c", "echo up; sleep 100"];
        let mut killed = lab.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        let mut up = [0; 3];
        killed.stdout.take().unwrap().read_exact(&mut up).unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        let is_pasta =
            |line: &Vec<u8>| String::from_utf8_lossy(line).contains("--dns-forward\x00169.254.1.1");
        let pastas = || {
            let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
            processes
                .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
                .filter(is_pasta)
                .count()
        };
        // The kernel may take a moment to close the pipe of a killed process.
        let ended = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            pastas() == 0
        });
        assert!(ended, "pasta outlived the build");
        // What was killed left a scratch directory, which the next one finds.
        lab.succeed(&["prune", "-f"]);
    });
}

#[test]
fn memory_is_limited_or_the_limit_is_refused() {
    as_each_user(&[], |lab| {
        lab.write(
            "Dockerfile",
            "FROM busybox:1\nRUN head -c 200000000 /dev/zero | tail -c 199999999 > /dev/null\n",
        );
        let output = lab.run(&["build", "--memory", "32m", "-t", "app:1.0", "."]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let limited = said.contains("out of memory");
        let refused = said.contains("cgroup") && said.contains("systemd-run");
        assert!(limited || refused, "{said}");
    });
}

#[test]
fn a_program_for_another_machine_is_named() {
    as_caller(&[], |lab| {
        // The head of an ELF file for arm64, and nothing behind it.
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2, 0, 183, 0, 1, 0, 0, 0]);
        elf.resize(64, 0);
        lab.write("program", elf);
        lab.write("Dockerfile", "FROM busybox:1\nCOPY --chmod=755 program /program\nRUN [\"/program\"]\n");
        let said = lab.fail(1, &["-t", "app:1.0", "."]);
        assert!(said.contains("arm64") && said.contains("qemu-user-static"), "{said}");
    });
}

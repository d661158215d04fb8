//! Builds that are stopped: Ctrl-C, SIGTERM, kill -9.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::lab::{Lab, as_each_user, in_own_group};

/// Starts a build that would take long, waits until its RUN runs, and stops it.
fn stop(lab: &Lab, how: impl Fn(Pid)) -> (ExitStatus, Duration, String) {
    let mark = lab.mark();
    lab.write(
        "Dockerfile",
        // A child that ignores the polite signals, and a grandchild in the background.
        format!(
            "FROM busybox:1\nRUN echo before > /before; sh -c 'trap \"\" INT TERM HUP; echo is-running; \
             sleep 600; : marked-{mark}' & sh -c 'sleep 600; : marked-{mark}'\n"
        ),
    );
    let mut command = in_own_group(lab.command(&["--progress", "plain", "-t", "app:1.0", "."]));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        said += &(line.clone() + "\n");
        if line.ends_with(" is-running") {
            break;
        }
    }
    assert!(said.contains(" is-running"), "the step never ran:\n{said}");
    how(Pid::from_child(&child));
    let begun = Instant::now();
    let status = child.wait().unwrap();
    let elapsed = begun.elapsed();
    said.extend(lines.map_while(Result::ok).map(|line| line + "\n"));
    (status, elapsed, said)
}

#[track_caller]
fn works_again(lab: &Lab) {
    lab.nothing_left();
    lab.build("FROM busybox:1\nRUN test ! -e /before && echo fine > /fine\n");
}

#[test]
fn ctrl_c_stops_at_once() {
    as_each_user(&[], |lab| {
        // A terminal sends it to the whole group.
        let (status, elapsed, said) = stop(lab, |pid| kill_process_group(pid, Signal::INT).unwrap());
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(elapsed < Duration::from_secs(5), "it took {elapsed:?}");
        assert!(said.contains("error: the build was stopped"), "{said}");
        works_again(lab);
    });
}

#[test]
fn sigterm_stops_at_once() {
    as_each_user(&[], |lab| {
        let (status, elapsed, said) = stop(lab, |pid| kill_process(pid, Signal::TERM).unwrap());
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(elapsed < Duration::from_secs(5), "it took {elapsed:?}");
        works_again(lab);
    });
}

#[test]
fn kill_leaves_nothing_running_and_the_store_usable() {
    as_each_user(&[], |lab| {
        let (status, ..) = stop(lab, |pid| kill_process(pid, Signal::KILL).unwrap());
        assert_eq!(status.signal(), Some(9));
        // Scratch directories of a killed build are the next one's to remove.
        lab.build("FROM busybox:1\nRUN test ! -e /before\n");
        lab.succeed(&["prune"]);
        works_again(lab);
    });
}

#[test]
fn a_step_that_takes_too_long_is_stopped() {
    as_each_user(&[], |lab| {
        let mark = lab.mark();
        lab.write(
            "Dockerfile",
            format!(
                "FROM busybox:1\nRUN trap '' INT TERM; echo last-words; sh -c 'sleep 600; : marked-{mark}' & sleep 600\n"
            ),
        );
        let said = lab.fail(1, &["build", "--step-timeout", "1s", "-t", "app:1.0", "."]);
        assert!(said.contains("it took longer than 1 s") && said.contains("| last-words"), "{said}");
        works_again(lab);
        // What ends in time is not touched.
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo quick > /quick\n");
        lab.succeed(&["build", "--step-timeout", "10m", "-t", "app:1.0", "."]);
    });
}

#[test]
fn ctrl_c_stops_a_command_in_an_image() {
    as_each_user(&[], |lab| {
        lab.build("FROM busybox:1\nRUN true\n");
        let script = format!(
            "trap '' INT TERM; sh -c 'sleep 600; : marked-{}' & echo is-running; sleep 600",
            lab.mark()
        );
        for signal in [Signal::INT, Signal::TERM] {
            let mut command = in_own_group(lab.command(&["run", "app:1.0", "sh", "-c", &script]));
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert_eq!(lines.next().unwrap().unwrap(), "is-running");
            kill_process_group(Pid::from_child(&child), signal).unwrap();
            let begun = Instant::now();
            let status = child.wait().unwrap();
            assert_eq!(status.code(), Some(128 + signal.as_raw()), "{status:?}");
            assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
            works_again(lab);
        }
    });
}

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

//! A process that is killed at any moment leaves a store that is whole, in which the next build succeeds.
//!
//! Many random moments of each kind of work, spread over the time that the work takes on this machine.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, as_caller};

/// How many kills in all; a multiple of the number of kinds of work.
const KILLS: u32 = 200;

/// One kind of work: what is made ready for it, and its words.
struct Work {
    name: &'static str,
    dockerfile: &'static str,
    words: &'static [&'static str],
}

/// In each a number makes sure that there is something to do.
const WORKS: [Work; 5] = [
    Work {
        name: "COPY",
        dockerfile: "FROM scratch\nCOPY many /NUMBER\nCOPY big /big-NUMBER\n",
        words: &["-t", "work:1.0", "."],
    },
    Work {
        name: "RUN",
        dockerfile: "FROM busybox:1\nRUN mkdir /NUMBER && cp /bin/busybox /NUMBER/ && rm -r /home\nRUN echo NUMBER > /x\n",
        words: &["-t", "work:1.0", "."],
    },
    Work { name: "pull", dockerfile: "FROM REMOTE\nRUN echo NUMBER > /x\n", words: &["-t", "work:1.0", "."] },
    Work {
        name: "export",
        dockerfile: "FROM busybox:1\nCOPY big /NUMBER\n",
        words: &["--output", "type=oci,dest=out.tar", "-t", "work:1.0", "."],
    },
    Work { name: "prune", dockerfile: "", words: &["prune", "--filter", "description~=garbage"] },
];

impl Work {
    fn command(&self, lab: &Lab, number: u32) -> Command {
        let dockerfile = self.dockerfile.replace("NUMBER", &number.to_string());
        lab.write("Dockerfile", dockerfile.replace("REMOTE", &lab.remote("team/big:1")));
        let mut command = lab.command(self.words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What has to be there for the work to have something to do.
    fn prepare(&self, lab: &Lab, number: u32) {
        match self.name {
            "pull" => {
                lab.run(&["rmi", "--force", "work:1.0", &lab.remote("team/big:1")]);
                // Its step would keep the layers.
                lab.run(&["prune", "--filter", "description~=echo 2"]);
            }
            "prune" => {
                lab.write("Dockerfile", format!("FROM busybox:1\nCOPY big /garbage-{number}\n"));
                lab.succeed(&["-t", "work:1.0", "."]);
                lab.succeed(&["rmi", "--no-prune", "work:1.0"]);
            }
            _ => {}
        }
    }
}

#[test]
fn a_kill_at_two_hundred_moments_loses_nothing() {
    as_caller(&[], |lab| {
        for number in 0..100 {
            lab.write(&format!("many/file-{number}"), format!("content {number}\n").repeat(50));
        }
        lab.write(
            "big",
            (0..2_000_000_u32)
                .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
                .take(2_000_000)
                .collect::<Vec<u8>>(),
        );
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo kept > /kept\n");
        lab.succeed(&["-t", "kept:1.0", "."]);
        lab.write("Dockerfile", "FROM busybox:1\nCOPY big many /data/\n");
        let remote = lab.remote("team/big:1");
        lab.succeed(&["-t", &remote, "--push", "."]);
        lab.succeed(&["rmi", &remote]);
        lab.succeed(&["prune", "--filter", "description~=COPY"]);
        let kept = lab.answer(&["images", "-q", "--no-trunc", "kept:1.0"]);
        let mut random = 1_u32;
        for (kind, work) in (0..).zip(&WORKS) {
            work.prepare(lab, 1_000_000);
            let begun = Instant::now();
            let status = work.command(lab, 1_000_000).status().unwrap();
            assert!(status.success(), "{} without a kill", work.name);
            let whole = begun.elapsed();
            for kill in 0..KILLS / WORKS.len() as u32 {
                let number = kind * 1000 + kill;
                work.prepare(lab, number);
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                killed_after(work.command(lab, number), whole * (random >> 16) / 60_000);
                check(lab, &format!("{} killed at moment {kill}", work.name));
            }
        }
        // Nothing that was complete is lost, and what was half-written has come back.
        assert_eq!(lab.answer(&["images", "-q", "--no-trunc", "kept:1.0"]), kept);
        lab.write("Dockerfile", "FROM busybox:1\nRUN echo again > /kept\n");
        lab.succeed(&["-t", "kept:1.0", "."]);
        lab.succeed(&["prune", "--all", "--force"]);
        let usage: serde_json::Value = serde_json::from_str(&lab.answer(&["du", "--json"])).unwrap();
        assert!(usage["total"].as_u64().unwrap() < 100_000, "{usage:#}");
    });
}

/// Starts a process and kills it after a while, wherever it is then.
fn killed_after(mut command: Command, delay: Duration) {
    let mut child = command.spawn().unwrap();
    let timer = Instant::now();
    // Not asleep to the millisecond: moments at the beginning matter as well.
    while timer.elapsed() < delay && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    let _ = kill_process(Pid::from_child(&child), Signal::KILL);
    child.wait().unwrap();
}

#[track_caller]
fn check(lab: &Lab, when: &str) {
    let checked = lab.run(&["store", "check"]);
    assert!(checked.status.success(), "{when}:\n{}", String::from_utf8_lossy(&checked.stdout));
    // A build of what was complete before runs nothing, and one that has to work succeeds.
    lab.write("Dockerfile", "FROM busybox:1\nRUN echo kept > /kept\n");
    let built = lab.run(&["-t", "kept:1.0", "."]);
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{when}:\n{said}");
    assert!(said.contains("nothing to do"), "{when}: a result is lost:\n{said}");
    let store = lab.path("home/store");
    let left = fs::read_dir(store.join("tmp")).unwrap().count();
    assert_eq!(left, 0, "{when}: what was half-written is still there");
}

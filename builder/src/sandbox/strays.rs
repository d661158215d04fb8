//! Processes that outlive their step where no PID namespace ends them.

use rustix::process::{Pid, Signal, WaitOptions};

/// Kills every child of this process that is not in `keep`, and theirs, which come to be its own as it is their
/// reaper. Ends when none is left.
pub(super) fn kill(keep: &[Pid]) {
    // A process can fork between two looks, but not faster than it is killed for ever.
    for _ in 0..1000 {
        let strays: Vec<Pid> = children().into_iter().filter(|pid| !keep.contains(pid)).collect();
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
        }
    }
}

fn children() -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            (parent == own).then(|| Pid::from_raw(pid)).flatten()
        })
        .collect()
}

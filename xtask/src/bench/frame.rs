//! What benchmarks share: commands that are run in turn, medians of what they cost, ratios, a table and JSON.
//!
//! Ratios of two programs in one run say the same on a fast machine and a slow one. Other work on the machine changes
//! wall time more than processor time, so both are shown; the bounds are about wall time.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use xtask::target_directory;

use super::sys;

/// What a command cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Seconds from start to end.
    pub(super) wall: f64,
    /// Seconds of processor time, of all threads and children together.
    pub(super) processor: f64,
    /// The largest resident set, in bytes, of the process itself.
    pub(super) memory: u64,
}

/// Makes a command anew for each round, with what it needs to find. Making it is not measured.
pub(super) type Contender<'a> = &'a mut dyn FnMut() -> Result<Command>;

/// Runs each contender once unmeasured and then in turn for some rounds. Returns the median of what each cost.
pub(super) fn compare<const N: usize>(
    rounds: usize,
    mut contenders: [Contender<'_>; N],
) -> Result<[Cost; N]> {
    let mut costs: [Vec<Cost>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..=rounds {
        for (contender, costs) in contenders.iter_mut().zip(&mut costs) {
            let cost = once(contender()?)?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    Ok(costs.map(|costs| Cost {
        wall: median(costs.iter().map(|cost| cost.wall)),
        processor: median(costs.iter().map(|cost| cost.processor)),
        memory: costs.iter().map(|cost| cost.memory).max().unwrap_or(0),
    }))
}

/// Runs a command to its end, without output. What others left to be written to disks is written before.
pub(super) fn once(mut command: Command) -> Result<Cost> {
    Command::new("sync").status().context("cannot start sync")?;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let ended = sys::wait(&child).with_context(|| format!("cannot wait for {command:?}"))?;
    if !ended.status.success() {
        bail!("{command:?} failed ({})", ended.status);
    }
    Ok(Cost { wall: started.elapsed().as_secs_f64(), processor: ended.processor, memory: ended.memory })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// One comparison.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What was done.
    pub(super) what: String,
    /// The other program, as people know it.
    pub(super) beside: String,
    /// What rbuild cost.
    pub(super) ours: Cost,
    /// What the other program cost; `None` where only memory is asked about.
    pub(super) theirs: Option<Cost>,
    /// The largest ratio of wall times that is good enough.
    pub(super) bound: Option<f64>,
}

impl Line {
    fn ratios(&self) -> Option<(f64, f64)> {
        let theirs = self.theirs?;
        Some((self.ours.wall / theirs.wall, self.ours.processor / theirs.processor))
    }
}

/// What a benchmark found.
#[derive(Debug)]
pub(super) struct Report {
    /// The benchmark's name.
    pub(super) name: &'static str,
    /// Its comparisons.
    pub(super) lines: Vec<Line>,
}

impl Report {
    /// Prints the table, and writes the same as JSON to `target/xtask/bench-<name>.json`.
    pub(super) fn show(&self) -> Result<()> {
        println!("{}", self.table());
        let directory = target_directory().join("xtask");
        fs::create_dir_all(&directory)?;
        let file = directory.join(format!("bench-{}.json", self.name));
        fs::write(&file, format!("{:#}\n", self.json()))?;
        println!("{}", file.display());
        Ok(())
    }

    fn table(&self) -> String {
        let mut text = format!(
            "{:<34} {:<22} {:>8} {:>8} {:>6} {:>6} {:>6} {:>8}\n",
            self.name, "beside", "ours s", "theirs s", "ratio", "bound", "cpu", "peak MB"
        );
        for line in &self.lines {
            let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
            text += &format!(
                "{:<34} {:<22} {:>8.3} {:>8} {:>6} {:>6} {:>6} {:>8.1}\n",
                line.what,
                line.beside,
                line.ours.wall,
                line.theirs.map_or("-".to_owned(), |theirs| format!("{:.3}", theirs.wall)),
                or_dash(line.ratios().map(|(wall, _)| wall)),
                or_dash(line.bound),
                or_dash(line.ratios().map(|(_, processor)| processor)),
                megabytes(line.ours.memory),
            );
        }
        text
    }

    fn json(&self) -> Value {
        let cost = |cost: &Cost| json!({"seconds": cost.wall, "processorSeconds": cost.processor, "peakBytes": cost.memory});
        let line = |line: &Line| {
            json!({
                "what": line.what,
                "beside": line.beside,
                "ours": cost(&line.ours),
                "theirs": line.theirs.as_ref().map(cost),
                "ratio": line.ratios().map(|(wall, _)| wall),
                "processorRatio": line.ratios().map(|(_, processor)| processor),
                "bound": line.bound,
            })
        };
        json!({"benchmark": self.name, "lines": self.lines.iter().map(line).collect::<Vec<_>>()})
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_what_was_measured() {
        for (values, wanted) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0, 2.0, 3.0], 2.5), (&[], 0.0)] {
            assert!((median(values.iter().copied()) - wanted).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn a_command_is_charged_with_what_its_children_do() {
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 50000000 /dev/zero | sha256sum"]);
        let cost = once(command).unwrap();
        assert!(cost.processor > 0.0 && cost.wall > 0.0 && cost.memory > 100_000, "{cost:?}");
        let mut failing = Command::new("sh");
        failing.args(["-c", "exit 3"]);
        assert!(once(failing).is_err());
    }
}

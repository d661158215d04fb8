//! Random small projects and random edits: the cached build equals the one that uses no stored result, and a step runs
//! only if something that it reads was never seen before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::lab::{Lab, as_caller};

/// How long random projects are tried. A slow machine tries fewer of them.
const BUDGET: Duration = Duration::from_secs(8);
const FEWEST: usize = 3;
const EDITS: usize = 3;

#[test]
fn cached_builds_equal_fresh_ones() {
    as_caller(&[], |lab| {
        let begun = Instant::now();
        let mut tried = 0;
        while tried < FEWEST || begun.elapsed() < BUDGET {
            tried += 1;
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ tried as u64);
            let mut project = Project::new(&mut random);
            // Each project has a store of its own: what the model has not seen, nobody has.
            let store = format!("store-{tried}");
            let mut seen = BTreeSet::new();
            for edit in 0..=EDITS {
                let what = format!("project {tried}, edit {edit}:\n{}", project.dockerfile());
                project.write(lab);
                let cached = id(lab, &store, &[]);
                for (name, key) in missed(lab, &store, &project) {
                    assert!(
                        !seen.contains(&key),
                        "`{name}` ran although nothing that it reads is new\n{what}"
                    );
                }
                seen.extend(project.keys().into_values());
                assert_eq!(cached, id(lab, &store, &["--no-cache"]), "{what}");
                assert_eq!(cached, id(lab, &store, &[]), "{what}");
                project.edit(&mut random);
            }
        }
    });
}

/// The image id of a build. Times are fixed, so that equal content is an equal image.
fn id(lab: &Lab, store: &str, words: &[&str]) -> String {
    let mut command = lab.command(&["build", "-q"]);
    command
        .args(words)
        .arg(".")
        .env("RBUILD_ROOT", lab.path("home").join(store))
        .env("SOURCE_DATE_EPOCH", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The steps of the last build that were no hits, with what the model says of what they read.
fn missed(lab: &Lab, store: &str, project: &Project) -> Vec<(String, String)> {
    let mut command = lab.command(&["why", "--format", "json"]);
    let output = command.env("RBUILD_ROOT", lab.path("home").join(store)).output().unwrap();
    let steps: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = project.keys();
    let miss = |step: &&serde_json::Value| step["cache"] != "hit";
    let found = steps.as_array().unwrap().iter().filter(miss).map(|step| {
        let line = usize::try_from(step["line"].as_u64().unwrap()).unwrap();
        (step["name"].as_str().unwrap().to_owned(), keys[&line].clone())
    });
    found.collect()
}

const FILES: [&str; 4] = ["a", "b", "d/x", "d/y"];

/// A Dockerfile and its context.
struct Project {
    files: BTreeMap<&'static str, u64>,
    stages: Vec<Stage>,
}

struct Stage {
    busybox: bool,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Copy(&'static str, u64),
    /// From an earlier stage, by distance; each stage makes `/s`.
    CopyFrom(usize, u64),
    Workdir(u64),
    Env(u64),
    Run(u64),
}

impl Project {
    fn new(random: &mut Random) -> Self {
        let files = FILES.into_iter().map(|name| (name, random.below(3))).collect();
        let stages = (0..=random.below(3)).map(|_| Stage::new(random)).collect();
        Self { files, stages }
    }

    fn edit(&mut self, random: &mut Random) {
        match random.below(5) {
            0 => {
                let at = random.index(self.stages.len());
                let stage = &mut self.stages[at];
                let step = Step::new(random, stage.busybox);
                stage.steps.insert(random.index(stage.steps.len() + 1), step);
            }
            1 => {
                let at = random.index(self.stages.len());
                let stage = &mut self.stages[at];
                if !stage.steps.is_empty() {
                    stage.steps.remove(random.index(stage.steps.len()));
                }
            }
            // Mostly files change, sometimes to what they were.
            _ => {
                let name = FILES[random.index(FILES.len())];
                self.files.insert(name, random.below(3));
            }
        }
    }

    fn write(&self, lab: &Lab) {
        for (name, content) in &self.files {
            lab.write(name, content.to_string());
        }
        lab.write("Dockerfile", self.dockerfile());
    }

    fn dockerfile(&self) -> String {
        let mut text = String::new();
        for (at, stage) in self.stages.iter().enumerate() {
            let _ =
                writeln!(text, "FROM {} AS stage{at}", if stage.busybox { "busybox:1" } else { "scratch" });
            let _ = writeln!(text, "COPY a /s");
            for step in &stage.steps {
                let _ = writeln!(text, "{}", step.text(at));
            }
        }
        text
    }

    /// For each line with a step what it reads, as the model sees it: its text, the files, and what came before.
    fn keys(&self) -> BTreeMap<usize, String> {
        let mut keys = BTreeMap::new();
        let mut ends: Vec<String> = Vec::new();
        let mut line = 0;
        for (at, stage) in self.stages.iter().enumerate() {
            line += 1;
            let mut below = format!("{}", stage.busybox);
            keys.insert(line, "a base image is always a hit".to_owned());
            let first = Step::Copy("a", u64::MAX);
            for step in std::iter::once(&first).chain(&stage.steps) {
                line += 1;
                let read = match step {
                    Step::Copy("d", _) => format!("{}{}", self.files["d/x"], self.files["d/y"]),
                    Step::Copy(name, _) => self.files[name].to_string(),
                    Step::CopyFrom(back, _) => {
                        at.checked_sub(1 + back).map_or(String::new(), |from| ends[from].clone())
                    }
                    Step::Workdir(_) | Step::Env(_) | Step::Run(_) => String::new(),
                };
                below = format!("({below} {} {read})", step.text(at));
                keys.insert(line, below.clone());
            }
            ends.push(below);
        }
        keys
    }
}

impl Stage {
    fn new(random: &mut Random) -> Self {
        let busybox = random.below(3) == 0;
        let steps = (0..random.below(4)).map(|_| Step::new(random, busybox)).collect();
        Self { busybox, steps }
    }
}

impl Step {
    fn new(random: &mut Random, busybox: bool) -> Self {
        let place = random.below(3);
        match random.below(if busybox { 6 } else { 5 }) {
            0 => Self::Copy(["a", "b", "d"][random.index(3)], place),
            1 => Self::Copy("d", place),
            2 => Self::CopyFrom(random.index(2), place),
            3 => Self::Workdir(place),
            4 => Self::Env(place),
            _ => Self::Run(place),
        }
    }

    fn text(&self, stage: usize) -> String {
        match self {
            Self::Copy(_, u64::MAX) => "COPY a /s".to_owned(),
            Self::Copy(name, place) => format!("COPY {name} /copied{place}/"),
            Self::CopyFrom(back, place) => match stage.checked_sub(1 + back) {
                Some(from) => format!("COPY --from=stage{from} /s /from{place}"),
                // The first stages have nobody to copy from.
                None => format!("WORKDIR /none{place}"),
            },
            Self::Workdir(place) => format!("WORKDIR /dir{place}"),
            Self::Env(value) => format!("ENV VALUE={value}"),
            Self::Run(place) => format!(
                "RUN echo $VALUE > /run{place}; find / -xdev -type f | grep -c copied >> /run{place} || true"
            ),
        }
    }
}

/// Xorshift: the same projects every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % limit
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }
}

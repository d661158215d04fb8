//! Which stages need which.

use std::collections::{HashMap, HashSet, VecDeque};

use super::globals::Globals;
use super::{Dockerfile, InstructionKind, StageName};

/// The stages of a file with what each starts from.
pub struct StageGraph<'a> {
    dockerfile: &'a Dockerfile,
    starts: Vec<Start>,
    named: HashMap<&'a StageName, usize>,
}

/// What a stage starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The image of its `FROM`, expanded; empty where it cannot be.
    pub image: String,
    /// The stage that has this name: the last one of it above.
    pub stage: Option<usize>,
}

impl<'a> StageGraph<'a> {
    /// Reads every `FROM`. Cost: linear in the file.
    pub fn new(dockerfile: &'a Dockerfile, globals: &Globals) -> Self {
        let mut above: HashMap<&StageName, usize> = HashMap::new();
        let mut starts = Vec::with_capacity(dockerfile.stages.len());
        for stage in &dockerfile.stages {
            let image = globals.expand(&stage.image, dockerfile.directives.escape);
            let image = image.map(|expanded| expanded.text).unwrap_or_default();
            // Names of stages are in lower case, whatever AS says, and unlike `--from` a FROM has to write them so.
            let name = StageName::new(&image).filter(|name| name.as_str() == image);
            let earlier = name.and_then(|name| above.get(&name).copied());
            starts.push(Start { image, stage: earlier });
            if let Some(name) = &stage.name {
                above.insert(name, stage.index);
            }
        }
        // The map has the last stage of each name now.
        Self { dockerfile, starts, named: above }
    }

    /// What a stage starts from.
    pub fn start(&self, index: usize) -> &Start {
        &self.starts[index]
    }

    /// The stage that `--target` and `COPY --from` mean: by name, or by number.
    pub fn find(&self, name: &str) -> Option<usize> {
        let number = name.parse().ok().filter(|index| *index < self.starts.len());
        number.or_else(|| self.named(name))
    }

    /// The stage of a name, the last one if several share it.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.named.get(&StageName::new(name)?).copied()
    }

    /// A stage and all that it needs, the nearest first. Names for which `replaced` is true stand for something else
    /// than a stage. A stage only ever needs those above it, so that in the order of their numbers each stands after
    /// what it needs; one that stands below is a mistake of the file and not looked at.
    pub fn needed(&self, index: usize, replaced: impl Fn(&str) -> bool) -> Vec<usize> {
        let mut needed = Vec::new();
        let mut seen = HashSet::new();
        let mut queue = VecDeque::from([index]);
        while let Some(index) = queue.pop_front() {
            if !seen.insert(index) {
                continue;
            }
            needed.push(index);
            let start = &self.starts[index];
            queue.extend(start.stage.filter(|_| !replaced(&start.image)));
            for instruction in &self.dockerfile.stages[index].instructions {
                match &instruction.kind {
                    InstructionKind::Copy(copy) => {
                        let from = copy.from.as_ref().filter(|from| !replaced(&from.text));
                        let stage = from.and_then(|from| self.find(&from.text));
                        queue.extend(stage.filter(|stage| *stage < index));
                    }
                    InstructionKind::Run(run) => {
                        let names = run.mount_origins().filter(|name| !replaced(name));
                        queue
                            .extend(names.filter_map(|name| self.named(name)).filter(|stage| *stage < index));
                    }
                    _ => {}
                }
            }
        }
        needed
    }
}

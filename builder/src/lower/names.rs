//! Names of stages and steps.

use crate::dockerfile::ast::{Dockerfile, InstructionKind, Stage};

/// A stage as people read it: its name, or `stage-2`.
pub(super) fn stage(stage: &Stage) -> String {
    stage.name.as_ref().map_or_else(|| format!("stage-{}", stage.index), ToString::to_string)
}

/// The stage before `index` that a FROM of that name means, the last one if several share the name. Names of stages
/// are in lower case, whatever AS says, and unlike `--from` a FROM has to write them so.
pub(super) fn earlier_stage(dockerfile: &Dockerfile, index: usize, name: &str) -> Option<usize> {
    let earlier = &dockerfile.stages[..index];
    earlier.iter().rposition(|stage| stage.name.as_ref().is_some_and(|own| own.as_str() == name))
}

/// Counts the steps of a stage, for `[build 2/4]`.
#[derive(Debug, Clone)]
pub(super) struct Numbering {
    stage: Option<String>,
    next: usize,
    total: usize,
}

impl Numbering {
    /// The numbering of a stage; `from` is whether its FROM counts, since it names an image.
    pub(super) fn of(dockerfile: &Dockerfile, own: &Stage, from: bool) -> Self {
        let steps = own.instructions.iter().filter(|instruction| {
            matches!(
                instruction.kind,
                InstructionKind::Run(_)
                    | InstructionKind::Copy(_)
                    | InstructionKind::Add(_)
                    | InstructionKind::Workdir(_)
            )
        });
        let named = own.name.is_some() || dockerfile.stages.len() > 1;
        Self { stage: named.then(|| stage(own)), next: 1, total: steps.count() + usize::from(from) }
    }

    /// The next step's name.
    pub(super) fn name(&mut self, text: &str) -> String {
        // Triggers of a base image are steps too, which nobody counted before.
        self.total = self.total.max(self.next);
        let width = self.total.to_string().len();
        let (next, total) = (self.next, self.total);
        self.next += 1;
        match &self.stage {
            Some(stage) => format!("[{stage} {next:>width$}/{total}] {text}"),
            None => format!("[{next:>width$}/{total}] {text}"),
        }
    }
}

//! Names of stages and steps.

use layer_store::Platform;

use crate::dockerfile::ast::{Dockerfile, InstructionKind, Stage};

/// A stage as people read it: its name, or `stage-2`.
pub(super) fn stage(stage: &Stage) -> String {
    stage.name.as_ref().map_or_else(|| format!("stage-{}", stage.index), ToString::to_string)
}

/// Counts the steps of a stage, for `[build 2/4]`.
#[derive(Debug, Clone)]
pub(super) struct Numbering {
    stage: Option<String>,
    next: usize,
    total: usize,
}

impl Numbering {
    /// The numbering of a stage; `from` is whether its FROM counts, since it names an image. `platform` stands in front
    /// where the build has several.
    pub(super) fn of(dockerfile: &Dockerfile, own: &Stage, from: bool, platform: Option<&Platform>) -> Self {
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
        let words = [platform.map(ToString::to_string), named.then(|| stage(own))];
        let words: Vec<String> = words.into_iter().flatten().collect();
        Self {
            stage: (!words.is_empty()).then(|| words.join(" ")),
            next: 1,
            total: steps.count() + usize::from(from),
        }
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

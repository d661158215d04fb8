//! Which stages are needed, and in which order they are worked out.

use std::collections::HashSet;

use super::stage::StageState;
use super::{Lowering, at};
use crate::dockerfile::Span;
use crate::error::{Error, Result};
use crate::graph::NodeId;

/// Triggers may need stages whose own triggers need stages, so deep at most.
const MAX_DEPTH: usize = 50;

impl Lowering<'_> {
    /// A stage and all that it needs, in the order of the file.
    pub(super) fn needed(&self, index: usize) -> Vec<usize> {
        let mut needed = self.stages.needed(index, |name| self.named_context(name).is_some());
        needed.sort_unstable();
        needed
    }

    /// Works out a stage and all that it needs, in the order of the file: each stands below what it needs, so that a
    /// chain of stages of any length is a loop and not a recursion.
    pub(super) async fn work_out(&mut self, index: usize) -> Result<()> {
        let needed = self.unfinished(&self.needed(index));
        for index in &needed {
            if let Some(base) = self.base_stage(*index) {
                *self.heirs.entry(base).or_default() += 1;
            }
        }
        self.prefetch(&needed);
        for index in needed {
            self.open.push(index);
            let state = self.lower_stage(&self.dockerfile.stages[index]).await?;
            self.open.pop();
            self.nodes.insert(index, state.node);
            if self.heirs.contains_key(&index) {
                self.finished.insert(index, state);
            }
        }
        Ok(())
    }

    /// Which of these stages are still to be worked out, and which again: a stage that nothing more started from was
    /// dropped, and then a trigger named another heir. Working it out again finds the same nodes.
    pub(super) fn unfinished(&self, needed: &[usize]) -> Vec<usize> {
        let mut bases = HashSet::new();
        let mut list: Vec<usize> = Vec::new();
        for index in needed.iter().rev() {
            let dropped = bases.contains(index) && !self.finished.contains_key(index);
            if dropped || !self.nodes.contains_key(index) {
                bases.extend(self.base_stage(*index));
                list.push(*index);
            }
        }
        list.reverse();
        list
    }

    /// The stage that a stage starts from, unless a named context stands in its place.
    pub(super) fn base_stage(&self, index: usize) -> Option<usize> {
        let start = self.stages.start(index);
        start.stage.filter(|_| self.named_context(&start.image).is_none())
    }

    /// What a finished stage became, for one that starts from it: the last of them takes it without a copy.
    pub(super) fn inherit(&mut self, index: usize) -> Result<StageState> {
        let heirs = self.heirs.get_mut(&index).filter(|heirs| **heirs > 1);
        let state = match heirs {
            Some(heirs) => {
                *heirs -= 1;
                self.finished.get(&index).cloned()
            }
            None => {
                self.heirs.remove(&index);
                self.finished.remove(&index)
            }
        };
        state.ok_or_else(|| Error::Internal(format!("stage {index} was used before it was worked out")))
    }

    /// The filesystem of a stage. One that only a trigger names is worked out now.
    pub(super) async fn stage_node(
        &mut self,
        index: usize,
        state: &StageState,
        span: Span,
    ) -> Result<NodeId> {
        if let Some(node) = self.nodes.get(&index) {
            return Ok(*node);
        }
        if index == state.index {
            return Err(at(span, format!("circular dependency: stage \"{}\" needs itself", state.stage)));
        }
        if self.depth == MAX_DEPTH {
            return Err(at(span, "the triggers of base images need each other's stages too deeply"));
        }
        self.depth += 1;
        let worked_out = Box::pin(self.work_out(index)).await;
        self.depth -= 1;
        worked_out?;
        self.nodes
            .get(&index)
            .copied()
            .ok_or_else(|| Error::Internal(format!("stage {index} was not worked out")))
    }
}

//! Long stacks of layers, each mounted once for all steps above it.
//!
//! Mounting an overlay takes time for each of its layers, and a step mounts two: one to see what the image has, and its
//! root. So most of the layers of a long stack become one, in a mount that lasts as long as the keeper.

use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;

use super::failure::Refused as _;
use super::memory::Memory;
use super::mounting::Overlay;
use super::report::Failure;

/// How many layers a step mounts itself.
const FEW: usize = 12;
/// How many stacks are kept. The builds of one process have few different bases.
const KEPT: usize = 4;

/// The stacks that are mounted in this process's mount namespace, which steps get a copy of.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    kept: Vec<Stack>,
    made: usize,
    /// An overlay cannot be a layer of another here, as where the store is in an overlay itself.
    refused: bool,
}

/// The lowest layers of a step.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// Their trees, bottom first.
    layers: Vec<PathBuf>,
    /// Where they are mounted.
    mount: PathBuf,
}

impl Stack {
    /// What a step over `lowers`, which begin with this stack's, mounts on top of it.
    pub(super) fn others<'a>(&self, lowers: &'a [PathBuf]) -> &'a [PathBuf] {
        &lowers[self.layers.len()..]
    }

    /// Where it is mounted.
    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }
}

impl Stacks {
    /// The stack that is to be the lowest layer of a step over these trees, if they are many.
    pub(super) fn below(&mut self, memory: &mut Memory, lowers: &[PathBuf]) -> Option<Stack> {
        if self.refused || lowers.len() <= FEW {
            return None;
        }
        let fits = |stack: &Stack| lowers.starts_with(&stack.layers) && stack.others(lowers).len() <= FEW;
        if let Some(at) = self.kept.iter().position(fits) {
            // The one that was used last is dropped last.
            self.kept[at..].rotate_left(1);
        } else {
            match self.mount(memory, lowers) {
                Ok(stack) => self.kept.push(stack),
                // Steps mount all layers then, as they do with few.
                Err(_) => self.refused = true,
            }
        }
        self.kept.last().filter(|_| !self.refused).cloned()
    }

    fn mount(&mut self, memory: &mut Memory, layers: &[PathBuf]) -> Result<Stack, Failure> {
        if self.kept.len() == KEPT {
            let oldest = self.kept.remove(0);
            rustix::mount::unmount(&oldest.mount, UnmountFlags::DETACH)
                .refused_on("umount", &oldest.mount)?;
        }
        let mount = memory.directory(&format!("stack-{}", self.made))?;
        Overlay { lowers: layers.iter().map(PathBuf::as_path).collect(), upper: None }.attach(&mount)?;
        if self.made == 0 {
            let (above, empty) = (memory.directory("above")?, memory.directory("empty")?);
            Overlay { lowers: vec![&mount, &empty], upper: None }.attach(&above)?;
            rustix::mount::unmount(&above, UnmountFlags::DETACH).refused_on("umount", &above)?;
        }
        self.made += 1;
        Ok(Stack { layers: layers.to_vec(), mount })
    }
}

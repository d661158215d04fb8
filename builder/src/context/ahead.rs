//! Lists the directories of a context on several threads, for who walks them one by one afterwards.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LocalContext, threads};
use crate::copy::{Body, Tree as _, path};

/// A thread that lists fewer directories costs more than it brings.
const WORTH_A_THREAD: usize = 16;

/// Lists `top` and, level by level, what is below it in directories that `enters` takes, by their path below `top`. The
/// context remembers its listings; what cannot be listed is for who needs it to find out.
pub(super) fn list_below(context: &LocalContext, top: &[u8], enters: &(dyn Fn(&[u8]) -> bool + Sync)) {
    let mut level = vec![path::PathBytes::new()];
    while !level.is_empty() {
        let next = AtomicUsize::new(0);
        let list = || {
            let mut below = Vec::new();
            while let Some(directory) = level.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Ok(children) = context.list(&path::join(top, directory)) else { continue };
                let directories = children.iter().filter(|(_, node)| matches!(node.body, Body::Directory));
                let directories = directories.map(|(name, _)| path::child(directory, name));
                below.extend(directories.filter(|directory| enters(directory)));
            }
            below
        };
        let helpers = (level.len() / WORTH_A_THREAD).min(threads::available() - 1);
        level = threads::share(helpers, list).concat();
    }
}

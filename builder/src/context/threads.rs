//! Work on many files of a context at once.

use std::num::NonZero;
use std::sync::OnceLock;

/// Files are read in blocks and directories are short, so more threads than this wait for the disk or for each other.
const MOST: usize = 8;

/// How many threads of this machine can work on a context.
pub(super) fn available() -> usize {
    static AVAILABLE: OnceLock<usize> = OnceLock::new();
    *AVAILABLE.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST))
}

/// Calls `work` on this thread and `helpers` more, and gives what each returned.
pub(super) fn share<T: Send>(helpers: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    if helpers == 0 {
        return vec![work()];
    }
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(&work)).collect();
        let mut all = vec![work()];
        for helper in helpers {
            all.push(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

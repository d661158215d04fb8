//! Writing a tree to the disk while it is made.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// After so many bytes the disk is given what there is.
const STEP: u64 = 16 << 20;

/// Syncs a tree's filesystem now and then, in a thread of its own: who waits at the end for all of the tree to be on the
/// disk has little left to wait for. A small tree starts none.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    written: u64,
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
}

impl Behind {
    /// Takes note that a file of `bytes` was written below `place`.
    pub(super) fn wrote(&mut self, bytes: u64, place: &Path) -> io::Result<()> {
        self.written += bytes;
        if self.written < STEP {
            return Ok(());
        }
        self.written = 0;
        let (nudges, _) = match &mut self.thread {
            Some(thread) => thread,
            None => self.thread.insert(start(place)?),
        };
        // One that is on its way takes this with it, or the next.
        let _ = nudges.try_send(());
        Ok(())
    }

    /// Waits for what was begun, and fails if the disk did.
    pub(super) fn finish(self) -> io::Result<()> {
        let Some((nudges, thread)) = self.thread else { return Ok(()) };
        drop(nudges);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn start(place: &Path) -> io::Result<(SyncSender<()>, JoinHandle<io::Result<()>>)> {
    let root = File::open(place)?;
    let (nudges, nudged) = sync_channel(1);
    let thread = std::thread::Builder::new().name("write-behind".to_owned()).spawn(move || {
        for () in nudged {
            rustix::fs::syncfs(&root)?;
        }
        Ok(())
    })?;
    Ok((nudges, thread))
}

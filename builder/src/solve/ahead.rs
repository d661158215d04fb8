//! Reading what is copied later while a command runs, or while its image is on its way.

use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::sync::oneshot;

use super::sources::{Origin, request};
use super::{Solved, Solver};
use crate::error::Result;
use crate::graph::{CopyOp, CopySource, Node, Op};

/// The priority of who gives way to everybody.
const LAST: i32 = 19;

impl Solver {
    /// What a node is made of. Once the build has begun to run commands, a COPY that waits for one reads its context
    /// meanwhile; a build that has all its steps has nothing to wait for, and reads nothing here.
    pub(super) async fn solve_inputs(&self, node: &Node) -> Result<Vec<Arc<Solved>>> {
        let mut inputs = std::pin::pin!(try_join_all(node.op.inputs().into_iter().map(|id| self.solve(id))));
        let Op::Copy(copy) = &node.op else { return inputs.await };
        tokio::select! {
            biased;
            inputs = &mut inputs => return inputs,
            _ = self.inner.runs.wait() => {}
        }
        let read = self.read_ahead(copy);
        let inputs = inputs.await?;
        // It ends as soon as nothing else is to be done.
        let _ = read.await;
        Ok(inputs)
    }

    /// Reads what a COPY takes from directories of the host, in a thread that gives way to others: the stat index knows
    /// it afterwards. What goes wrong goes wrong again when the step comes to it.
    fn read_ahead(&self, op: &CopyOp) -> oneshot::Receiver<()> {
        let (done, waits) = oneshot::channel();
        let contexts = op.sources.iter().filter(|source| matches!(source, CopySource::Context { .. }));
        let origins = contexts.map(|source| self.origin(source, None));
        let origins: Vec<Origin> = origins.filter_map(|origin| origin.ok()?.ok()).collect();
        let (op, epoch) = (op.clone(), self.inner.around.epoch);
        let work = move || {
            // Of this thread only; it may stay as it is.
            let _ = rustix::process::setpriority_process(None, LAST);
            if let Ok(mut request) = request(&op, None, epoch) {
                for origin in &origins {
                    if let Ok(Some(part)) = origin.select_here(&op, &mut request) {
                        let _ = part.digest(&request);
                    }
                }
            }
            let _ = done.send(());
        };
        // Without the thread the receiver ends at once.
        let _ = std::thread::Builder::new().name("read-ahead".to_owned()).spawn(work);
        waits
    }
}

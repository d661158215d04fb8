//! Sockets of SSH agents for a step: one of its own for each, with the owner and the mode that it asked for, whose
//! connections this process carries on to the agent.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::step::{Step, StepMount};

/// The sockets of a step. Dropping it closes them.
pub(super) struct Agents(Vec<JoinHandle<()>>);

impl Agents {
    /// Makes a socket in the step's scratch directory for each agent, and names it in the agent's place.
    pub(super) fn forward(step: &mut Step) -> io::Result<Self> {
        let mut agents = Self(Vec::new());
        for (number, mount) in step.mounts.iter_mut().enumerate() {
            let StepMount::Ssh { socket, .. } = mount else { continue };
            let own = step.scratch.join(format!("agent{number}"));
            let listener = listen(&own)?;
            let agent = std::mem::replace(socket, own);
            agents.0.push(tokio::spawn(serve(listener, agent)));
        }
        Ok(agents)
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// The name of a socket has at most 108 bytes, so it is reached by its directory's descriptor.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(directory)?;
    // One of an earlier try to run the same step.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

async fn serve(listener: UnixListener, agent: PathBuf) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut ours, _)) = listener.accept().await {
        let agent = agent.clone();
        connections.spawn(async move {
            if let Ok(mut theirs) = UnixStream::connect(&agent).await {
                let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

//! RUN: finds the result under its key, or runs the command.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use layer_store::layer::DiffOptions;
use layer_store::{Digest, View};
use tokio::sync::mpsc;

use super::notes::shown;
use super::progress::StepProgress;
use super::record::{self, StepRecord};
use super::{Solved, Solver, UsedMount, key};
use crate::cache_mount;
use crate::copy::Owner;
use crate::error::{Error, Result};
use crate::event::{Outcome, Stream};
use crate::graph::{Exec, ExecMountKind, ExecSettings, NodeId, Volume};
use crate::sandbox::{
    ExitStatus, Finished, MountSource, Output, SecretBytes, Shortage, Step, StepMount, StepUser, Ulimit,
};
use crate::task;
use crate::users;

/// How many of the last lines of output an error shows.
const TAIL_LINES: usize = 20;

impl Solver {
    pub(super) async fn exec(&self, id: NodeId, exec: &Exec, inputs: &[Arc<Solved>]) -> Result<Solved> {
        let inner = &self.inner;
        let node = inner.graph.node(id);
        let below = inputs[0].layers.clone();
        let stacks: Vec<&[Digest]> = inputs[1..].iter().map(|input| input.layers.as_slice()).collect();
        let shown = shown(&stacks);
        let key = key::exec(exec, &below, &shown, inner.around.epoch);
        if let Some(known) = self.known(id, key).await? {
            return Ok(stacked(below, known, true));
        }
        let ready = Instant::now();
        // Another process may be at the same step: one runs it, the others take its result.
        let store = inner.around.store.clone();
        let _lock = task::blocking(move || Ok(store.lock(record::SPACE, &key)?)).await?;
        if let Some(known) = self.known(id, key).await? {
            return Ok(stacked(below, known, true));
        }
        self.missed(id, self.exec_inputs(id, exec, &below, &shown));
        let _permit = inner.jobs.acquire().await.map_err(|error| Error::Internal(error.to_string()))?;
        let progress = inner.progress.begin_late(&node.name, ready);
        let result = self.run(exec, inputs, &below, &progress).await;
        let diff_id = match result {
            Ok(diff_id) => diff_id,
            Err(error) => {
                progress.finish(if matches!(error, Error::Cancelled) {
                    Outcome::Cancelled
                } else {
                    Outcome::Failed
                });
                return Err(error);
            }
        };
        let known =
            StepRecord { diff_id, created: crate::image::now(), name: node.name.clone(), shared: false };
        let (solver, kept) = (self.clone(), known.clone());
        task::blocking(move || solver.keep(id, &key, &kept)).await?;
        progress.finish(Outcome::Done);
        Ok(stacked(below, known, false))
    }

    async fn run(
        &self,
        exec: &Exec,
        inputs: &[Arc<Solved>],
        below: &[Digest],
        progress: &StepProgress,
    ) -> Result<Digest> {
        let inner = &self.inner;
        let _ = inner.runs.set(());
        // First, since what trees are like depends on the rung.
        let sandbox = inner.around.sandbox.get().await?.clone();
        // What comes from a registry comes as a tree, which leaves the index as well.
        let lowers = inner.layers.trees(below).await?;
        let view = inner.layers.view(below).await?;
        let user = self.user(exec, &view).await?;
        let mounts = self.mounts(exec, &inputs[1..]).await?;
        let store = inner.around.store.clone();
        let scratch = task::blocking(move || Ok(store.scratch()?)).await?;
        let ambient = || exec.ambient_env.iter().map(String::as_str);
        let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let covered: Vec<String> = ambient().map(name).collect();
        let own = exec.env.pairs().filter(|pair| !covered.contains(&name(pair)));
        let mut env: Vec<OsString> = own.chain(ambient()).map(OsString::from).collect();
        env.extend(mounts.env);
        if exec.env.value("HOME").is_none() {
            env.push(format!("HOME={}", user.home).into());
        }
        let mut step = Step {
            lowers,
            scratch: scratch.path().to_owned(),
            mounts: mounts.mounts,
            argv: exec.argv.iter().map(OsString::from).collect(),
            env,
            cwd: PathBuf::from(&exec.cwd),
            user: StepUser { uid: user.uid, gid: user.gid, groups: user.groups },
            network: exec.network.of_step(),
            insecure: exec.insecure,
            ..Step::default()
        };
        settle(&mut step, &exec.settings)?;
        let failed = inner.around.on_failure.as_ref().map(|look| (look, shell_of(&step)));
        let (sender, receiver) = mpsc::channel(64);
        let limit = inner.around.step_timeout;
        // What is dropped is killed.
        let run = async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, sandbox.run(step, sender)).await.ok(),
                None => Some(sandbox.run(step, sender).await),
            }
        };
        let (finished, tail) = tokio::join!(run, follow(receiver, progress));
        let Some(finished) = finished else {
            let seconds = limit.map_or(0, |limit| limit.as_secs());
            return Err(Error::Command {
                command: command_text(exec),
                ending: format!("was stopped: it took longer than {seconds} s"),
                tail: tail.into(),
            });
        };
        let Finished { status, changed, shortage, owners } = finished?;
        if !status.is_success() {
            if let Some((look, shell)) = failed {
                look.look(&command_text(exec), &sandbox, shell).await;
            }
            return Err(Error::Command {
                command: command_text(exec),
                ending: ending(status, shortage),
                tail: tail.into(),
            });
        }
        let options = DiffOptions { clamp_mtime: inner.around.epoch, owners };
        let diff_id = sandbox.commit(&changed, below, options).await?;
        drop(mounts.locks);
        // Removing files blocks.
        task::blocking(move || {
            drop(scratch);
            Ok(())
        })
        .await?;
        Ok(diff_id)
    }

    async fn user(&self, exec: &Exec, view: &View) -> Result<users::RunUser> {
        let (store, view, user) = (self.inner.around.store.clone(), view.clone(), exec.user.clone());
        task::blocking(move || Ok(users::run_user(&store, &view, &user)?)).await
    }

    async fn mounts(&self, exec: &Exec, inputs: &[Arc<Solved>]) -> Result<Mounts> {
        let inner = &self.inner;
        let mut inputs = inputs.iter();
        let mut all = Mounts::default();
        for mount in &exec.mounts {
            let target = PathBuf::from(&mount.target);
            match &mount.kind {
                ExecMountKind::Bind { source, writable, .. } => {
                    let Some(input) = inputs.next() else { continue };
                    let lowers = inner.layers.trees(&input.layers).await?;
                    let subpath = PathBuf::from(source.trim_start_matches('/'));
                    let source = MountSource::Layers { lowers, subpath };
                    all.mounts.push(StepMount::Bind { source, target, readonly: !writable });
                }
                ExecMountKind::Cache { id, from, source, sharing, readonly, mode, uid, gid } => {
                    let seed = match from.and_then(|_| inputs.next()) {
                        Some(input) => {
                            let view = inner.layers.view(&input.layers).await?;
                            inner.layers.bytes(&input.layers).await?;
                            Some((view, source.clone()))
                        }
                        None => None,
                    };
                    let mut request = cache_mount::Request {
                        id: id.clone(),
                        imported: None,
                        seed,
                        sharing: *sharing,
                        mode: *mode,
                        uid: *uid,
                        gid: *gid,
                    };
                    let key = request.key();
                    request.imported = self.imported_mount(&key).await;
                    let store = inner.around.store.clone();
                    let cache = task::blocking(move || cache_mount::open(&store, &request)).await?;
                    if inner.around.cache_mounts && !readonly {
                        let owner = Owner { uid: *uid, gid: *gid };
                        self.note_mount(key, UsedMount { path: cache.path.clone(), name: id.clone(), owner });
                    }
                    // Without a seed, `source` names a directory of the cache itself.
                    let subpath = if from.is_some() { "" } else { source.trim_start_matches('/') };
                    all.mounts.push(StepMount::Cache {
                        source: cache.path,
                        subpath: PathBuf::from(subpath),
                        target,
                        readonly: *readonly,
                    });
                    all.locks.extend(cache.lock);
                }
                ExecMountKind::Tmpfs { size } => all.mounts.push(StepMount::Tmpfs { target, size: *size }),
                ExecMountKind::Secret { id, required, mode, uid, gid, env, file } => {
                    let secret = inner.around.secrets.read(id)?;
                    if *required && secret.is_none() {
                        return Err(Error::Invalid {
                            message: format!("the secret `{id}` is required and was not given"),
                            help: Some(format!(
                                "pass `--secret id={id},src=FILE` or `--secret id={id},env=NAME`"
                            )),
                        });
                    }
                    if let Some(name) = env {
                        use std::os::unix::ffi::OsStringExt as _;
                        let value = secret.as_deref().unwrap_or_default();
                        all.env.push(OsString::from_vec([name.as_bytes(), b"=", value].concat()));
                    }
                    if let (Some(bytes), true) = (secret, *file) {
                        let bytes = SecretBytes(Bytes::from(bytes));
                        all.mounts.push(StepMount::Secret {
                            bytes,
                            target,
                            mode: *mode,
                            uid: *uid,
                            gid: *gid,
                        });
                    }
                }
                ExecMountKind::Ssh { id, required, mode, uid, gid } => {
                    // Also without an agent, as in BuildKit.
                    all.env.push(format!("SSH_AUTH_SOCK={}", mount.target).into());
                    let Some(socket) = inner.around.secrets.agents.get(id) else {
                        if *required {
                            return Err(Error::Invalid {
                                message: format!("the SSH agent `{id}` is required and was not given"),
                                help: Some(format!("pass `--ssh {id}`")),
                            });
                        }
                        continue;
                    };
                    let socket = socket.clone();
                    all.mounts.push(StepMount::Ssh { socket, target, mode: *mode, uid: *uid, gid: *gid });
                }
            }
        }
        Ok(all)
    }
}

impl Solver {
    /// What shared caches have of a cache mount that is new here. That they have nothing, or do not give it, is no
    /// failure: the directory begins empty.
    async fn imported_mount(&self, key: &Digest) -> Option<View> {
        let around = &self.inner.around;
        let shared = around.shared.as_ref().filter(|_| around.cache_mounts)?;
        if cache_mount::exists(&around.store, key) {
            return None;
        }
        let offer = shared.find(key).await?;
        let (layer, place) = (offer.record.diff_id, offer.place.clone());
        let layers = &self.inner.layers;
        layers.offer(offer);
        let bring = async {
            layers.bytes(&[layer]).await?;
            layers.view(&[layer]).await
        };
        match bring.await {
            Ok(view) => Some(view),
            Err(error) => {
                shared.distrust(&place.to_string(), &error.to_string());
                None
            }
        }
    }
}

/// A shell in the place of a step's command: its own, if it ran in one.
fn shell_of(step: &Step) -> Step {
    let shell = match step.argv.as_slice() {
        [shell, flag, _] if flag == "-c" => shell.clone(),
        _ => "/bin/sh".into(),
    };
    Step { argv: vec![shell], ..step.clone() }
}

/// Settings of the whole build, for one step.
pub(crate) fn settle(step: &mut Step, settings: &ExecSettings) -> Result<()> {
    let limit = |limit: u64| (limit != u64::MAX).then_some(limit);
    let ulimit = |(name, soft, hard): &(String, u64, u64)| Ulimit {
        name: name.clone(),
        soft: limit(*soft),
        hard: limit(*hard),
    };
    step.ulimits = settings.ulimits.iter().map(ulimit).collect();
    if let Some(hostname) = &settings.hostname {
        step.hostname.clone_from(hostname);
    }
    if let Some(size) = settings.shm_size {
        step.shm_size = size;
    }
    for (name, address) in &settings.extra_hosts {
        let address = address
            .parse()
            .map_err(|_| Error::invalid(format!("`{address}` (--add-host {name}) is not an IP address")))?;
        step.extra_hosts.push((name.clone(), address));
    }
    step.cap_add.clone_from(&settings.cap_add);
    step.cap_drop.clone_from(&settings.cap_drop);
    step.devices.clone_from(&settings.devices);
    step.no_new_privileges = settings.no_new_privileges;
    step.unfiltered = settings.unfiltered;
    step.limits = settings.limits.clone();
    // What lies deeper goes on top of them.
    let volume = |volume: &Volume| StepMount::Cache {
        source: volume.host.clone(),
        subpath: PathBuf::new(),
        target: PathBuf::from(&volume.target),
        readonly: volume.readonly,
    };
    step.mounts.splice(0..0, settings.volumes.iter().map(volume));
    Ok(())
}

/// What a command sees beside its filesystem.
#[derive(Default)]
struct Mounts {
    mounts: Vec<StepMount>,
    env: Vec<OsString>,
    locks: Vec<layer_store::store::Lock>,
}

/// The stack `below` with the layer of a record on top.
pub(super) fn stacked(mut below: Vec<Digest>, record: StepRecord, cached: bool) -> Solved {
    below.push(record.diff_id);
    Solved { layers: below, created: Some(record.created), cached }
}

/// Reports output as it comes and keeps its last lines.
async fn follow(mut receiver: mpsc::Receiver<(Output, Bytes)>, progress: &StepProgress) -> VecDeque<String> {
    let mut tail = Tail::default();
    while let Some((output, bytes)) = receiver.recv().await {
        let stream = if output == Output::Stdout { Stream::Stdout } else { Stream::Stderr };
        progress.output(stream, &bytes);
        tail.take(&bytes);
    }
    tail.finish()
}

/// The last lines of what passes, in bounded memory.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

impl Tail {
    /// A longer line is cut here in the error; the log has it whole.
    const LINE_LIMIT: usize = 4096;

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = Self::LINE_LIMIT.saturating_sub(self.partial.len());
            let (text, ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        let line = String::from_utf8_lossy(&self.partial);
        self.lines.push_back(line.trim_end_matches('\r').to_owned());
        self.partial.clear();
    }

    fn finish(mut self) -> VecDeque<String> {
        if !self.partial.is_empty() {
            self.end_line();
        }
        self.lines
    }
}

/// The command as written: without the shell in front of a shell form.
fn command_text(exec: &Exec) -> String {
    match exec.argv.as_slice() {
        [_, flag, text] if flag == "-c" => text.clone(),
        argv => argv.join(" "),
    }
}

fn ending(status: ExitStatus, shortage: Option<Shortage>) -> String {
    let text = match status {
        ExitStatus::Code(127) => "exited with status 127 (command not found)".to_owned(),
        ExitStatus::Code(126) => "exited with status 126 (not executable)".to_owned(),
        ExitStatus::Code(code) => format!("exited with status {code}"),
        ExitStatus::Signal(number) => match crate::signal::name(number) {
            Some(name) => format!("was killed by signal {number} ({name})"),
            None => format!("was killed by signal {number}"),
        },
    };
    match shortage {
        Some(shortage) => format!("{text}: {shortage}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines() {
        let mut tail = Tail::default();
        for n in 0..50 {
            tail.take(format!("line {n}\r\n").as_bytes());
        }
        tail.take(b"no ");
        tail.take(b"end");
        let lines = tail.finish();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines.back().map(String::as_str), Some("no end"));
        assert_eq!(lines[TAIL_LINES - 2], "line 49");
    }
}

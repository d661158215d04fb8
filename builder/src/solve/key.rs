//! Cache keys: what a step's result depends on, length-framed and versioned.

use std::path::PathBuf;

use layer_store::Digest;
use layer_store::digest::Hasher;

use crate::graph::{CopyOp, Exec, ExecMountKind, ExecSettings, WorkdirOp};

/// Raised when the meaning of a key or the bytes of a layer change.
const VERSION: &str = "rbuild-1";

/// The identity of a stack of layers.
pub(super) fn chain(layers: &[Digest]) -> Digest {
    let mut hasher = begin("chain");
    for layer in layers {
        hasher.field(layer.as_bytes());
    }
    hasher.finish()
}

/// The key of a RUN. What does not count: proxies, the contents of secrets, addresses of extra hosts.
///
/// `mounts` has, for each bind mount and each cache that begins with something, in order, the stack of layers.
pub(super) fn exec(exec: &Exec, input: &[Digest], mounts: &[Digest], epoch: Option<i64>) -> Digest {
    let mut hasher = begin("exec");
    hasher.field(chain(input).as_bytes());
    list(&mut hasher, exec.argv.iter());
    list(&mut hasher, exec.env.pairs());
    hasher.field(&exec.cwd).field(&exec.user).field(exec.platform.to_string());
    hasher.field([exec.network as u8, u8::from(exec.insecure)]);
    hasher.field(exec.settings.hostname.as_deref().unwrap_or_default());
    hasher.field(exec.settings.shm_size.unwrap_or(0).to_le_bytes());
    hasher.field((exec.settings.extra_hosts.len() as u64).to_le_bytes());
    for (name, _) in &exec.settings.extra_hosts {
        hasher.field(name);
    }
    for (name, soft, hard) in &exec.settings.ulimits {
        hasher.field(name).field(soft.to_le_bytes()).field(hard.to_le_bytes());
    }
    privileges(&mut hasher, &exec.settings);
    let mut shown = mounts.iter();
    hasher.field((exec.mounts.len() as u64).to_le_bytes());
    for mount in &exec.mounts {
        hasher.field(&mount.target);
        match &mount.kind {
            ExecMountKind::Bind { source, writable, .. } => {
                hasher.field("bind").field(source).field([u8::from(*writable)]);
                hasher.field(shown.next().map(Digest::as_bytes).map_or(&[][..], |bytes| &bytes[..]));
            }
            // What is in a cache, and which one it is, must not matter to the result. What it begins with does.
            ExecMountKind::Cache { from, source, readonly, .. } => {
                hasher.field("cache").field([u8::from(*readonly)]);
                if let Some(stack) = from.and_then(|_| shown.next()) {
                    hasher.field(source).field(stack.as_bytes());
                }
            }
            ExecMountKind::Tmpfs { size } => {
                hasher.field("tmpfs").field(size.unwrap_or(0).to_le_bytes());
            }
            ExecMountKind::Secret { id, mode, uid, gid, env, file, .. } => {
                hasher.field("secret").field(id).field(mode.to_le_bytes());
                hasher.field(uid.to_le_bytes()).field(gid.to_le_bytes());
                hasher.field(env.as_deref().unwrap_or_default()).field([u8::from(*file)]);
            }
            ExecMountKind::Ssh { id, mode, uid, gid, .. } => {
                hasher.field("ssh").field(id).field(mode.to_le_bytes());
                hasher.field(uid.to_le_bytes()).field(gid.to_le_bytes());
            }
        }
    }
    time(&mut hasher, epoch);
    hasher.finish()
}

/// What a command may and sees beyond the ordinary, if there is anything: without, the key is as it always was.
fn privileges(hasher: &mut Hasher, settings: &ExecSettings) {
    for (what, names) in [("cap-add", &settings.cap_add), ("cap-drop", &settings.cap_drop)] {
        if !names.is_empty() {
            list(hasher.field(what), names.iter());
        }
    }
    for volume in &settings.volumes {
        hasher.field("volume").field(&volume.target).field([u8::from(volume.readonly)]);
    }
    for device in &settings.devices {
        hasher.field("device").field(device.as_os_str().as_encoded_bytes());
    }
    if settings.no_new_privileges || settings.unfiltered {
        hasher.field("security").field([u8::from(settings.no_new_privileges), u8::from(settings.unfiltered)]);
    }
}

/// The key of a COPY or ADD whose sources have these digests. Under `--link` what is below does not count.
pub(super) fn copy(copy: &CopyOp, input: &[Digest], sources: &[Digest], epoch: Option<i64>) -> Digest {
    let mut hasher = begin("copy");
    if copy.link {
        hasher.field("link");
    } else {
        hasher.field(chain(input).as_bytes());
    }
    hasher.field(&copy.destination).field(&copy.cwd);
    for option in [&copy.chown, &copy.chmod] {
        list(&mut hasher, option.iter());
    }
    hasher.field([u8::from(copy.parents), copy.unpack as u8]);
    for source in sources {
        hasher.field(source.as_bytes());
    }
    time(&mut hasher, epoch);
    hasher.finish()
}

/// What stands for a source of a COPY before its files were looked at: the stack it is in, and the patterns.
pub(super) fn source_definition(layers: &[Digest], paths: &[String], exclude: &[String]) -> Digest {
    let mut hasher = begin("source");
    hasher.field(chain(layers).as_bytes());
    list(&mut hasher, paths.iter());
    list(&mut hasher, exclude.iter());
    hasher.finish()
}

/// What stands for the files of a repository, all but those that are left out.
pub(super) fn repository(commit: Digest, exclude: &[String]) -> Digest {
    if exclude.is_empty() {
        return commit;
    }
    let mut hasher = begin("repository");
    hasher.field(commit.as_bytes());
    list(&mut hasher, exclude.iter());
    hasher.finish()
}

/// The key of a WORKDIR.
pub(super) fn workdir(workdir: &WorkdirOp, input: &[Digest], epoch: Option<i64>) -> Digest {
    let mut hasher = begin("workdir");
    hasher.field(chain(input).as_bytes()).field(&workdir.path).field(&workdir.user);
    time(&mut hasher, epoch);
    hasher.finish()
}

/// Where a step stands, as it is written, and the directories that it reads.
pub(super) fn place(step: &str, directories: &[PathBuf]) -> Digest {
    let mut hasher = begin("place");
    hasher.field(step);
    for directory in directories {
        hasher.field(directory.as_os_str().as_encoded_bytes());
    }
    hasher.finish()
}

fn begin(kind: &str) -> Hasher {
    let mut hasher = Hasher::default();
    hasher.field(VERSION).field(kind);
    hasher
}

fn list(hasher: &mut Hasher, items: impl ExactSizeIterator<Item = impl AsRef<[u8]>>) {
    hasher.field((items.len() as u64).to_le_bytes());
    for item in items {
        hasher.field(item);
    }
}

fn time(hasher: &mut Hasher, epoch: Option<i64>) {
    match epoch {
        Some(epoch) => hasher.field("epoch").field(epoch.to_le_bytes()),
        None => hasher.field("now"),
    };
}

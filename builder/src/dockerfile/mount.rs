//! The values of `RUN --mount`, after expansion.

/// Parses the CSV of one `--mount`.
///
/// # Errors
/// When an option is unknown, missing or does not fit the type.
pub fn parse_mount(csv: &str) -> Result<Mount, MountError> {
    let _ = csv;
    unimplemented!("mounts land after the parser")
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// `type=bind`, the default.
    Bind(BindMount),
    /// `type=cache`
    Cache(CacheMount),
    /// `type=tmpfs`
    Tmpfs(TmpfsMount),
    /// `type=secret`
    Secret(SecretMount),
    /// `type=ssh`
    Ssh(SshMount),
}

/// Files of another stage, image or context, visible during the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Where, possibly relative to the working directory.
    pub target: String,
    /// Path inside `from`; `/` by default.
    pub source: String,
    /// A stage, named context or image; the build context by default. Never a stage number.
    pub from: Option<String>,
    /// Writes are possible and thrown away after the step.
    pub writable: bool,
}

/// A directory that outlives the step and the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Where, possibly relative to the working directory.
    pub target: String,
    /// Identity; the cleaned target by default.
    pub id: Option<String>,
    /// Not writable.
    pub read_only: bool,
    /// Who else may use it at the same time.
    pub sharing: Sharing,
    /// What a new cache starts as; empty by default.
    pub from: Option<String>,
    /// Path inside `from` (or inside the cache); `/` by default.
    pub source: String,
    /// Permission bits of a new cache directory; 0755 by default.
    pub mode: Option<u32>,
    /// Owner of a new cache directory; 0 by default.
    pub uid: Option<u32>,
    /// Group of a new cache directory; 0 by default.
    pub gid: Option<u32>,
}

/// Concurrent use of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Any number of writers at once.
    #[default]
    Shared,
    /// Another directory for every concurrent writer.
    Private,
    /// One writer after the other.
    Locked,
}

/// An empty file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Where, possibly relative to the working directory.
    pub target: String,
    /// Upper limit in bytes.
    pub size: Option<u64>,
}

/// A secret as a file, an environment variable, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Which secret; the base name of the target by default.
    pub id: String,
    /// The file; `/run/secrets/<base of id>` when neither it nor `env` is given.
    pub target: Option<String>,
    /// The environment variable.
    pub env: Option<String>,
    /// Whether its absence is an error.
    pub required: bool,
    /// Permission bits of the file; 0400 by default.
    pub mode: u32,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
}

/// A forwarded SSH agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshMount {
    /// Which agent; `default` by default.
    pub id: String,
    /// The socket; `/run/buildkit/ssh_agent.<N>` by default.
    pub target: Option<String>,
    /// Whether its absence is an error.
    pub required: bool,
    /// Permission bits of the socket; 0600 by default.
    pub mode: u32,
    /// Owner of the socket.
    pub uid: u32,
    /// Group of the socket.
    pub gid: u32,
}

/// Why a `--mount` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MountError {
    /// One sentence.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

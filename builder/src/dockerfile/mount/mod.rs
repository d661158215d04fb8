//! The values of `RUN --mount` and `RUN --device`.

mod csv;
mod options;
#[cfg(test)]
mod tests;

use super::expand::ExpandError;
use super::suggest::nearest;
use super::values::clean_path;
use csv::split_csv;
use options::{Options, boolean};

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
    /// Identity; the cleaned target by default, before it is joined with the working directory.
    pub id: String,
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
    /// Not writable, for what that is worth.
    pub read_only: bool,
}

/// A secret as a file, an environment variable, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Which secret; the base name of the target by default.
    pub id: String,
    /// The file; `/run/secrets/<base of id>` when neither it nor `env` is given.
    pub target: Option<String>,
    /// The environment variable; the id's own name when `env=` was given without a name.
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

impl MountError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn suggest(self, word: &str, candidates: &[&'static str]) -> Self {
        let help = match nearest(word, candidates.iter().copied()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("it is one of `{}`", candidates.join("`, `")),
        };
        Self { help: Some(help), ..self }
    }
}

impl From<ExpandError> for MountError {
    fn from(error: ExpandError) -> Self {
        Self::new(error.to_string())
    }
}

/// Parses the CSV of one `--mount` whose variables were expanded before, or that has none.
///
/// # Errors
/// When an option is unknown, missing or does not fit the type.
pub fn parse_mount(csv: &str) -> Result<Mount, MountError> {
    parse_mount_with(csv, &mut |value| Ok(value.to_owned()))
}

/// Parses the CSV of one `--mount`, and expands each value after the split, as BuildKit does: a
/// comma in a variable's value is no separator.
///
/// # Errors
/// When an option is unknown, missing or does not fit the type, or its value cannot be expanded.
pub fn parse_mount_with(
    csv: &str,
    expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
) -> Result<Mount, MountError> {
    let mut options = Options::default();
    for field in split_csv(csv)? {
        match field.split_once('=') {
            None => options.flag(&field)?,
            Some((key, value)) => options.set(key, &expand(value)?, &field)?,
        }
    }
    options.finish()
}

/// What can be said about a `--mount` before its variables are known: everything where it has none,
/// else its CSV, and that `from` has none.
pub(crate) fn check_unexpanded(csv: &str) -> Result<(), MountError> {
    if !csv.contains(['$', '\'', '\\', '`']) {
        return parse_mount(csv).map(drop);
    }
    for field in split_csv(csv)? {
        let Some((key, value)) = field.split_once('=') else { continue };
        let variable = value.find('$').is_some_and(|at| at + 1 != value.len());
        if key.eq_ignore_ascii_case("from") && variable {
            let error = MountError::new("`from` doesn't support variable expansion");
            let help =
                "start a stage `FROM $IMAGE AS name` with an ARG above the first FROM, and mount from it";
            return Err(MountError { help: Some(help.to_owned()), ..error });
        }
    }
    Ok(())
}

/// A device of `RUN --device`, in CDI notation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// The CDI name.
    pub name: String,
    /// Whether its absence is an error.
    pub required: bool,
}

/// Parses the CSV of one `--device`: `name[,required[=bool]]`.
///
/// # Errors
/// When an option is unknown or given twice.
pub fn parse_device(csv: &str) -> Result<Device, MountError> {
    let mut device = Device::default();
    for field in split_csv(csv)? {
        let (key, value) = field.split_once('=').map_or((&*field, None), |(key, value)| (key, Some(value)));
        match (key.to_lowercase().as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => device.required = boolean("required", value)?,
            ("name", Some(value)) if device.name.is_empty() => value.clone_into(&mut device.name),
            ("name", Some(_)) => {
                return Err(MountError::new(format!("device name already set to `{}`", device.name)));
            }
            _ if device.name.is_empty() => device.name.clone_from(&field),
            (_, None) => {
                return Err(MountError::new(format!(
                    "invalid field `{field}`, which must be a key=value pair"
                )));
            }
            (key, Some(_)) => {
                let error = MountError::new(format!("unexpected key `{key}` in `{field}`"));
                return Err(error.suggest(key, &["name", "required"]));
            }
        }
    }
    Ok(device)
}

/// The absolute, clean path of a mount's target. An empty one is the working directory itself.
///
/// # Errors
/// When it is the root, over which nothing can be mounted.
pub fn resolve_target(target: &str, workdir: &str) -> Result<String, MountError> {
    let cleaned = clean_path(target);
    let path = if cleaned.starts_with('/') { cleaned } else { clean_path(&format!("/{workdir}/{cleaned}")) };
    if path == "/" {
        return Err(MountError::new("invalid mount target `/`"));
    }
    Ok(path)
}

//! The values of `RUN --mount` and `RUN --device`.

use super::expand::ExpandError;
use super::suggest::nearest;
use super::values::{clean_path, parse_bool, parse_size};

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

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Type {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Type {
    fn name(self) -> &'static str {
        TYPES[self as usize]
    }
}

/// The options in the order of the text, which matters: `type` must come before the options that
/// only some types have.
#[derive(Default)]
struct Options {
    kind: Type,
    from: String,
    source: String,
    target: String,
    read_only: Option<bool>,
    size: Option<u64>,
    id: String,
    sharing: Option<Sharing>,
    required: bool,
    env: Option<String>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Options {
    fn flag(&mut self, field: &str) -> Result<(), MountError> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            key @ "required" => {
                self.expect(key, &[Type::Secret, Type::Ssh])?;
                self.required = true;
            }
            _ => {
                return Err(MountError::new(format!(
                    "invalid field `{field}`, which must be a key=value pair"
                )));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), MountError> {
        let key = key.to_lowercase();
        match key.as_str() {
            "type" => self.kind = parse_type(value)?,
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.read_only = Some(boolean(&key, value)?),
            "readwrite" | "rw" => self.read_only = Some(!boolean(&key, value)?),
            "required" => {
                self.expect(&key, &[Type::Secret, Type::Ssh])?;
                self.required = boolean(&key, value)?;
            }
            "size" => {
                self.expect(&key, &[Type::Tmpfs])?;
                let size = parse_size(value)
                    .ok_or_else(|| MountError::new(format!("invalid value for `{key}`: `{value}`")))?;
                self.size = Some(size).filter(|size| *size > 0);
            }
            "id" => value.clone_into(&mut self.id),
            "sharing" => self.sharing = Some(parse_sharing(value)?),
            "mode" => self.mode = Some(number(&key, value, 8)?),
            "uid" => self.uid = Some(number(&key, value, 10)?),
            "gid" => self.gid = Some(number(&key, value, 10)?),
            "env" => self.env = Some(value.to_owned()),
            _ => {
                let error = MountError::new(format!("unexpected key `{key}` in `{field}`"));
                return Err(error.suggest(&key, &KEYS));
            }
        }
        Ok(())
    }

    fn expect(&self, key: &str, kinds: &[Type]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        let message = format!("unexpected key `{key}` for mount type `{}`", self.kind.name());
        let help = "`type=` must come before the options that belong to a type";
        Err(MountError { message, help: (self.kind == Type::Bind).then(|| help.to_owned()) })
    }

    fn finish(self) -> Result<Mount, MountError> {
        let kind = self.kind;
        if matches!(kind, Type::Bind | Type::Tmpfs) {
            for (key, given) in
                [("mode", self.mode.is_some()), ("uid", self.uid.is_some()), ("gid", self.gid.is_some())]
            {
                if given {
                    return Err(MountError::new(format!("`{key}` not allowed for `{}` mounts", kind.name())));
                }
            }
        }
        if self.sharing.is_some() && kind != Type::Cache {
            return Err(MountError::new(format!("`sharing` not allowed for `{}` mounts", kind.name())));
        }
        if kind == Type::Tmpfs && clean_path(&format!("/{}", self.source)) != "/" {
            return Err(MountError::new("`source` not allowed for `tmpfs` mounts"));
        }
        let or_none = |text: String| Some(text).filter(|text| !text.is_empty());
        let source = clean_path(&format!("/{}", self.source));
        Ok(match kind {
            Type::Bind => Mount::Bind(BindMount {
                target: self.target,
                source,
                from: or_none(self.from),
                writable: self.read_only == Some(false),
            }),
            Type::Cache => Mount::Cache(CacheMount {
                id: or_none(self.id).unwrap_or_else(|| clean_path(&self.target)),
                target: self.target,
                read_only: self.read_only.unwrap_or(false),
                sharing: self.sharing.unwrap_or_default(),
                from: or_none(self.from),
                source,
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
            }),
            Type::Tmpfs => Mount::Tmpfs(TmpfsMount {
                target: self.target,
                size: self.size,
                read_only: self.read_only.unwrap_or(false),
            }),
            Type::Secret => Mount::Secret(self.secret()?),
            Type::Ssh if !self.source.is_empty() => {
                return Err(MountError::new("ssh mounts do not support `source`"));
            }
            Type::Ssh => Mount::Ssh(SshMount {
                id: or_none(self.id).unwrap_or_else(|| "default".to_owned()),
                target: or_none(self.target),
                required: self.required,
                mode: self.mode.unwrap_or(0o600),
                uid: self.uid.unwrap_or(0),
                gid: self.gid.unwrap_or(0),
            }),
        })
    }

    fn secret(self) -> Result<SecretMount, MountError> {
        if !self.from.is_empty() {
            return Err(MountError::new("secret mounts do not support `from`"));
        }
        if !self.source.is_empty() && !self.id.is_empty() {
            return Err(MountError::new("both `source` and `id` can't be set"));
        }
        let id = match (self.source.as_str(), self.id.as_str(), self.target.as_str()) {
            ("", "", "") => {
                return Err(MountError::new(
                    "invalid secret mount: one of `id`, `source`, `target` required",
                ));
            }
            ("", "", target) => base_name(target),
            ("", id, _) => id.to_owned(),
            (source, _, _) => source.to_owned(),
        };
        let target = match (self.target.is_empty(), &self.env) {
            (false, _) => Some(self.target),
            (true, None) => Some(format!("/run/secrets/{}", base_name(&id))),
            (true, Some(_)) => None,
        };
        Ok(SecretMount {
            env: self.env.map(|name| if name.is_empty() { id.clone() } else { name }),
            id,
            target,
            required: self.required,
            mode: self.mode.unwrap_or(0o400),
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
        })
    }
}

fn parse_type(value: &str) -> Result<Type, MountError> {
    Ok(match value.to_lowercase().as_str() {
        "bind" => Type::Bind,
        "cache" => Type::Cache,
        "tmpfs" => Type::Tmpfs,
        "secret" => Type::Secret,
        "ssh" => Type::Ssh,
        _ => return Err(MountError::new(format!("unsupported mount type `{value}`")).suggest(value, &TYPES)),
    })
}

fn parse_sharing(value: &str) -> Result<Sharing, MountError> {
    Ok(match value.to_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => {
            let error = MountError::new(format!("unsupported sharing value `{value}`"));
            return Err(error.suggest(value, &["shared", "private", "locked"]));
        }
    })
}

fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
    parse_bool(value).ok_or_else(|| MountError::new(format!("invalid value for `{key}`: `{value}`")))
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, MountError> {
    let digits = !value.is_empty() && value.chars().all(|c| c.is_digit(radix));
    digits
        .then(|| u32::from_str_radix(value, radix).ok())
        .flatten()
        .ok_or_else(|| MountError::new(format!("invalid value `{value}` for `{key}`")))
}

/// Go's `path.Base`.
fn base_name(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ if path.is_empty() => ".".to_owned(),
        _ => "/".to_owned(),
    }
}

/// The fields of one CSV line: a field that starts with a quote ends at the next lone quote, and two
/// quotes in it are one.
fn split_csv(line: &str) -> Result<Vec<String>, MountError> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let field = &rest[..end];
            if field.contains('"') {
                return Err(MountError::new(format!("failed to parse `{line}`: bare quote in `{field}`")));
            }
            (field.to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => {
                return Err(MountError::new(format!("failed to parse `{line}`: text after a closing quote")));
            }
        }
    }
}

fn quoted_field(text: &str) -> Result<(String, &str), MountError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(at) = rest.find('"') else {
            return Err(MountError::new("failed to parse a quoted field: missing closing quote"));
        };
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;

//! The options of one `--mount`, as they come.

use super::{BindMount, CacheMount, Mount, MountError, SecretMount, Sharing, SshMount, TmpfsMount};
use crate::dockerfile::values::{clean_path, parse_bool, parse_size};

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
pub(super) struct Options {
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
    /// Takes an option without a value.
    pub(super) fn flag(&mut self, field: &str) -> Result<(), MountError> {
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

    /// Takes an option; `field` is its text.
    pub(super) fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), MountError> {
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

    pub(super) fn finish(self) -> Result<Mount, MountError> {
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

/// The value of a boolean option.
pub(super) fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
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

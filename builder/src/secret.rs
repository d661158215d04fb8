//! What `RUN --mount=type=secret` and `type=ssh` can get. Values are read when a step asks for them, and never shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The largest secret, in bytes (BuildKit's limit).
const LIMIT: u64 = 500 << 10;

/// Secrets and agents by id.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// `--secret`.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`: the socket of the agent.
    pub agents: BTreeMap<String, PathBuf>,
}

/// Where a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// A file of this machine.
    File(PathBuf),
    /// A value that was given.
    Value(String),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(…)"),
        }
    }
}

impl Secrets {
    /// The bytes of a secret; `None` if there is none of that id.
    pub(crate) fn read(&self, id: &str) -> Result<Option<Vec<u8>>> {
        match self.secrets.get(id) {
            None => Ok(None),
            Some(SecretSource::Value(value)) => Ok(Some(value.clone().into_bytes())),
            Some(SecretSource::File(path)) => {
                let failed = |source: std::io::Error| Error::File {
                    action: "read the secret",
                    path: path.display().to_string(),
                    source: std::sync::Arc::new(source),
                };
                let size = std::fs::metadata(path).map_err(failed)?.len();
                if size > LIMIT {
                    return Err(Error::invalid(format!(
                        "the secret `{id}` has {size} bytes; at most {LIMIT} are possible"
                    )));
                }
                std::fs::read(path).map(Some).map_err(failed)
            }
        }
    }
}

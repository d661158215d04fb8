//! Which credentials belong to a host.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::files::{AuthFile, Entry};
use super::helper;
use crate::error::CredentialError;

/// Where credentials are looked for. The first place that knows the host wins.
#[derive(Clone)]
pub struct CredentialSettings {
    /// `DOCKER_AUTH_CONFIG`: an auth file as text. Asked before the files.
    pub inline: Option<String>,
    /// Auth files (`config.json` of Docker, `auth.json` of containers tools), in order of lookup. One that does not exist
    /// is passed over.
    pub files: Vec<PathBuf>,
    /// Directories that hold `docker-credential-*` programs. Empty: no helper is run.
    pub helper_path: Vec<PathBuf>,
    /// How long a helper may take.
    pub helper_timeout: Duration,
}

impl Default for CredentialSettings {
    fn default() -> Self {
        Self {
            inline: None,
            files: Vec::new(),
            helper_path: Vec::new(),
            helper_timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for CredentialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialSettings")
            .field("inline", &self.inline.as_ref().map(|_| "…"))
            .field("files", &self.files)
            .field("helper_path", &self.helper_path)
            .finish_non_exhaustive()
    }
}

/// What proves who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// A name and a password or access token.
    Password { user: String, password: String },
    /// A refresh token, to be exchanged at the token server.
    Identity { user: Option<String>, token: String },
    /// A token that is sent to the registry as it is.
    Registry { token: String },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, …)"),
            Self::Identity { .. } => write!(f, "Identity(…)"),
            Self::Registry { .. } => write!(f, "Registry(…)"),
        }
    }
}

/// Credentials and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) secret: Secret,
    /// `~/.docker/config.json`, `docker-credential-pass`, ….
    pub(crate) source: String,
    /// Whether asking again may give something newer.
    pub(crate) renewable: bool,
}

impl Found {
    /// `user `jane` from `…/config.json``, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.secret {
            Secret::Password { user, .. } | Secret::Identity { user: Some(user), .. } => {
                format!("user `{user}` from {}", self.source)
            }
            Secret::Identity { user: None, .. } => format!("an identity token from {}", self.source),
            Secret::Registry { .. } => format!("a registry token from {}", self.source),
        }
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Option<Found>>>>;

/// Looks credentials up, each host once per run (helpers may be slow or ask a person).
pub(crate) struct Credentials {
    settings: CredentialSettings,
    cache: Mutex<HashMap<(String, String), Slot>>,
}

impl Credentials {
    pub(crate) fn new(settings: CredentialSettings) -> Self {
        Self { settings, cache: Mutex::default() }
    }

    /// Credentials of `repository` on `host` (`docker.io` for Docker Hub). With `again`, what was remembered is looked up
    /// afresh: secrets of helpers live an hour or less.
    pub(crate) async fn find(
        &self,
        host: &str,
        repository: &str,
        again: bool,
    ) -> Result<Option<Found>, CredentialError> {
        let slot = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.entry((host.to_owned(), repository.to_owned())).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let (Some(known), false) = (&*slot, again) {
            return Ok(known.clone());
        }
        let found = self.look_up(host, repository).await?;
        *slot = Some(found.clone());
        Ok(found)
    }

    /// Uses these credentials for the host from now on, and no others.
    pub(crate) fn set(&self, host: &str, repository: &str, found: Found) {
        let slot = Arc::new(tokio::sync::Mutex::new(Some(Some(found))));
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert((host.to_owned(), repository.to_owned()), slot);
    }

    async fn look_up(&self, host: &str, repository: &str) -> Result<Option<Found>, CredentialError> {
        for file in self.read_files()? {
            match file.entry(host, repository) {
                Some(Entry::Secret(secret)) => {
                    return Ok(Some(Found { secret, source: file.name().to_owned(), renewable: false }));
                }
                Some(Entry::Helper(name)) => {
                    if self.settings.helper_path.is_empty() {
                        continue;
                    }
                    let server = helper::server_name(host);
                    if let Some(secret) = helper::get(&self.settings, &name, &server).await? {
                        let source = format!("docker-credential-{name} (named in {})", file.name());
                        return Ok(Some(Found { secret, source, renewable: true }));
                    }
                    // A store that does not know the host may stand beside plain entries that do.
                    if let Some(secret) = file.plain_entry(host, repository) {
                        return Ok(Some(Found { secret, source: file.name().to_owned(), renewable: false }));
                    }
                }
                None => {}
            }
        }
        Ok(None)
    }

    fn read_files(&self) -> Result<Vec<AuthFile>, CredentialError> {
        let mut files = Vec::new();
        if let Some(inline) = &self.settings.inline {
            files.push(AuthFile::parse("DOCKER_AUTH_CONFIG", inline.as_bytes())?);
        }
        for path in &self.settings.files {
            files.extend(AuthFile::read(path)?);
        }
        Ok(files)
    }
}

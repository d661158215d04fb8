//! Why a build failed.

use std::sync::Arc;

use layer_store::Digest;

use crate::context::git::GitError;
use crate::dockerfile::{Diagnostic, Span};

/// The result of a part of a build. Errors are shared, since several steps may wait for the one that failed.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a build failed. The cause, where there is one, is the `source`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Dockerfile has errors; all of them, in order.
    #[error("the Dockerfile has {} error{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Dockerfile(Vec<Diagnostic>),
    /// An instruction cannot be carried out. `source` says why.
    #[error("{name} failed")]
    Step {
        /// The step, as people read it.
        name: String,
        /// Where it stands.
        span: Option<Span>,
        /// Why.
        source: Arc<Error>,
    },
    /// An instruction asks for something wrong.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Another error, of which more is known to do about.
    #[error("{source}")]
    Hinted {
        /// The error.
        source: Arc<Error>,
        /// What to do.
        help: String,
    },
    /// A command ended with a status that is not zero.
    #[error("the command `{command}` {ending}")]
    Command {
        /// The command, as written.
        command: String,
        /// `exited with status 3`, `was killed by signal 9 (SIGKILL)`.
        ending: String,
        /// The last lines that it wrote.
        tail: Vec<String>,
    },
    /// A file of the context cannot be used.
    #[error(transparent)]
    Context(Arc<crate::context::ContextError>),
    /// A file cannot be fetched.
    #[error(transparent)]
    Download(Arc<registry_client::DownloadError>),
    /// A git repository cannot be used.
    #[error(transparent)]
    Git(Arc<GitError>),
    /// Files cannot be copied.
    #[error(transparent)]
    Copy(Arc<crate::copy::CopyError>),
    /// The sandbox cannot do it.
    #[error(transparent)]
    Sandbox(Arc<crate::sandbox::SandboxError>),
    /// A user or group is not known in the image.
    #[error(transparent)]
    User(Arc<crate::users::UserError>),
    /// The store failed.
    #[error(transparent)]
    Store(Arc<layer_store::Error>),
    /// A registry failed.
    #[error("cannot get `{what}`")]
    Registry {
        /// Which image.
        what: String,
        /// Why.
        source: Arc<registry_client::Error>,
    },
    /// Images cannot be moved or changed; the cause says what and where.
    #[error(transparent)]
    Transfer(Arc<registry_client::Error>),
    /// An image cannot be sent.
    #[error("cannot push `{target}`")]
    Push {
        /// Where to.
        target: String,
        /// Why not.
        source: Arc<registry_client::Error>,
    },
    /// An image name is malformed.
    #[error("`{name}` is not an image name: {reason}")]
    ImageName {
        /// As written.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image is not in the store, and no registry may be asked.
    #[error("the image `{name}` is not in the store")]
    ImageNotHere {
        /// As written.
        name: String,
    },
    /// An image is malformed.
    #[error("the image `{name}` is malformed: {reason}")]
    BadImage {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer is needed that is neither here nor in a registry.
    #[error("layer {diff_id} is gone from the store and no registry is known to have it")]
    LostLayer {
        /// Which.
        diff_id: Digest,
    },
    /// A file that the build reads or writes.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: Arc<std::io::Error>,
    },
    /// A shared cache has a record of a layer that it does not give. The build goes on without that cache.
    #[error("the cache `{cache}` does not give a layer that it has a record of")]
    SharedCache {
        /// Which.
        cache: String,
        /// Why not.
        source: Arc<Error>,
    },
    /// The user stopped the build, or another step failed.
    #[error("the build was stopped")]
    Cancelled,
    /// A part of this program failed that should not.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl Error {
    /// An instruction that asks for something wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), help: None }
    }

    /// The error of a shared cache that a step, or what came after all steps, stumbled over; else the error itself.
    pub(crate) fn or_shared_cache(self) -> Self {
        let mut cause = &self;
        while let Self::Step { source, .. } = cause {
            cause = source;
        }
        match cause {
            Self::SharedCache { .. } => cause.clone(),
            _ => self,
        }
    }

    /// With what to do about it, where that is known.
    pub(crate) fn hinted(self, help: Option<String>) -> Self {
        match help {
            Some(help) => Self::Hinted { source: Arc::new(self), help },
            None => self,
        }
    }

    /// Something wrong was asked for, and this is what to do about it.
    pub(crate) fn invalid_but(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), help: Some(help.into()) }
    }

    /// What to do about it, where that is known. It is not part of the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Step { source, .. } => source.hint(),
            Self::Invalid { help, .. } => help.clone(),
            Self::Hinted { help, .. } => Some(help.clone()),
            Self::Registry { source, .. } | Self::Push { source, .. } | Self::Transfer(source) => {
                source.hint()
            }
            Self::Store(error) => error.hint().map(str::to_owned),
            Self::Sandbox(error) => sandbox_hint(error),
            Self::Copy(error) => copy_hint(error),
            Self::Git(error) => match &**error {
                GitError::NoReference { nearest: Some(near), .. } => Some(format!("did you mean `{near}`?")),
                GitError::Failed { message, .. } if message.contains("terminal prompts disabled") => Some(
                    "`--secret id=GIT_AUTH_TOKEN,env=NAME` gives a token for a private repository".to_owned(),
                ),
                GitError::Program(_) => Some("git contexts need `git` on this machine".to_owned()),
                _ => None,
            },
            Self::ImageNotHere { name } => Some(format!("`rbuild pull {name}` fetches it")),
            _ => None,
        }
    }
}

fn copy_hint(error: &crate::copy::CopyError) -> Option<String> {
    match error {
        crate::copy::CopyError::NotFound { ignored_by: Some(rule), .. } => Some(format!(
            "the rule `{rule}` of the ignore file leaves it out (`.dockerignore`, or the Dockerfile's own)"
        )),
        crate::copy::CopyError::NotFound { nearest, .. } if !nearest.is_empty() => {
            let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("there is {}", names.join(", ")))
        }
        _ => None,
    }
}

fn sandbox_hint(error: &crate::sandbox::SandboxError) -> Option<String> {
    use crate::sandbox::SandboxError as E;
    match error {
        E::Refused { .. } => {
            Some("stages without RUN can be built here; `rbuild doctor` says more".to_owned())
        }
        E::Setup(failure) => failure.remedy.clone(),
        _ => None,
    }
}

impl From<registry_client::InvalidReference> for Error {
    fn from(error: registry_client::InvalidReference) -> Self {
        registry_client::Error::from(error).into()
    }
}

macro_rules! shared_from {
    ($($variant:ident: $source:ty),* $(,)?) => {
        $(impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self::$variant(Arc::new(error))
            }
        })*
    };
}

shared_from! {
    Context: crate::context::ContextError,
    Copy: crate::copy::CopyError,
    Download: registry_client::DownloadError,
    Git: GitError,
    Sandbox: crate::sandbox::SandboxError,
    Store: layer_store::Error,
    Transfer: registry_client::Error,
    User: crate::users::UserError,
}

//! What can go wrong with a registry.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use layer_store::{Digest, Platform};

use crate::hint;
use crate::reference::InvalidReference;

/// What can go wrong with a registry. The cause, where there is one, is the `source` and not part of the message; what
/// to do about it is [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no image name.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// A settings file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The registry answered with an error.
    #[error("{place}: {refusal}")]
    Refused {
        /// What was tried, where.
        place: Box<Place>,
        /// What it answered.
        refusal: Box<Refusal>,
    },
    /// The connection could not be made, or broke.
    #[error("{place}")]
    Connection {
        /// What was tried, where.
        place: Box<Place>,
        /// Why not.
        source: ConnectionFailure,
    },
    /// The answer is not what the protocol says.
    #[error("{place}: {reason}")]
    Answer {
        /// What was tried, where.
        place: Box<Place>,
        /// What is wrong with it.
        reason: String,
    },
    /// The content is not what its name says.
    #[error("{place}")]
    Content {
        /// What was tried, where.
        place: Box<Place>,
        /// What is wrong with it.
        source: layer_store::Error,
    },
    /// The registry sent the client somewhere it does not go.
    #[error("{place}: it points to `{target}`, {reason}")]
    Target {
        /// What was tried, where.
        place: Box<Place>,
        /// Scheme and host of the address.
        target: String,
        /// Why the client does not go there.
        reason: &'static str,
    },
    /// No token could be had from the registry's token server.
    #[error("{place}: no token from `{realm}`")]
    Token {
        /// What was tried, where.
        place: Box<Place>,
        /// The token server.
        realm: String,
        /// Why not.
        source: Box<Self>,
    },
    /// Credentials are there but cannot be had.
    #[error("no credentials for `{host}`")]
    Credentials {
        /// Whose.
        host: String,
        /// Why not.
        source: CredentialError,
    },
    /// The host was given up earlier in the run.
    #[error("`{host}` is out of use for now: {reason}")]
    OutOfUse {
        /// Which host.
        host: String,
        /// What happened then.
        reason: String,
    },
    /// Every endpoint failed.
    #[error("cannot {operation} `{reference}`: {trail}", trail = trail(.attempts))]
    Exhausted {
        /// What was tried.
        operation: Operation,
        /// Of which image.
        reference: String,
        /// Each endpoint and why it failed, in order. Never empty.
        attempts: Vec<Attempt>,
    },
    /// The image is not there for the platform.
    #[error("`{reference}` has no image for {wanted}, only for {available}", available = list(.available))]
    NoPlatform {
        /// Which image.
        reference: String,
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Platform>,
    },
    /// The document is larger than the client accepts.
    #[error("{place}: it has more than {limit} bytes")]
    TooLarge {
        /// What was tried, where.
        place: Box<Place>,
        /// The limit in bytes.
        limit: u64,
    },
    /// A blob of an image that is to be pushed is neither in the store nor known to be elsewhere.
    #[error(
        "cannot push `{reference}`: blob {digest} is not in the store and no registry is known to have it"
    )]
    NothingToPush {
        /// Which image.
        reference: String,
        /// Which blob.
        digest: Digest,
    },
    /// A part of an image is in none of the places where it was looked for.
    #[error("{what} {digest} is not here, and no registry is known to have it")]
    NowhereToBeHad {
        /// `blob` or `manifest`.
        what: &'static str,
        /// Which.
        digest: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] layer_store::Error),
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] Box<dyn StdError + Send + Sync>),
}

/// What was tried, where, on what.
#[derive(Debug, Clone)]
pub struct Place {
    /// What was tried.
    pub operation: Operation,
    /// The registry or mirror, `host[:port]`.
    pub host: String,
    /// Of which image, as people write it, or which blob of it.
    pub reference: String,
    /// Which blob, if it is about one.
    pub digest: Option<Digest>,
}

/// What the client does at a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// A manifest or index is read.
    Manifest,
    /// A blob is read.
    Blob,
    /// The registry is asked whether it has something.
    Check,
    /// A blob is written.
    Upload,
    /// A manifest is written.
    PutManifest,
    /// Tags are listed.
    Tags,
    /// What refers to a manifest is listed.
    Referrers,
    /// Something is removed.
    Delete,
    /// Credentials are tried.
    Login,
    /// Repositories are searched for.
    Search,
}

/// What a registry answered instead of doing what was asked.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The registry's own code (`MANIFEST_UNKNOWN`), if it gave one.
    pub code: Option<String>,
    /// The registry's message, or the first 200 characters of what it sent instead.
    pub message: String,
    /// How the request was authorised.
    pub authorization: Option<Arc<Authorized>>,
    /// How long the registry wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Docker Hub's `ratelimit-limit` and `ratelimit-remaining`, where they were sent.
    pub rate_limit: Option<String>,
}

/// How a request was authorised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorized {
    /// Whose credentials, and where they come from; `None`: anonymously.
    pub credentials: Option<String>,
    /// The scopes that were asked for.
    pub asked: Vec<String>,
    /// The scopes that the token says it grants, where it can be read.
    pub granted: Option<Vec<String>>,
}

/// One endpoint that failed.
#[derive(Debug)]
pub struct Attempt {
    /// The registry or mirror, `host[:port]`.
    pub host: String,
    /// Why.
    pub error: Error,
}

/// Why a connection was not made, or broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectionFailure {
    /// What kind of failure.
    pub kind: ConnectionKind,
    /// What the system says, without addresses that may hold secrets.
    pub message: String,
}

/// Kinds of connection failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    /// No connection was made.
    Dial,
    /// No TLS session was made: a certificate that is not trusted, or no TLS at the other end.
    Tls,
    /// The peer said nothing for too long.
    Silence,
    /// The connection broke, or the body ended too early.
    Cut,
}

/// What is wrong with a settings file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct ConfigError {
    /// Which file or kind of file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The auth file cannot be read.
    #[error("cannot read {source_name}")]
    Read {
        /// Which file.
        source_name: String,
        /// Why not.
        source: io::Error,
    },
    /// The auth file is not what it should be.
    #[error("{source_name} is malformed: {reason}")]
    Malformed {
        /// Which file.
        source_name: String,
        /// What is wrong with it (its content is never shown).
        reason: String,
    },
    /// A credential helper failed.
    #[error("docker-credential-{helper}: {reason}")]
    Helper {
        /// Which helper.
        helper: String,
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// What can be done about it, for a person. `None` when the message says all there is.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        hint::of(self)
    }

    /// Whether what was asked for is not there, and every endpoint that answered says so.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Refused { refusal, .. } => refusal.status == 404,
            // The upstream, which is asked last, decides; a mirror may just not have it.
            Self::Exhausted { attempts, .. } => attempts.last().is_some_and(|last| last.error.is_not_found()),
            _ => false,
        }
    }

    /// The HTTP status that the registry answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.status),
            Self::Token { source, .. } => source.status(),
            _ => None,
        }
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.kind != ConnectionKind::Tls,
            Self::Refused { refusal, .. } => is_passing_status(refusal.status),
            Self::Token { source, .. } => source.is_passing(),
            _ => false,
        }
    }

    /// Whether a connection broke in the middle.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self, Self::Connection { source, .. } if source.kind == ConnectionKind::Cut)
    }

    /// Whether the host could not be spoken with at all.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.kind != ConnectionKind::Cut,
            Self::Token { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }

    /// Whether another endpoint may do better. Failures of this machine's own are final.
    pub(crate) fn allows_fallback(&self) -> bool {
        !matches!(
            self,
            Self::Store(_) | Self::Reference(_) | Self::Config(_) | Self::NoPlatform { .. } | Self::Setup(_)
        )
    }
}

/// Statuses of failures that pass (the last ones are Cloudflare's).
pub(crate) fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

impl ConnectionFailure {
    /// Reads what went wrong out of an HTTP client's error: its own words hide the cause and show the whole address.
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let mut root: &dyn StdError = error;
        let mut tls = false;
        loop {
            tls |= root.is::<rustls::Error>();
            let inner = root
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .map(|inner| inner as &dyn StdError);
            match inner.or_else(|| root.source()) {
                Some(next) => root = next,
                None => break,
            }
        }
        tls |= root.is::<rustls::Error>();
        let kind = if tls {
            ConnectionKind::Tls
        } else if error.is_connect() {
            ConnectionKind::Dial
        } else if error.is_timeout() {
            ConnectionKind::Silence
        } else {
            ConnectionKind::Cut
        };
        let message = if error.is_timeout() && error.is_connect() {
            "no connection within the time limit".to_owned()
        } else if root.to_string().starts_with("no records found for") {
            // The resolver shows its whole query.
            "the name has no address".to_owned()
        } else {
            let text = root.to_string();
            text.split(" (os error ").next().unwrap_or_default().chars().take(300).collect()
        };
        Self { kind, message }
    }

    /// Whether there is TLS at the other end, and its or the client's certificate is what fails.
    pub(crate) fn is_about_certificates(&self) -> bool {
        self.kind == ConnectionKind::Tls && !self.speaks_no_tls()
    }

    /// Whether nothing answered because the name of the host is known to no server.
    pub(crate) fn is_unknown_name(&self) -> bool {
        self.kind == ConnectionKind::Dial && self.message == "the name has no address"
    }

    /// Whether what answered does not speak TLS.
    pub(crate) fn speaks_no_tls(&self) -> bool {
        self.kind == ConnectionKind::Tls
            && ["InvalidContentType", "corrupt message"].iter().any(|one| self.message.contains(one))
    }

    pub(crate) fn silence(after: Duration) -> Self {
        Self { kind: ConnectionKind::Silence, message: format!("no answer for {} s", after.as_secs_f32()) }
    }

    pub(crate) fn cut(message: impl Into<String>) -> Self {
        Self { kind: ConnectionKind::Cut, message: message.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, host, reference, digest } = self;
        write!(f, "cannot {operation} `{reference}`")?;
        if let Some(digest) = digest {
            write!(f, " (blob {})", digest.short())?;
        }
        let way = match operation {
            Operation::Upload | Operation::PutManifest => "to",
            Operation::Check | Operation::Delete | Operation::Login | Operation::Search => "at",
            _ => "from",
        };
        write!(f, " {way} `{host}`")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "read the manifest of",
            Self::Blob => "download",
            Self::Check => "look up",
            Self::Upload => "upload",
            Self::PutManifest => "push the manifest of",
            Self::Tags => "list the tags of",
            Self::Referrers => "list the referrers of",
            Self::Delete => "delete",
            Self::Login => "log in for",
            Self::Search => "search for",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if self.message.is_empty() {
            let reason =
                reqwest::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
            return match (reason, &self.code) {
                (Some(reason), None) => write!(f, " {reason}"),
                _ => Ok(()),
            };
        }
        write!(f, ": {}", self.message)
    }
}

fn trail(attempts: &[Attempt]) -> String {
    let one = |attempt: &Attempt| {
        let reason = match &attempt.error {
            // The place is said once, in front.
            Error::Refused { refusal, .. } => refusal.to_string(),
            Error::Connection { source, .. } => source.to_string(),
            Error::Content { source, .. } => source.to_string(),
            Error::Answer { reason, .. } | Error::OutOfUse { reason, .. } => reason.clone(),
            Error::Token { realm, source, .. } => format!("no token from `{realm}`: {}", short(source)),
            other => layer_store::error::chain(other),
        };
        format!("`{}`: {reason}", attempt.host)
    };
    attempts.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn short(error: &Error) -> String {
    match error {
        Error::Refused { refusal, .. } => refusal.to_string(),
        Error::Connection { source, .. } => source.to_string(),
        other => layer_store::error::chain(other),
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

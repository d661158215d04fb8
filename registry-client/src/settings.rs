//! What the client is told. It reads no environment and no home directory of its own.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::auth::CredentialSettings;
use crate::hosts::HostSettings;

/// All settings of a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Registries, their mirrors and what may be insecure.
    pub hosts: HostSettings,
    /// Where credentials are.
    pub credentials: CredentialSettings,
    /// Proxies.
    pub proxies: ProxySettings,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// PEM files with certificate authorities to trust beside the system's.
    pub extra_ca: Vec<PathBuf>,
    /// A certificate of the client's own and its key, PEM files, for hosts that have none of their own in a certs.d
    /// directory or settings file. Shown only to a registry that asks for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// How often a request that failed for a passing reason is tried again.
    pub retries: u32,
    /// How long a connection to an upstream registry may take.
    pub connect_timeout: Duration,
    /// How long a connection to a mirror may take. Short: a dead mirror costs this once per run.
    pub mirror_connect_timeout: Duration,
    /// How long a peer may be silent, in the middle of a body or before an answer.
    pub idle_timeout: Duration,
    /// The longest wait that a registry may ask for with `Retry-After` before the client gives up instead.
    pub longest_wait: Duration,
    /// Blobs that are downloaded at the same time.
    pub downloads: usize,
    /// Blobs that are uploaded at the same time.
    pub uploads: usize,
    /// Connections that may share one large blob whose single connection turns out slow; 1 turns it off.
    pub ranges: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            hosts: HostSettings::default(),
            credentials: CredentialSettings::default(),
            proxies: ProxySettings::default(),
            user_agent: concat!("rbuild/", env!("CARGO_PKG_VERSION")).to_owned(),
            extra_ca: Vec::new(),
            client_certificate: None,
            retries: 4,
            connect_timeout: Duration::from_secs(10),
            mirror_connect_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(60),
            longest_wait: Duration::from_secs(30),
            downloads: 4,
            uploads: 4,
            ranges: 10,
        }
    }
}

/// HTTP and SOCKS proxies. Empty: connections are direct.
#[derive(Debug, Clone, Default)]
pub struct ProxySettings {
    /// For `http://` addresses.
    pub http: Option<Url>,
    /// For `https://` addresses.
    pub https: Option<Url>,
    /// Hosts that are reached directly, in the form of the `NO_PROXY` variable. Loopback always is.
    pub no_proxy: Option<String>,
}

impl ProxySettings {
    /// Reads the usual variables (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, lower case first) with `lookup`.
    /// `HTTP_PROXY` in capitals is left out where `REQUEST_METHOD` is set: there a web client could set it.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            lookup(&name.to_ascii_lowercase()).or_else(|| lookup(name)).filter(|value| !value.is_empty())
        };
        let url = |text: String| {
            let text = if text.contains("://") { text } else { format!("http://{text}") };
            Url::parse(&text).ok()
        };
        let all = either("ALL_PROXY").and_then(url);
        let http =
            if lookup("REQUEST_METHOD").is_some() { lookup("http_proxy") } else { either("HTTP_PROXY") };
        Self {
            http: http.and_then(url).or_else(|| all.clone()),
            https: either("HTTPS_PROXY").and_then(url).or(all),
            no_proxy: either("NO_PROXY"),
        }
    }
}

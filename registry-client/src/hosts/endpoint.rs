//! One place that serves a repository, and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderMap;
use url::Url;

use super::{HostSettings, is_loopback};
use crate::reference::Reference;

/// One place that serves a repository.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) role: Role,
    /// `host[:port]` to connect to.
    pub(crate) authority: String,
    pub(crate) schemes: Schemes,
    /// Whether certificates are verified.
    pub(crate) verify: bool,
    /// The path that the repository stands below: `/v2`, or what stands for it.
    pub(crate) api: String,
    /// Under which host credentials are looked up: a mirror's own, never the upstream's.
    pub(crate) credentials: String,
    /// The repository as this endpoint calls it.
    pub(crate) repository: String,
    /// Whether another endpoint serves the same content.
    pub(crate) has_alternatives: bool,
    /// Whether it may say which digest a tag names.
    pub(crate) resolves: bool,
    /// Whether it is asked for content by digest.
    pub(crate) pulls: bool,
    /// Whether it takes what is pushed.
    pub(crate) pushes: bool,
    /// The registry whose content is asked for, for proxies that serve several (containerd's `ns`).
    pub(crate) namespace: Option<String>,
    /// Sent with each request to the endpoint itself.
    pub(crate) headers: HeaderMap,
    /// Certificates of its own, beside those of the `certs.d` directories.
    pub(crate) certificates: HostCertificates,
    /// How long a connection may take, where that is set.
    pub(crate) connect_timeout: Option<Duration>,
    /// How many blobs and ranges of blobs may move at the same time, where that is set.
    pub(crate) connections: Option<usize>,
    /// The address of the one blob that is to be had here, of a foreign layer.
    pub(crate) foreign: Option<Url>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Mirror,
    Upstream,
}

/// Which schemes are tried, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schemes {
    Http,
    Https,
    /// Loopback: nearly always plain http.
    HttpThenHttps,
    /// Insecure by configuration: TLS without verification, then plain http, as Docker does.
    HttpsThenHttp,
}

/// Certificates of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct HostCertificates {
    /// Authorities to trust beside the system's.
    pub(crate) authorities: Vec<PathBuf>,
    /// A certificate of the client's own and its key (which may be in the same file).
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Endpoint {
    /// The registry `domain` itself, by the name it has in references.
    pub(crate) fn upstream(settings: &HostSettings, domain: &str, repository: &str) -> Self {
        let authority = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        let (schemes, verify) = if is_loopback(authority) {
            (Schemes::HttpThenHttps, false)
        } else if settings.is_insecure(authority) {
            (Schemes::HttpsThenHttp, false)
        } else {
            (Schemes::Https, true)
        };
        Self {
            role: Role::Upstream,
            authority: authority.to_owned(),
            schemes,
            verify,
            api: "/v2".to_owned(),
            credentials: domain.to_owned(),
            repository: repository.to_owned(),
            has_alternatives: false,
            resolves: true,
            pulls: true,
            pushes: true,
            namespace: None,
            headers: HeaderMap::new(),
            certificates: HostCertificates::default(),
            connect_timeout: None,
            connections: None,
            foreign: None,
        }
    }

    /// The repository of a mirror, by its own name: what is fetched through it is there.
    pub(crate) fn repository_of_mirror(&self) -> Option<Reference> {
        let is_plain = self.role == Role::Mirror && self.api == "/v2" && self.foreign.is_none();
        let name = is_plain.then(|| format!("{}/{}", self.authority, self.repository))?;
        // A host of one word is taken for something else in a reference.
        name.parse().ok().filter(|reference: &Reference| reference.domain() == self.authority)
    }

    /// What is served at `url`, whose scheme is kept as written; the API is below its path. The reason when it cannot be.
    pub(crate) fn at(settings: &HostSettings, url: &Url, repository: &str) -> Result<Self, &'static str> {
        let authority = authority_of(url).ok_or("it has no host")?;
        let schemes = match url.scheme() {
            "http" => Schemes::Http,
            "https" => Schemes::Https,
            _ => return Err("its scheme is neither http nor https"),
        };
        let verify = !settings.is_insecure(&authority);
        let api = format!("{}/v2", url.path().trim_end_matches('/'));
        let domain = if authority == "registry-1.docker.io" { "docker.io" } else { &authority };
        let own = Self::upstream(settings, domain, repository);
        Ok(Self { role: Role::Mirror, schemes, verify, api, authority, pushes: false, ..own })
    }
}

impl Endpoint {
    /// The place of a foreign layer. The address comes from a manifest, so it is https or nothing, on no address of this
    /// machine or link, and no credentials are known for it.
    pub(crate) fn foreign(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "https")?;
        let settings = HostSettings::default();
        let outside = Url::parse("https://foreign.invalid/").ok()?;
        crate::transport::target::check(&settings, &outside, &url).ok()?;
        let endpoint = Self::at(&settings, &url, "").ok()?;
        Some(Self { credentials: String::new(), foreign: Some(url), ..endpoint })
    }
}

impl Schemes {
    pub(crate) fn in_order(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["http"],
            Self::Https => &["https"],
            Self::HttpThenHttps => &["http", "https"],
            Self::HttpsThenHttp => &["https", "http"],
        }
    }
}

/// `host[:port]` of a URL, IPv6 in brackets, without the scheme's own port.
pub(crate) fn authority_of(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_layers_come_from_safe_places_only() {
        for (url, expected) in [
            ("https://layers.example/x?y=1", true),
            ("http://layers.example/x", false),
            ("https://127.0.0.1/x", false),
            ("https://169.254.169.254/x", false),
            ("file:///etc/passwd", false),
            ("x", false),
        ] {
            assert_eq!(Endpoint::foreign(url).is_some(), expected, "{url}");
        }
        let found = Endpoint::foreign("https://layers.example/x").unwrap();
        assert!(found.credentials.is_empty() && found.verify);
    }
}

//! Which endpoints serve a reference, in which order, and what each may do.

mod daemon_json;
mod insecure;

use std::path::PathBuf;

use url::Url;

use crate::error::{ConfigError, Error};
use crate::reference::Reference;

pub use insecure::{InsecureHost, InvalidInsecureHost};
pub(crate) use insecure::{address_of, is_loopback};

/// Registries, mirrors and what may be insecure.
#[derive(Debug, Clone, Default)]
pub struct HostSettings {
    /// Mirrors of docker.io, in order. Their scheme is kept as written.
    pub mirrors: Vec<Url>,
    /// Hosts that may be reached without verified TLS or by plain http. Loopback always may.
    pub insecure: Vec<InsecureHost>,
    /// Who says which digest a tag names.
    pub resolve: ResolvePolicy,
    /// `certs.d` directories: below each, `<host[:port]>/*.crt` are authorities to trust for that host, and
    /// `*.cert` with `*.key` a client certificate. All are read, in order.
    pub certs_dirs: Vec<PathBuf>,
}

/// Who says which digest a tag names, where a registry has mirrors. Content is verified by digest in every case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResolvePolicy {
    /// The first endpoint that has the tag, mirrors before upstream: Docker's own rule, which costs nothing and works
    /// where upstream cannot be reached.
    #[default]
    FirstAnswer,
    /// Upstream, by a HEAD request that Docker Hub does not count; mirrors only when upstream cannot be reached. Costs one
    /// round trip, and a mirror that is behind is not believed.
    Upstream,
}

impl HostSettings {
    /// Adds `registry-mirrors` and `insecure-registries` of a Docker daemon's settings file; other keys are passed over.
    pub fn merge_daemon_json(&mut self, json: &[u8]) -> Result<(), ConfigError> {
        daemon_json::merge(self, json)
    }

    /// The endpoints that serve `reference`.
    pub(crate) fn plan(&self, reference: &Reference) -> Result<HostPlan, Error> {
        let mut endpoints = Vec::new();
        if reference.domain() == "docker.io" {
            for mirror in &self.mirrors {
                endpoints.push(self.mirror(mirror, reference.repository())?);
            }
        }
        endpoints.push(self.upstream(reference));
        let has_alternatives = endpoints.len() > 1;
        endpoints.iter_mut().for_each(|endpoint| endpoint.has_alternatives = has_alternatives);
        Ok(HostPlan { endpoints })
    }

    fn mirror(&self, url: &Url, repository: &str) -> Result<Endpoint, ConfigError> {
        let wrong = |reason: &str| ConfigError { file: format!("mirror `{url}`"), reason: reason.to_owned() };
        let authority = authority_of(url).ok_or_else(|| wrong("it has no host"))?;
        let schemes = match url.scheme() {
            "http" => Schemes::Http,
            "https" => Schemes::Https,
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        Ok(Endpoint {
            role: Role::Mirror,
            verify: !self.is_insecure(&authority),
            schemes,
            prefix: url.path().trim_end_matches('/').to_owned(),
            credentials: authority.clone(),
            authority,
            repository: repository.to_owned(),
            has_alternatives: true,
        })
    }

    fn upstream(&self, reference: &Reference) -> Endpoint {
        let domain = reference.domain();
        let authority = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        let (schemes, verify) = if is_loopback(authority) {
            (Schemes::HttpThenHttps, false)
        } else if self.is_insecure(authority) {
            (Schemes::HttpsThenHttp, false)
        } else {
            (Schemes::Https, true)
        };
        Endpoint {
            role: Role::Upstream,
            authority: authority.to_owned(),
            schemes,
            verify,
            prefix: String::new(),
            credentials: domain.to_owned(),
            repository: reference.repository().to_owned(),
            has_alternatives: false,
        }
    }

    /// Whether the host may be reached without verified TLS.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        is_loopback(authority) || self.insecure.iter().any(|one| one.matches(authority))
    }
}

/// The endpoints of a reference, in order; the last is the upstream.
#[derive(Debug, Clone)]
pub(crate) struct HostPlan {
    pub(crate) endpoints: Vec<Endpoint>,
}

impl HostPlan {
    /// The only endpoint that is written to.
    pub(crate) fn upstream(&self) -> Option<&Endpoint> {
        self.endpoints.last()
    }
}

/// One place that serves a repository.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) role: Role,
    /// `host[:port]` to connect to.
    pub(crate) authority: String,
    pub(crate) schemes: Schemes,
    /// Whether certificates are verified.
    pub(crate) verify: bool,
    /// What stands before `/v2/`.
    pub(crate) prefix: String,
    /// Under which host credentials are looked up: a mirror's own, never the upstream's.
    pub(crate) credentials: String,
    /// The repository as this endpoint calls it.
    pub(crate) repository: String,
    /// Whether another endpoint serves the same content.
    pub(crate) has_alternatives: bool,
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
    fn mirrors_come_before_upstream_and_only_for_docker_io() {
        let mut settings = HostSettings::default();
        settings
            .merge_daemon_json(
                br#"{"registry-mirrors":["http://127.0.0.1:5001","https://m.example/hub/"],"insecure-registries":["10.0.0.0/8","r.example:5000"],"debug":true}"#,
            )
            .unwrap();
        let plan = |name: &str| -> Vec<String> {
            let plan = settings.plan(&name.parse().unwrap()).unwrap();
            let show = |one: &Endpoint| {
                format!("{:?} {}{} {} {}", one.schemes, one.authority, one.prefix, one.repository, one.verify)
            };
            plan.endpoints.iter().map(show).collect()
        };
        assert_eq!(
            plan("debian"),
            [
                "Http 127.0.0.1:5001 library/debian false",
                "Https m.example/hub library/debian true",
                "Https registry-1.docker.io library/debian true",
            ]
        );
        assert_eq!(plan("ghcr.io/a/b"), ["Https ghcr.io a/b true"]);
        assert_eq!(plan("10.1.2.3/a"), ["HttpsThenHttp 10.1.2.3 a false"]);
        assert_eq!(plan("r.example:5000/a"), ["HttpsThenHttp r.example:5000 a false"]);
        assert_eq!(plan("r.example/a"), ["Https r.example a true"]);
        assert_eq!(plan("localhost:5000/a"), ["HttpThenHttps localhost:5000 a false"]);
        assert_eq!(plan("[::1]:5000/a"), ["HttpThenHttps [::1]:5000 a false"]);
    }
}

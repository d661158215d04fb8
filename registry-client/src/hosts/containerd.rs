//! containerd's `certs.d/<host>/hosts.toml` (github.com/containerd/containerd, `docs/hosts.md`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::endpoint::{Endpoint, HostCertificates, Role, Schemes};
use super::fields::{self, OneOrMany};
use super::{HostSettings, is_loopback};
use crate::error::ConfigError;
use crate::reference::Reference;

/// The name of the directory whose file holds for every host without one of its own.
const DEFAULT: &str = "_default";

/// What a `hosts.toml` says.
#[derive(Debug, Clone)]
pub(super) struct HostsToml {
    host: String,
    hosts: Vec<Entry>,
    server: Option<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    url: Url,
    resolves: bool,
    pulls: bool,
    skip_verify: bool,
    override_path: bool,
    headers: HeaderMap,
    certificates: HostCertificates,
    dial_timeout: Option<Duration>,
}

#[derive(Deserialize)]
struct Document {
    server: Option<String>,
    #[serde(default)]
    host: toml::Table,
    #[serde(flatten)]
    own: Fields,
}

#[derive(Deserialize, Default)]
struct Fields {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany<String>>,
    client: Option<OneOrMany<OneOrMany<String>>>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: BTreeMap<String, OneOrMany<String>>,
    dial_timeout: Option<String>,
}

impl HostsToml {
    /// Whether it is about `host`, and how closely (smaller is closer).
    pub(super) fn closeness(&self, host: &str) -> Option<u8> {
        // containerd writes `host_5000_` where a file system takes no colon.
        let written = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => format!("{name}_{port}_"),
            _ => host.to_owned(),
        };
        match self.host.as_str() {
            own if own == host => Some(0),
            own if own == written => Some(1),
            DEFAULT => Some(2),
            _ => None,
        }
    }

    /// The hosts in the order of the file, then the server.
    pub(super) fn endpoints(
        &self,
        settings: &HostSettings,
        reference: &Reference,
    ) -> Result<Vec<Endpoint>, ConfigError> {
        let mut endpoints = Vec::new();
        for entry in &self.hosts {
            endpoints.push(entry.endpoint(settings, reference)?);
        }
        let upstream = Endpoint::upstream(settings, reference.domain(), reference.repository());
        endpoints.push(match &self.server {
            None => upstream,
            Some(server) => Endpoint {
                role: Role::Upstream,
                credentials: upstream.credentials,
                namespace: None,
                resolves: true,
                pulls: true,
                pushes: true,
                ..server.endpoint(settings, reference)?
            },
        });
        Ok(endpoints)
    }
}

impl Entry {
    fn read(url: &str, fields: Fields, directory: &Path) -> Result<Self, String> {
        let written = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        let url = Url::parse(&written).map_err(|error| format!("`{url}`: {error}"))?;
        let path = |text: &str| directory.join(text);
        let capabilities = fields.capabilities;
        let can = |name: &str| capabilities.as_ref().is_none_or(|list| list.iter().any(|one| one == name));
        let headers = fields::headers(fields.header)?;
        let client = fields.client.map(OneOrMany::into_vec).unwrap_or_default().into_iter().next();
        let client = client.map(OneOrMany::into_vec).and_then(|pair| {
            let certificate = path(pair.first()?);
            let key = pair.get(1).map_or_else(|| certificate.clone(), |key| path(key));
            Some((certificate, key))
        });
        let authorities: Vec<PathBuf> =
            fields.ca.map(OneOrMany::into_vec).unwrap_or_default().iter().map(|one| path(one)).collect();
        let dial_timeout = fields.dial_timeout.as_deref().map(fields::duration).transpose();
        let dial_timeout = dial_timeout.map_err(|error| format!("dial_timeout: {error}"))?;
        Ok(Self {
            url,
            resolves: can("resolve"),
            pulls: can("pull"),
            skip_verify: fields.skip_verify,
            override_path: fields.override_path,
            headers,
            certificates: HostCertificates { authorities, client },
            dial_timeout,
        })
    }

    fn endpoint(&self, settings: &HostSettings, reference: &Reference) -> Result<Endpoint, ConfigError> {
        let wrong = |reason: &str| ConfigError {
            file: format!("hosts.toml: `{}`", self.url),
            reason: reason.to_owned(),
        };
        let mut endpoint = Endpoint::at(settings, &self.url, reference.repository()).map_err(wrong)?;
        let path = self.url.path().trim_end_matches('/');
        // A path that ends in the version is the whole path already.
        if self.override_path || path.ends_with("/v2") {
            endpoint.api = path.to_owned();
        }
        endpoint.resolves = self.resolves;
        endpoint.pulls = self.pulls;
        endpoint.verify = endpoint.verify && !self.skip_verify;
        endpoint.headers = self.headers.clone();
        endpoint.certificates = self.certificates.clone();
        endpoint.connect_timeout = self.dial_timeout;
        if endpoint.credentials != reference.domain() {
            endpoint.namespace = Some(reference.domain().to_owned());
        }
        // Without a scheme containerd tries both on this machine.
        if is_loopback(&endpoint.authority) && self.url.scheme() == "https" && self.skip_verify {
            endpoint.schemes = Schemes::HttpsThenHttp;
        }
        Ok(endpoint)
    }
}

/// Reads the text of a file for `host`; paths in it are relative to `directory`.
pub(super) fn parse(host: &str, text: &str, directory: &Path) -> Result<HostsToml, ConfigError> {
    let wrong = |reason: String| ConfigError { file: format!("hosts.toml of `{host}`"), reason };
    let document: Document = toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
    let mut hosts = Vec::new();
    for (url, value) in document.host {
        let fields =
            Fields::deserialize(value).map_err(|error| wrong(format!("`{url}`: {}", error.message())))?;
        hosts.push(Entry::read(&url, fields, directory).map_err(wrong)?);
    }
    let server = match document.server {
        Some(server) => Some(Entry::read(&server, document.own, directory).map_err(wrong)?),
        None => None,
    };
    Ok(HostsToml { host: host.to_owned(), hosts, server })
}

/// Reads `<directory>/<host>/hosts.toml` of every host. A directory that is not there holds none.
pub(super) fn read(directory: &Path) -> Result<Vec<HostsToml>, ConfigError> {
    let mut found = Vec::new();
    let Ok(names) = std::fs::read_dir(directory) else { return Ok(found) };
    let mut paths: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let file = path.join("hosts.toml");
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let host = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let named =
            |error: ConfigError| ConfigError { file: format!("`{}`", file.display()), reason: error.reason };
        found.push(parse(host, &text, &path).map_err(named)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, name: &str) -> Vec<String> {
        let mut settings = HostSettings::default();
        settings.merge_hosts_toml("docker.io", text, Path::new("/etc/certs.d/docker.io")).unwrap();
        let plan = settings.plan(&name.parse().unwrap()).unwrap();
        let show = |one: &Endpoint| {
            format!(
                "{:?} {}{} verify={} resolve={} pull={} ns={}",
                one.role,
                one.authority,
                one.api,
                one.verify,
                one.resolves,
                one.pulls,
                one.namespace.as_deref().unwrap_or("-")
            )
        };
        plan.endpoints.iter().map(show).collect()
    }

    #[test]
    fn hosts_come_in_order_and_then_the_server() {
        let text = r#"
server = "https://registry-1.docker.io"

[host."https://z.example"]
  capabilities = ["pull", "resolve"]

[host."https://a.example/proxy"]
  capabilities = ["pull"]
  skip_verify = true
  dial_timeout = "500ms"
  ca = ["one.crt", "/two.crt"]
  client = [["c.cert", "c.key"]]
  [host."https://a.example/proxy".header]
    x-token = ["secret"]

[host."http://b.example:5000/v2/mirror"]
  override_path = true
"#;
        assert_eq!(
            plan(text, "debian"),
            [
                "Mirror z.example/v2 verify=true resolve=true pull=true ns=docker.io",
                "Mirror a.example/proxy/v2 verify=false resolve=false pull=true ns=docker.io",
                "Mirror b.example:5000/v2/mirror verify=true resolve=true pull=true ns=docker.io",
                "Upstream registry-1.docker.io/v2 verify=true resolve=true pull=true ns=-",
            ]
        );
        assert_eq!(plan(text, "ghcr.io/a/b").len(), 1);
        let entry = &parse("docker.io", text, Path::new("/d")).unwrap().hosts[1];
        assert_eq!(entry.certificates.authorities, [Path::new("/d/one.crt"), Path::new("/two.crt")]);
        assert_eq!(entry.dial_timeout, Some(Duration::from_millis(500)));
        assert!(!format!("{entry:?}").contains("secret"));
    }

    #[test]
    fn without_a_server_the_registry_itself_is_last() {
        let all = plan("[host.\"https://m.example\"]", "debian");
        assert_eq!(
            all.last().unwrap(),
            "Upstream registry-1.docker.io/v2 verify=true resolve=true pull=true ns=-"
        );
    }

    #[test]
    fn a_file_is_found_by_host_and_port() {
        let of = |name: &str, host: &str| parse(name, "", Path::new("/")).unwrap().closeness(host);
        assert_eq!(of("r.example", "r.example"), Some(0));
        assert_eq!(of("r.example:5000", "r.example:5000"), Some(0));
        assert_eq!(of("r.example_5000_", "r.example:5000"), Some(1));
        assert_eq!(of("_default", "r.example"), Some(2));
        assert_eq!(of("r.example", "r.example:5000"), None);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        for text in [
            "x",
            "[host.\"ht tp://\"]",
            "[host.\"https://a\"]\ncapabilities = 5",
            "[host.\"https://a\"]\ndial_timeout = \"soon\"",
        ] {
            assert!(parse("h", text, Path::new("/")).is_err(), "{text}");
        }
    }
}

//! rbuild's own `registries.toml`: what the other formats can say, and what they cannot, for any registry.
//! `docs/mirrors.md` explains each field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::endpoint::{Endpoint, HostCertificates, Role, Schemes};
use super::fields::{self, OneOrMany};
use super::{HostSettings, ResolvePolicy};
use crate::error::ConfigError;
use crate::reference::Reference;

/// One `[[registry]]`.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    prefix: String,
    resolve: Option<ResolvePolicy>,
    blocked: bool,
    mirrors: Vec<Server>,
    upstream: Option<Server>,
}

/// A mirror, or the registry itself.
#[derive(Debug, Clone)]
struct Server {
    url: Option<Url>,
    repository: Template,
    resolves: bool,
    pulls: bool,
    pushes: bool,
    insecure: bool,
    headers: HeaderMap,
    certificates: HostCertificates,
    connect_timeout: Option<Duration>,
    connections: Option<usize>,
}

/// How a server calls a repository.
#[derive(Debug, Clone)]
struct Template(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    registry: Vec<RegistryTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RegistryTable {
    prefix: String,
    resolve: Option<ResolvePolicy>,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror: Vec<ServerTable>,
    upstream: Option<ServerTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ServerTable {
    url: Option<String>,
    repository: Option<String>,
    can: Option<Vec<Capability>>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    headers: BTreeMap<String, OneOrMany<String>>,
    #[serde(default)]
    ca: Vec<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    connect_timeout: Option<String>,
    connections: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Capability {
    Resolve,
    Pull,
    Push,
}

/// Reads the text of a file; paths in it are relative to `directory`. An unknown field is an error: a setting that is
/// spelled wrong must not be passed over in silence.
pub(super) fn parse(text: &str, directory: &Path) -> Result<Vec<Rule>, ConfigError> {
    let wrong = |reason: String| ConfigError { file: "registries.toml".to_owned(), reason };
    let document: Document = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        wrong(format!("{place}{}", error.message()))
    })?;
    let mut rules = Vec::new();
    for table in document.registry {
        let prefix = table.prefix.clone();
        let rule = Rule::read(table, directory);
        rules.push(rule.map_err(|reason| wrong(format!("the registry `{prefix}`: {reason}")))?);
    }
    Ok(rules)
}

/// The rule with the longest prefix of the name; of equal ones the first.
pub(super) fn find<'a>(rules: &'a [Rule], reference: &Reference) -> Option<&'a Rule> {
    let name = reference.name();
    let fits = |rule: &&Rule| super::prefix_fits(&rule.prefix, &name, reference.domain());
    rules.iter().rev().filter(fits).max_by_key(|rule| rule.prefix.len())
}

impl Rule {
    fn read(table: RegistryTable, directory: &Path) -> Result<Self, String> {
        if table.prefix.is_empty() {
            return Err("the prefix is empty".to_owned());
        }
        if table.prefix.contains("://") {
            return Err("the prefix has a scheme; it should begin with the host".to_owned());
        }
        let mut mirrors = Vec::new();
        for mirror in table.mirror {
            if mirror.url.is_none() {
                return Err("a mirror has no `url`".to_owned());
            }
            mirrors.push(Server::read(mirror, directory, &[Capability::Resolve, Capability::Pull])?);
        }
        let all = [Capability::Resolve, Capability::Pull, Capability::Push];
        let upstream = table.upstream.map(|server| Server::read(server, directory, &all)).transpose()?;
        let RegistryTable { prefix, resolve, blocked, .. } = table;
        Ok(Self { prefix, resolve, blocked, mirrors, upstream })
    }

    /// Who says which digest a tag names, where the rule has an opinion.
    pub(super) fn resolve(&self) -> Option<ResolvePolicy> {
        self.resolve
    }

    /// The mirrors in order, then the registry itself.
    pub(super) fn endpoints(
        &self,
        settings: &HostSettings,
        reference: &Reference,
    ) -> Result<Vec<Endpoint>, ConfigError> {
        let wrong = |reason: String| ConfigError { file: "registries.toml".to_owned(), reason };
        if self.blocked {
            return Err(wrong(format!(
                "`{}` is blocked by the rule for `{}`",
                reference.name(),
                self.prefix
            )));
        }
        let mut endpoints = Vec::new();
        for mirror in &self.mirrors {
            endpoints.push(mirror.endpoint(settings, reference, Role::Mirror).map_err(wrong)?);
        }
        endpoints.push(match &self.upstream {
            Some(server) => server.endpoint(settings, reference, Role::Upstream).map_err(wrong)?,
            None => Endpoint::upstream(settings, reference.domain(), reference.repository()),
        });
        Ok(endpoints)
    }
}

impl Server {
    fn read(table: ServerTable, directory: &Path, default: &[Capability]) -> Result<Self, String> {
        let url = match &table.url {
            None => None,
            Some(text) => {
                let written = if text.contains("://") { text.clone() } else { format!("https://{text}") };
                Some(Url::parse(&written).map_err(|error| format!("`{text}`: {error}"))?)
            }
        };
        let client = match (table.client_certificate, table.client_key) {
            (None, None) => None,
            (Some(certificate), key) => {
                let key = key.unwrap_or_else(|| certificate.clone());
                Some((directory.join(certificate), directory.join(key)))
            }
            (None, Some(_)) => return Err("`client-key` needs `client-certificate`".to_owned()),
        };
        let connect_timeout = table.connect_timeout.as_deref().map(fields::duration).transpose();
        if table.connections == Some(0) {
            return Err("`connections` is at least 1".to_owned());
        }
        let can = table.can.unwrap_or_else(|| default.to_vec());
        Ok(Self {
            url,
            repository: Template::read(table.repository)?,
            resolves: can.contains(&Capability::Resolve),
            pulls: can.contains(&Capability::Pull),
            pushes: can.contains(&Capability::Push),
            insecure: table.insecure,
            headers: fields::headers(table.headers)?,
            certificates: HostCertificates {
                authorities: table.ca.iter().map(|path| directory.join(path)).collect(),
                client,
            },
            connect_timeout: connect_timeout.map_err(|error| format!("connect-timeout: {error}"))?,
            connections: table.connections,
        })
    }

    fn endpoint(
        &self,
        settings: &HostSettings,
        reference: &Reference,
        role: Role,
    ) -> Result<Endpoint, String> {
        let repository = self.repository.fill(reference);
        let mut endpoint = match &self.url {
            Some(url) => Endpoint::at(settings, url, &repository).map_err(|why| format!("`{url}`: {why}"))?,
            None => Endpoint::upstream(settings, reference.domain(), &repository),
        };
        if role == Role::Upstream {
            // Wherever it stands, users log in to it by its name.
            reference.domain().clone_into(&mut endpoint.credentials);
        }
        if self.insecure {
            endpoint.verify = false;
            if endpoint.schemes == Schemes::Https && self.url.is_none() {
                endpoint.schemes = Schemes::HttpsThenHttp;
            }
        }
        Ok(Endpoint {
            role,
            resolves: self.resolves,
            pulls: self.pulls,
            pushes: self.pushes,
            headers: self.headers.clone(),
            certificates: self.certificates.clone(),
            connect_timeout: self.connect_timeout,
            connections: self.connections,
            ..endpoint
        })
    }
}

impl Template {
    fn read(text: Option<String>) -> Result<Self, String> {
        let text = text.unwrap_or_else(|| "{repository}".to_owned());
        let filled = text
            .replace("{host}", "h.example:5000")
            .replace("{repository}", "a/b")
            .replace("{namespace}", "a")
            .replace("{name}", "b")
            .replace("{flat}", "a-b");
        if filled.contains(['{', '}']) {
            return Err(format!(
                "repository: `{text}` has a placeholder other than {{host}}, {{repository}}, {{namespace}}, {{name}} and {{flat}}"
            ));
        }
        if filled.starts_with('/') || filled.ends_with('/') || filled.contains("//") {
            return Err(format!("repository: `{text}` is no name of a repository"));
        }
        Ok(Self(text))
    }

    /// `{host}/{repository}` for the prefix form of mirrors, `team/{flat}` for private copies.
    fn fill(&self, reference: &Reference) -> String {
        let repository = reference.repository();
        let (namespace, name) = repository.rsplit_once('/').unwrap_or(("", repository));
        let filled = self
            .0
            .replace("{host}", reference.domain())
            .replace("{repository}", repository)
            .replace("{namespace}", namespace)
            .replace("{name}", name)
            .replace("{flat}", &repository.replace('/', "-"));
        // A repository of one part has no namespace, and leaves no gap.
        filled.replace("//", "/").trim_start_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[[registry]]
prefix = "docker.io"
resolve = "upstream"
[[registry.mirror]]
url = "https://m.example"
repository = "{host}/{repository}"
[[registry.mirror]]
url = "https://acr.example"
repository = "copies/{flat}"
can = ["pull"]
headers = { x-team = "secret" }
ca = ["corp.pem"]
client-certificate = "c.pem"
connect-timeout = "500ms"
connections = 2

[[registry]]
prefix = "docker.io/library"
[[registry.mirror]]
url = "http://10.0.0.1:5000"

[[registry]]
prefix = "*.lab.example"
upstream = { insecure = true }

[[registry]]
prefix = "old.example"
upstream = { url = "https://new.example/base", repository = "moved/{name}" }

[[registry]]
prefix = "bad.example"
blocked = true
"#;

    fn settings() -> HostSettings {
        let mut settings = HostSettings::default();
        settings.merge_registries_toml(FILE, Path::new("/etc/rbuild")).unwrap();
        settings
    }

    fn plan(name: &str) -> Vec<String> {
        let plan = settings().plan(&name.parse().unwrap()).unwrap();
        let show = |one: &Endpoint| {
            let can = [(one.resolves, "resolve"), (one.pulls, "pull"), (one.pushes, "push")];
            let can: Vec<&str> = can.iter().filter(|(can, _)| *can).map(|(_, name)| *name).collect();
            format!(
                "{:?} {}{} {} {} as {}",
                one.role,
                one.authority,
                one.api,
                one.repository,
                can.join("+"),
                one.credentials
            )
        };
        plan.endpoints.iter().map(show).collect()
    }

    #[test]
    fn the_longest_prefix_says_where() {
        assert_eq!(
            plan("bitnami/redis:7"),
            [
                "Mirror m.example/v2 docker.io/bitnami/redis resolve+pull as m.example",
                "Mirror acr.example/v2 copies/bitnami-redis pull as acr.example",
                "Upstream registry-1.docker.io/v2 bitnami/redis resolve+pull+push as docker.io",
            ]
        );
        assert_eq!(
            plan("debian"),
            [
                "Mirror 10.0.0.1:5000/v2 library/debian resolve+pull as 10.0.0.1:5000",
                "Upstream registry-1.docker.io/v2 library/debian resolve+pull+push as docker.io",
            ]
        );
        assert_eq!(
            plan("old.example/team/app"),
            ["Upstream new.example/base/v2 moved/app resolve+pull+push as old.example"]
        );
        assert_eq!(
            plan("x.lab.example/a"),
            ["Upstream x.lab.example/v2 a resolve+pull+push as x.lab.example"]
        );
        assert_eq!(plan("ghcr.io/a/b"), ["Upstream ghcr.io/v2 a/b resolve+pull+push as ghcr.io"]);
        let blocked = settings().plan(&"bad.example/a".parse().unwrap()).unwrap_err().to_string();
        assert!(blocked.contains("blocked"), "{blocked}");
    }

    #[test]
    fn a_server_has_settings_of_its_own() {
        let plan = settings().plan(&"bitnami/redis".parse().unwrap()).unwrap();
        let copy = &plan.endpoints[1];
        assert_eq!(copy.certificates.authorities, [Path::new("/etc/rbuild/corp.pem")]);
        let client = copy.certificates.client.as_ref().unwrap();
        assert_eq!(client.1, Path::new("/etc/rbuild/c.pem"));
        assert_eq!((copy.connect_timeout, copy.connections), (Some(Duration::from_millis(500)), Some(2)));
        assert!(!format!("{copy:?}").contains("secret"));
        assert_eq!(plan.resolve, ResolvePolicy::Upstream);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let mirror = |line: &str| format!("[[registry]]\nprefix='a'\n[[registry.mirror]]\n{line}");
        for (text, expected) in [
            ("[[registry]]\nmirrors = 5".to_owned(), "line 2"),
            ("[[registry]]\nprefix = ''".to_owned(), "prefix is empty"),
            ("[[registry]]\nprefix = 'https://a'".to_owned(), "scheme"),
            (mirror("can = ['pull']"), "no `url`"),
            (mirror("url = 'm'\ncan = ['fly']"), "fly"),
            (mirror("url = 'm'\nrepository = '{registry}/x'"), "placeholder"),
            (mirror("url = 'm'\nrepository = '/x'"), "no name"),
            (mirror("url = 'm'\nconnect-timeout = 'soon'"), "duration"),
            (mirror("url = 'm'\nconnections = 0"), "at least 1"),
            (mirror("url = 'm'\nclient-key = 'k'"), "client-certificate"),
            (mirror("url = 'm'\nheaders = { 'a b' = 'c' }"), "no header"),
        ] {
            let error = parse(&text, Path::new("/")).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse("", Path::new("/")).unwrap().is_empty());
    }
}

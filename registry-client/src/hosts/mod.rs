//! Which endpoints serve a reference, in which order, and what each may do.

mod containerd;
mod daemon_json;
mod endpoint;
mod fields;
mod insecure;
mod registries_conf;
mod registries_toml;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::error::{ConfigError, Error};
use crate::reference::Reference;

pub(crate) use endpoint::{Endpoint, HostCertificates, Role, authority_of};
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
    hosts_tomls: Vec<containerd::HostsToml>,
    rules: Vec<registries_conf::Rule>,
    own_rules: Vec<registries_toml::Rule>,
}

/// Who says which digest a tag names, where a registry has mirrors. Content is verified by digest in every case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResolvePolicy {
    /// The first endpoint that has the tag, mirrors before upstream: Docker's own rule, which costs nothing and works
    /// where upstream cannot be reached.
    #[default]
    #[serde(rename = "first")]
    FirstAnswer,
    /// Upstream, by a HEAD request that Docker Hub does not count; mirrors only when upstream cannot be reached. Costs one
    /// round trip, and a mirror that is behind is not believed.
    Upstream,
    /// Only mirrors, where there are any: for networks from which upstream cannot be reached, or must not be.
    Mirror,
}

impl HostSettings {
    /// Adds `registry-mirrors` and `insecure-registries` of a Docker daemon's settings file; other keys are passed over.
    pub fn merge_daemon_json(&mut self, json: &[u8]) -> Result<(), ConfigError> {
        daemon_json::merge(self, json)
    }

    /// Adds the rules of a `registries.conf` (version 2) of containers tools: mirrors of any registry, prefixes and where
    /// they lead, what is blocked or insecure. Short names mean here what they mean to Docker, so the search lists of the
    /// file are passed over.
    pub fn merge_registries_conf(&mut self, text: &str) -> Result<(), ConfigError> {
        self.rules.extend(registries_conf::parse(text)?);
        Ok(())
    }

    /// Adds the text of containerd's `hosts.toml` for `host` (`docker.io`, `registry.example:5000` or `_default`). Paths in
    /// it are relative to `directory`.
    pub fn merge_hosts_toml(&mut self, host: &str, text: &str, directory: &Path) -> Result<(), ConfigError> {
        self.hosts_tomls.push(containerd::parse(host, text, directory)?);
        Ok(())
    }

    /// Adds every `<host>/hosts.toml` below a directory such as `/etc/containerd/certs.d`. A directory that is not there
    /// adds nothing.
    pub fn read_hosts_directory(&mut self, directory: &Path) -> Result<(), ConfigError> {
        self.hosts_tomls.extend(containerd::read(directory)?);
        Ok(())
    }

    /// Adds the rules of rbuild's own `registries.toml`. Paths in it are relative to `directory`.
    pub fn merge_registries_toml(&mut self, text: &str, directory: &Path) -> Result<(), ConfigError> {
        self.own_rules.extend(registries_toml::parse(text, directory)?);
        Ok(())
    }

    /// The endpoints that serve `reference`, from the first of these that knows it: the longest rule of a
    /// `registries.toml`, a `hosts.toml` of its registry, the longest rule of a `registries.conf`, the mirrors of a
    /// `daemon.json` (docker.io only), the registry itself.
    pub(crate) fn plan(&self, reference: &Reference) -> Result<HostPlan, Error> {
        let domain = reference.domain();
        let nearest = self
            .hosts_tomls
            .iter()
            .filter_map(|one| Some((one.closeness(domain)?, one)))
            .min_by_key(|(far, _)| *far);
        let own = registries_toml::find(&self.own_rules, reference);
        let mut endpoints = if let Some(rule) = own {
            rule.endpoints(self, reference)?
        } else if let Some((_, file)) = nearest {
            file.endpoints(self, reference)?
        } else if let Some(rule) = registries_conf::find(&self.rules, reference) {
            rule.endpoints(self, reference)?
        } else {
            self.docker_endpoints(reference)?
        };
        let has_alternatives = endpoints.len() > 1;
        endpoints.iter_mut().for_each(|endpoint| endpoint.has_alternatives = has_alternatives);
        let resolve = own.and_then(registries_toml::Rule::resolve).unwrap_or(self.resolve);
        if resolve == ResolvePolicy::Mirror && has_alternatives {
            for upstream in endpoints.iter_mut().filter(|endpoint| endpoint.role == Role::Upstream) {
                (upstream.resolves, upstream.pulls) = (false, false);
            }
        }
        Ok(HostPlan { endpoints, resolve })
    }

    /// Where `reference` is asked for, in order, as `host/repository`: for showing to people.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let plan = self.plan(reference)?;
        Ok(plan.endpoints.iter().map(|one| format!("{}/{}", one.authority, one.repository)).collect())
    }

    /// Whether every mirror can be used as it is written.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.mirrors.iter().try_for_each(|mirror| self.mirror(mirror, "").map(drop))
    }

    fn mirror(&self, mirror: &Url, repository: &str) -> Result<Endpoint, ConfigError> {
        let wrong =
            |reason: &str| ConfigError { file: format!("mirror `{mirror}`"), reason: reason.to_owned() };
        Endpoint::at(self, mirror, repository).map_err(wrong)
    }

    fn docker_endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, ConfigError> {
        let mut endpoints = Vec::new();
        if reference.domain() == "docker.io" {
            for mirror in &self.mirrors {
                endpoints.push(self.mirror(mirror, reference.repository())?);
            }
        }
        endpoints.push(Endpoint::upstream(self, reference.domain(), reference.repository()));
        Ok(endpoints)
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
    pub(crate) resolve: ResolvePolicy,
}

impl HostPlan {
    /// Those that may be asked for the manifest of `reference`: a tag's only where they are believed about tags.
    pub(crate) fn for_manifest(&self, reference: &Reference) -> impl Iterator<Item = &Endpoint> {
        let by_digest = reference.digest().is_some();
        self.endpoints.iter().filter(move |one| if by_digest { one.pulls } else { one.resolves })
    }

    /// Those that may be asked for blobs.
    pub(crate) fn for_blobs(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|one| one.pulls)
    }

    /// The registry itself.
    pub(crate) fn upstream(&self) -> Option<&Endpoint> {
        self.endpoints.last()
    }

    /// The only endpoint that is written to: the first that takes it.
    pub(crate) fn for_push(&self, reference: &Reference) -> Result<&Endpoint, ConfigError> {
        self.endpoints.iter().find(|one| one.pushes).ok_or_else(|| ConfigError {
            file: "registries.toml".to_owned(),
            reason: format!("nothing that serves `{}` may be pushed to", reference.name()),
        })
    }
}

/// Whether a rule for `prefix` is about `name` (`host/path`) on `domain`. `*.example.com` is every host below one.
fn prefix_fits(prefix: &str, name: &str, domain: &str) -> bool {
    if let Some(suffix) = prefix.strip_prefix('*') {
        return suffix.starts_with('.') && domain.ends_with(suffix);
    }
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
                format!("{:?} {}{} {} {}", one.schemes, one.authority, one.api, one.repository, one.verify)
            };
            plan.endpoints.iter().map(show).collect()
        };
        assert_eq!(
            plan("debian"),
            [
                "Http 127.0.0.1:5001/v2 library/debian false",
                "Https m.example/hub/v2 library/debian true",
                "Https registry-1.docker.io/v2 library/debian true",
            ]
        );
        assert_eq!(plan("ghcr.io/a/b"), ["Https ghcr.io/v2 a/b true"]);
        assert_eq!(plan("10.1.2.3/a"), ["HttpsThenHttp 10.1.2.3/v2 a false"]);
        assert_eq!(plan("r.example:5000/a"), ["HttpsThenHttp r.example:5000/v2 a false"]);
        assert_eq!(plan("r.example/a"), ["Https r.example/v2 a true"]);
        assert_eq!(plan("localhost:5000/a"), ["HttpThenHttps localhost:5000/v2 a false"]);
        assert_eq!(plan("[::1]:5000/a"), ["HttpThenHttps [::1]:5000/v2 a false"]);
    }
}

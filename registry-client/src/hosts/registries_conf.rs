//! `registries.conf` version 2 of containers tools (containers-registries.conf(5)).

use serde::Deserialize;

use super::HostSettings;
use super::endpoint::{Endpoint, Role, Schemes};
use crate::error::ConfigError;
use crate::reference::Reference;

/// One `[[registry]]`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default, rename = "mirror-by-digest-only")]
    by_digest_only: bool,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    pull: Option<Pull>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pull {
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<Rule>,
}

/// Reads the text of a file. Short names and search lists are passed over: names mean here what they mean to Docker.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>, ConfigError> {
    let wrong = |reason: String| ConfigError { file: "registries.conf".to_owned(), reason };
    let document: Document = toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
    let mut rules = document.registry;
    for rule in &mut rules {
        for place in std::iter::once(&rule.location).chain(rule.mirrors.iter().map(|mirror| &mirror.location))
        {
            if place.contains("://") {
                return Err(wrong(format!(
                    "location: `{place}` has a scheme; it should begin with the host"
                )));
            }
        }
        if rule.prefix.is_empty() {
            rule.prefix.clone_from(&rule.location);
        }
        if rule.prefix.is_empty() {
            return Err(wrong("a [[registry]] has neither prefix nor location".to_owned()));
        }
    }
    Ok(rules)
}

/// The rule with the longest prefix of the name.
pub(super) fn find<'a>(rules: &'a [Rule], reference: &Reference) -> Option<&'a Rule> {
    let name = reference.name();
    let fits = |rule: &&Rule| super::prefix_fits(&rule.prefix, &name, reference.domain());
    rules.iter().filter(fits).max_by_key(|rule| rule.prefix.len())
}

impl Rule {
    /// The mirrors in order, then the location.
    pub(super) fn endpoints(
        &self,
        settings: &HostSettings,
        reference: &Reference,
    ) -> Result<Vec<Endpoint>, ConfigError> {
        let name = reference.name();
        if self.blocked {
            let file = "registries.conf".to_owned();
            return Err(ConfigError {
                file,
                reason: format!("`{name}` is blocked by the rule for `{}`", self.prefix),
            });
        }
        let mut endpoints = Vec::new();
        for mirror in &self.mirrors {
            let mut endpoint = self.place(settings, &mirror.location, &name, mirror.insecure);
            endpoint.role = Role::Mirror;
            endpoint.pushes = false;
            endpoint.resolves = !self.by_digest_only && mirror.pull != Some(Pull::DigestOnly);
            endpoints.push(endpoint);
        }
        endpoints.push(self.place(settings, &self.location, &name, self.insecure));
        Ok(endpoints)
    }

    /// The name with its prefix replaced by `location`.
    fn place(&self, settings: &HostSettings, location: &str, name: &str, insecure: bool) -> Endpoint {
        let location = location.trim_end_matches('/');
        let replaced = match name.strip_prefix(&self.prefix) {
            Some(rest) if !location.is_empty() => format!("{location}{rest}"),
            // A prefix with a wildcard says nothing about where.
            _ => name.to_owned(),
        };
        let (domain, repository) = replaced.split_once('/').unwrap_or((&replaced, ""));
        let mut endpoint = Endpoint::upstream(settings, domain, repository);
        if insecure && endpoint.schemes == Schemes::Https {
            endpoint.schemes = Schemes::HttpsThenHttp;
            endpoint.verify = false;
        }
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "m.example/docker.io"
[[registry.mirror]]
location = "10.0.0.1:5000"
insecure = true
pull-from-mirror = "digest-only"

[[registry]]
location = "docker.io/library"
mirror-by-digest-only = true
[[registry.mirror]]
location = "official.example/mirror"

[[registry]]
prefix = "old.example/team"
location = "new.example:8443/moved/team"

[[registry]]
prefix = "*.bad.example"
blocked = true

[[registry]]
prefix = "*.lab.example"
insecure = true
"#;

    #[test]
    fn the_longest_prefix_rewrites() {
        let mut settings = HostSettings::default();
        settings.merge_registries_conf(FILE).unwrap();
        let plan = |name: &str| -> Vec<String> {
            let plan = settings.plan(&name.parse().unwrap()).unwrap();
            let show = |one: &Endpoint| {
                format!(
                    "{:?} {} {} {:?} resolve={}",
                    one.role, one.authority, one.repository, one.schemes, one.resolves
                )
            };
            plan.endpoints.iter().map(show).collect()
        };
        assert_eq!(
            plan("bitnami/redis:7"),
            [
                "Mirror m.example docker.io/bitnami/redis Https resolve=true",
                "Mirror 10.0.0.1:5000 bitnami/redis HttpsThenHttp resolve=false",
                "Upstream registry-1.docker.io bitnami/redis Https resolve=true",
            ]
        );
        assert_eq!(
            plan("debian"),
            [
                "Mirror official.example mirror/debian Https resolve=false",
                "Upstream registry-1.docker.io library/debian Https resolve=true",
            ]
        );
        assert_eq!(
            plan("old.example/team/app"),
            ["Upstream new.example:8443 moved/team/app Https resolve=true"]
        );
        assert_eq!(plan("old.example/teams/app"), ["Upstream old.example teams/app Https resolve=true"]);
        assert_eq!(plan("x.lab.example/a"), ["Upstream x.lab.example a HttpsThenHttp resolve=true"]);
        let error = settings.plan(&"x.bad.example/a".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("blocked"), "{error}");
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        for text in [
            "[[registry]]",
            "registry = 5",
            "[[registry]]\nlocation = \"https://a\"",
            "[[registry]]\nlocation=\"a\"\n[[registry.mirror]]\nlocation=\"b\"\npull-from-mirror=\"x\"",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("").unwrap().is_empty());
    }
}

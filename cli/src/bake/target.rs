//! What is built, as bake files and compose files say it.

use std::collections::BTreeMap;

use builder::dockerfile::{Source, Span};
use serde::Serialize;

use super::entries::{self, Entry, Secret, Ssh};

/// All that the files define.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// Groups, in the order of the files.
    pub(crate) groups: Vec<Group>,
    /// Targets, in the order of the files.
    pub(crate) targets: Vec<Target>,
}

/// Targets under one name.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Group {
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) targets: Vec<String>,
    /// Where its targets stand.
    #[serde(skip)]
    pub(crate) place: Option<(Source, Span)>,
}

/// A build. The fields stand in the order in which `--print` shows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) inherits: Vec<String>,
    pub(crate) annotations: Vec<String>,
    pub(crate) attest: Vec<Entry>,
    pub(crate) context: Option<String>,
    pub(crate) contexts: BTreeMap<String, String>,
    pub(crate) dockerfile: Option<String>,
    pub(crate) dockerfile_inline: Option<String>,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) cache_from: Vec<Entry>,
    pub(crate) cache_to: Option<Vec<Entry>>,
    pub(crate) target: Option<String>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) ssh: Vec<Ssh>,
    pub(crate) platforms: Option<Vec<String>>,
    pub(crate) outputs: Option<Vec<Entry>>,
    pub(crate) pull: Option<bool>,
    pub(crate) no_cache: Option<bool>,
    pub(crate) network: Option<String>,
    pub(crate) no_cache_filter: Vec<String>,
    pub(crate) shm_size: Option<String>,
    pub(crate) ulimits: Vec<String>,
    pub(crate) resources: Option<serde_json::Value>,
    pub(crate) call: Option<String>,
    pub(crate) entitlements: Vec<String>,
    pub(crate) extra_hosts: BTreeMap<String, String>,
    pub(crate) policy: Option<serde_json::Value>,
    /// Where each field was said last, for what a build says of it.
    pub(crate) places: BTreeMap<&'static str, (Source, Span)>,
    /// Whether it is built only because another target begins with it.
    pub(crate) linked: bool,
}

impl Target {
    /// Takes over what another definition of the same target says: it stands later, so it counts.
    pub(crate) fn merge(&mut self, later: &Self) {
        let instead = |mine: &mut Option<String>, other: &Option<String>| {
            if other.is_some() {
                mine.clone_from(other);
            }
        };
        instead(&mut self.context, &later.context);
        instead(&mut self.dockerfile, &later.dockerfile);
        instead(&mut self.dockerfile_inline, &later.dockerfile_inline);
        instead(&mut self.target, &later.target);
        instead(&mut self.network, &later.network);
        instead(&mut self.shm_size, &later.shm_size);
        instead(&mut self.call, &later.call);
        instead(&mut self.description, &later.description);
        for (mine, other) in [
            (&mut self.args, &later.args),
            (&mut self.contexts, &later.contexts),
            (&mut self.labels, &later.labels),
            (&mut self.extra_hosts, &later.extra_hosts),
        ] {
            mine.extend(other.clone());
        }
        for (mine, other) in [(&mut self.tags, &later.tags), (&mut self.platforms, &later.platforms)] {
            if other.is_some() {
                mine.clone_from(other);
            }
        }
        for (mine, other) in [(&mut self.cache_to, &later.cache_to), (&mut self.outputs, &later.outputs)] {
            if other.is_some() {
                mine.clone_from(other);
            }
        }
        for (mine, other) in [
            (&mut self.annotations, &later.annotations),
            (&mut self.no_cache_filter, &later.no_cache_filter),
            (&mut self.ulimits, &later.ulimits),
            (&mut self.entitlements, &later.entitlements),
            (&mut self.inherits, &later.inherits),
        ] {
            mine.extend_from_slice(other);
        }
        self.cache_from.extend_from_slice(&later.cache_from);
        entries::each_once(&mut self.cache_from);
        self.attest.extend_from_slice(&later.attest);
        entries::last_of_each(&mut self.attest, |one| one.get("type").map_or("", String::as_str));
        self.secrets.extend_from_slice(&later.secrets);
        entries::last_of_each(&mut self.secrets, |one| &one.id);
        self.ssh.extend_from_slice(&later.ssh);
        entries::last_of_each(&mut self.ssh, |one| &one.id);
        self.pull = later.pull.or(self.pull);
        self.no_cache = later.no_cache.or(self.no_cache);
        for (mine, other) in [(&mut self.resources, &later.resources), (&mut self.policy, &later.policy)] {
            if other.is_some() {
                mine.clone_from(other);
            }
        }
        self.places.extend(later.places.clone());
    }

    /// Each value once, and what follows from others.
    pub(crate) fn normalize(&mut self) {
        entries::texts_once(&mut self.annotations);
        self.tags.iter_mut().for_each(entries::texts_once);
        self.platforms.iter_mut().for_each(entries::texts_once);
        entries::texts_once(&mut self.no_cache_filter);
        entries::texts_once(&mut self.ulimits);
        entries::each_once(&mut self.cache_from);
        self.cache_to.iter_mut().for_each(entries::each_once);
        self.outputs.iter_mut().for_each(entries::each_once);
        if self.network.as_deref() == Some("host") {
            self.entitlements.push("network.host".to_owned());
        }
        entries::texts_once(&mut self.entitlements);
        self.contexts.retain(|_, place| !place.is_empty());
    }
}

/// Each target and group once, under its first place; later definitions are merged into the first.
pub(crate) fn merged(config: Config) -> Config {
    let mut targets: Vec<Target> = Vec::new();
    for target in config.targets {
        match targets.iter_mut().find(|known| known.name == target.name) {
            Some(known) => known.merge(&target),
            None => targets.push(target),
        }
    }
    let mut groups = config.groups;
    groups.iter_mut().for_each(|group| {
        let mut seen = std::collections::HashSet::new();
        group.targets.retain(|name| seen.insert(name.clone()));
    });
    Config { groups, targets }
}

//! A service that is built, as a target.

use std::collections::BTreeMap;

use super::super::entries::{self, Secret};
use super::super::fault::Result;
use super::super::markup::{Markup, Node};
use super::super::target::Target;
use super::super::{check_name, paths, target_name};
use super::read::{agents, contexts, each, flag, limits, list, map, named, size, text, texts, words};
use super::{Variables, environment};

/// The fields of `build`.
const BUILD: [&str; 25] = [
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// The fields of `x-bake`.
const EXTENSION: [&str; 11] = [
    "cache-from",
    "cache-to",
    "contexts",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "pull",
    "secret",
    "ssh",
    "tags",
];

/// The target that a service is; `None` for one that is not built.
pub(super) fn target(
    name: &str,
    node: &Node,
    secrets: &BTreeMap<String, Node>,
    variables: &Variables<'_>,
) -> Result<Option<Target>> {
    let image = node.field("image").and_then(Node::name).filter(|image| !image.is_empty());
    let Some(build) = node.field("build").filter(|build| !build.is_null()) else {
        if image.is_none() {
            let message = format!("the service `{name}` has neither `image` nor `build`");
            return Err(node.fault(message));
        }
        return Ok(None);
    };
    let mut target = Target { name: target_name(name), ..Target::default() };
    check_name(&target.name).map_err(|reason| node.fault(reason))?;
    let files = environment::of_service(node, variables)?;
    let service = Service { node, secrets, variables, files };
    for (key, value) in build.fields() {
        let Some(field) = key.name().filter(|field| !field.starts_with("x-")) else { continue };
        let Some(field) = BUILD.iter().find(|known| **known == field) else {
            let message = format!("`build` of a service has no field `{field}`");
            return Err(key.fault(message).meant(&field, BUILD));
        };
        // The names are those that a bake file has for the same.
        if let Some(name) = bake_name(field) {
            target.places.insert(name, ((*key.source).clone(), key.span.to(value.span)));
        }
        if !value.is_null() {
            service
                .set(&mut target, field, value)
                .map_err(|reason| value.fault(format!("`{field}` of `build`: {reason}")))?;
        }
    }
    target.ssh.sort();
    if let Some(extension) = build.field("x-bake") {
        for (key, value) in extension.fields() {
            let field = key.name().unwrap_or_default();
            if !EXTENSION.contains(&field.as_str()) {
                let message = format!("`x-bake` has no field `{field}`");
                return Err(key.fault(message).meant(&field, EXTENSION));
            }
            extend(&mut target, &field, value)
                .map_err(|reason| value.fault(format!("`{field}` of `x-bake`: {reason}")))?;
        }
    }
    if target.tags.as_ref().is_none_or(Vec::is_empty) {
        target.tags = image.map(|image| vec![image]);
    }
    Ok(Some(target))
}

fn bake_name(field: &str) -> Option<&'static str> {
    Some(match field {
        "additional_contexts" => "contexts",
        "provenance" | "sbom" => "attest",
        "secrets" => "secret",
        "cache_from" => "cache-from",
        "cache_to" => "cache-to",
        "network" => "network",
        "platforms" => "platforms",
        "ssh" => "ssh",
        "context" => "context",
        "dockerfile" => "dockerfile",
        _ => return None,
    })
}

struct Service<'a> {
    node: &'a Node,
    secrets: &'a BTreeMap<String, Node>,
    variables: &'a Variables<'a>,
    /// What its `env_file`s say.
    files: BTreeMap<String, String>,
}

impl Service<'_> {
    fn set(&self, target: &mut Target, field: &str, node: &Node) -> Result<(), String> {
        match field {
            "context" => {
                let text = text(node)?;
                let elsewhere = paths::is_remote(&text) || text.contains("://");
                target.context = Some(if elsewhere { text } else { paths::clean(&text) });
            }
            "dockerfile" => target.dockerfile = Some(text(node)?),
            "dockerfile_inline" => target.dockerfile_inline = Some(text(node)?),
            "target" => target.target = Some(text(node)?).filter(|stage| !stage.is_empty()),
            "network" => target.network = Some(text(node)?).filter(|mode| !mode.is_empty()),
            "args" => target.args = self.arguments(node)?,
            "labels" => target.labels = named(node)?,
            "tags" => target.tags = Some(texts(node)?),
            "platforms" => target.platforms = Some(texts(node)?),
            "no_cache_filter" => target.no_cache_filter = texts(node)?,
            "entitlements" => target.entitlements.extend(texts(node)?),
            "privileged" if flag(node)? => target.entitlements.push("security.insecure".to_owned()),
            "no_cache" => target.no_cache = flag(node)?.then_some(true),
            "pull" => target.pull = flag(node)?.then_some(true),
            "cache_from" => target.cache_from = each(node, entries::caches)?,
            "cache_to" => target.cache_to = Some(each(node, entries::caches)?),
            "additional_contexts" => target.contexts = contexts(node)?,
            "extra_hosts" => target.extra_hosts = named(node)?,
            "shm_size" => target.shm_size = Some(size(node)?),
            "ulimits" => target.ulimits = limits(node)?,
            "ssh" => target.ssh = agents(node)?,
            "secrets" => target.secrets = self.secrets_of(node)?,
            "sbom" | "provenance" => {
                let text = text(node)?;
                target.attest.extend(entries::attestations(&entries::attestation_of(field, &text))?);
            }
            // `isolation` is for Windows.
            _ => {}
        }
        Ok(())
    }

    /// Arguments; one without a value has that of the service's environment, of its files, or of this process.
    fn arguments(&self, node: &Node) -> Result<BTreeMap<String, String>, String> {
        let own = self.node.field("environment");
        let mut arguments = BTreeMap::new();
        for (key, value) in map(node)? {
            let name = key.name().unwrap_or_default();
            let value = if value.is_null() {
                let own = own.and_then(|own| own.field(&name)).filter(|value| !value.is_null());
                match own {
                    Some(value) => Some(text(value)?),
                    None => self.files.get(&name).cloned().or_else(|| self.variables.value(&name)),
                }
            } else {
                Some(text(value)?)
            };
            arguments.extend(value.map(|value| (name, value)));
        }
        Ok(arguments)
    }

    fn secrets_of(&self, node: &Node) -> Result<Vec<Secret>, String> {
        let one = |node: &Node| {
            let id = match &node.value {
                Markup::Map(_) => node.field("source").and_then(Node::name).unwrap_or_default(),
                _ => text(node)?,
            };
            let known =
                self.secrets.get(&id).ok_or_else(|| format!("there is no secret `{id}` in the file"))?;
            if known.field("external").is_some_and(|external| flag(external) == Ok(true)) {
                return Err(format!("the secret `{id}` is external, and only an orchestrator has those"));
            }
            let of = |name: &str| known.field(name).and_then(Node::name).unwrap_or_default();
            let src = of("file");
            let src = if src.is_empty() { src } else { paths::clean(&src) };
            Ok(Secret { id, src, env: of("environment") })
        };
        list(node)?.iter().map(one).collect()
    }
}

fn extend(target: &mut Target, field: &str, node: &Node) -> Result<(), String> {
    match field {
        "tags" => target.tags.get_or_insert_default().extend(words(node)?),
        "platforms" => target.platforms.get_or_insert_default().extend(words(node)?),
        "no-cache-filter" => target.no_cache_filter.extend(words(node)?),
        "pull" => target.pull = Some(flag(node)?),
        "no-cache" => target.no_cache = Some(flag(node)?),
        "contexts" => {
            for (name, place) in contexts(node)? {
                target.contexts.entry(name).or_insert(place);
            }
        }
        "cache-from" => {
            for text in words(node)? {
                target.cache_from.extend(entries::caches(&text)?);
            }
            entries::each_once(&mut target.cache_from);
        }
        "cache-to" => {
            let all = target.cache_to.get_or_insert_default();
            for text in words(node)? {
                all.extend(entries::caches(&text)?);
            }
            entries::each_once(all);
        }
        "output" => {
            for text in words(node)? {
                target.outputs.get_or_insert_default().extend(entries::outputs(&text)?);
            }
        }
        "secret" => {
            for text in words(node)? {
                target.secrets.extend(entries::secrets(&text)?);
            }
            entries::last_of_each(&mut target.secrets, |one| &one.id);
        }
        "ssh" => {
            target.ssh.extend(words(node)?.iter().flat_map(|text| entries::agents(text)));
            entries::last_of_each(&mut target.ssh, |one| &one.id);
            target.ssh.sort();
        }
        _ => {}
    }
    if let Some(tags) = &mut target.tags {
        entries::texts_once(tags);
    }
    if let Some(platforms) = &mut target.platforms {
        entries::texts_once(platforms);
    }
    Ok(())
}

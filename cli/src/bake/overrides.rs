//! `--set target.key=value`

use std::collections::BTreeMap;

use super::entries::{self, Entry};
use super::target::{Config, Target};
use super::{Given, paths};

/// What is set for each target, by key, in the order of the command line.
#[derive(Debug, Default)]
pub(crate) struct Overrides(BTreeMap<String, BTreeMap<String, Override>>);

#[derive(Debug, Clone, Default)]
struct Override {
    value: String,
    values: Vec<String>,
    append: bool,
    /// What was typed, for messages.
    typed: String,
}

/// Keys whose values are gathered, and can be added with `+=`.
const LISTS: [&str; 14] = [
    "annotations",
    "attest",
    "cache-from",
    "cache-to",
    "entitlements",
    "no-cache-filter",
    "output",
    "platform",
    "platforms",
    "policy",
    "secrets",
    "ssh",
    "tags",
    "ulimits",
];

/// Keys that have a name after them.
const NAMED: [&str; 6] = ["args", "contexts", "extra-hosts", "labels", "resources", "secret"];

/// Keys with one value.
const SINGLE: [&str; 11] = [
    "call",
    "context",
    "dockerfile",
    "load",
    "network",
    "no-cache",
    "pull",
    "push",
    "shm-size",
    "target",
    "description",
];

impl Overrides {
    /// Reads the texts of `--set`.
    pub(crate) fn read(texts: &[String], config: &Config, given: &Given<'_>) -> Result<Self, String> {
        let mut all = Self::default();
        for text in texts {
            all.take(text, config, given).map_err(|reason| format!("`--set {text}`: {reason}"))?;
        }
        Ok(all)
    }

    fn take(&mut self, text: &str, config: &Config, given: &Given<'_>) -> Result<(), String> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        let (key, append) = key.strip_suffix('+').map_or((key, false), |key| (key, true));
        let mut parts = key.splitn(3, '.');
        let pattern = parts.next().unwrap_or_default();
        let field = parts.next().ok_or("it is not of the form TARGET.KEY=VALUE")?;
        let name = parts.next();
        match (NAMED.contains(&field), name) {
            (true, None) => {
                return Err(format!("`{field}` takes a name, as in `{pattern}.{field}.NAME=VALUE`"));
            }
            (true, Some(_)) if append => return Err(format!("`{field}` has nothing that can be added to")),
            (true, Some(_)) => {}
            (false, _) if LISTS.contains(&field) || SINGLE.contains(&field) => {}
            _ => {
                let known = LISTS.iter().chain(&NAMED).chain(&SINGLE).copied();
                let near = builder::dockerfile::nearest(field, known);
                let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(format!("there is no key `{field}`{meant}"));
            }
        }
        let value = match (value, field, name) {
            (Some(value), ..) => value.to_owned(),
            // An argument without a value has that of the environment, if there is one.
            (None, "args", Some(name)) => match (given.lookup)(name) {
                Some(value) => value,
                None => return Ok(()),
            },
            _ => return Err("it is not of the form TARGET.KEY=VALUE".to_owned()),
        };
        let key = name.map_or_else(|| field.to_owned(), |name| format!("{field}.{name}"));
        for target in targets(config, pattern)? {
            let entry = self.0.entry(target).or_default().entry(key.clone()).or_default();
            entry.append = append;
            entry.values.push(value.clone());
            entry.value.clone_from(&value);
            text.clone_into(&mut entry.typed);
        }
        Ok(())
    }

    /// Puts what is set for a target into it.
    pub(crate) fn apply(&self, target: &mut Target) -> Result<(), String> {
        for (key, one) in self.0.get(&target.name).into_iter().flatten() {
            let (field, name) = key.split_once('.').unwrap_or((key, ""));
            one.put(target, field, name).map_err(|reason| format!("`--set {}`: {reason}", one.typed))?;
        }
        Ok(())
    }
}

/// The targets that a pattern means.
fn targets(config: &Config, pattern: &str) -> Result<Vec<String>, String> {
    if config.targets.iter().any(|target| target.name == pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let names: Vec<String> = config
        .targets
        .iter()
        .filter(|one| paths::fits(pattern, &one.name))
        .map(|one| one.name.clone())
        .collect();
    if names.is_empty() { Err(format!("no target has the name `{pattern}`")) } else { Ok(names) }
}

impl Override {
    fn put(&self, target: &mut Target, field: &str, name: &str) -> Result<(), String> {
        let value = || Some(self.value.clone());
        let flag = || crate::args::kaniko::boolean(&self.value);
        let pair = || (name.to_owned(), self.value.clone());
        match field {
            "context" => target.context = value(),
            "dockerfile" => target.dockerfile = value(),
            "description" => target.description = value(),
            "target" => target.target = value(),
            "call" => target.call = value(),
            "network" => target.network = value(),
            "shm-size" => target.shm_size = value(),
            "no-cache" => target.no_cache = Some(flag()?),
            "pull" => target.pull = Some(flag()?),
            "push" => push(target.outputs.get_or_insert_default(), flag()?),
            "load" if flag()? => load(target.outputs.get_or_insert_default()),
            "args" => target.args.extend([pair()]),
            "contexts" => target.contexts.extend([pair()]),
            "labels" => target.labels.extend([pair()]),
            "extra-hosts" => target.extra_hosts.extend([pair()]),
            "secret" => self.secret(target, name)?,
            "tags" => self.texts(target.tags.get_or_insert_default()),
            "platform" | "platforms" => self.texts(target.platforms.get_or_insert_default()),
            "no-cache-filter" => self.texts(&mut target.no_cache_filter),
            "ulimits" => self.texts(&mut target.ulimits),
            "annotations" => target.annotations.extend_from_slice(&self.values),
            "entitlements" => target.entitlements.extend_from_slice(&self.values),
            "cache-from" => self.entries(&mut target.cache_from, entries::caches)?,
            "cache-to" => self.entries(target.cache_to.get_or_insert_default(), entries::caches)?,
            "output" => self.entries(target.outputs.get_or_insert_default(), entries::outputs)?,
            "secrets" => {
                self.entries(&mut target.secrets, entries::secrets)?;
                entries::last_of_each(&mut target.secrets, |one| &one.id);
            }
            "ssh" => {
                self.entries(&mut target.ssh, |text| Ok(entries::agents(text)))?;
                entries::last_of_each(&mut target.ssh, |one| &one.id);
            }
            "attest" => {
                for text in &self.values {
                    target.attest.extend(entries::attestations(text)?);
                }
                entries::last_of_each(&mut target.attest, |one| one.get("type").map_or("", String::as_str));
            }
            "policy" => target.policy = Some(self.values.iter().map(String::as_str).collect()),
            "resources" => {
                let all = target.resources.get_or_insert_with(|| serde_json::json!({}));
                all[name] = self.value.clone().into();
            }
            _ => {}
        }
        Ok(())
    }

    fn texts(&self, texts: &mut Vec<String>) {
        if !self.append {
            texts.clear();
        }
        texts.extend_from_slice(&self.values);
    }

    fn entries<T>(
        &self,
        all: &mut Vec<T>,
        read: impl Fn(&str) -> Result<Vec<T>, String>,
    ) -> Result<(), String> {
        if !self.append {
            all.clear();
        }
        for text in &self.values {
            all.extend(read(text)?);
        }
        Ok(())
    }

    fn secret(&self, target: &mut Target, id: &str) -> Result<(), String> {
        let known = target.secrets.iter_mut().find(|one| one.id == id);
        let known = known.ok_or_else(|| format!("the target has no secret `{id}`"))?;
        let Some(next) = entries::secrets(&self.value)?.pop() else { return Ok(()) };
        if !next.id.is_empty() && next.id != id {
            return Err(format!("`{}` is another secret than `{id}`", next.id));
        }
        (known.src, known.env) = (next.src, next.env);
        Ok(())
    }
}

fn kind(entry: &Entry) -> &str {
    entry.get("type").map_or("", String::as_str)
}

/// An image is pushed unless the outputs are for something else altogether.
fn push(outputs: &mut Vec<Entry>, on: bool) {
    if !on {
        let mut at = 0;
        while at < outputs.len() {
            match kind(&outputs[at]) {
                "registry" => {
                    outputs.swap_remove(at);
                    continue;
                }
                "image" => _ = outputs[at].insert("push".to_owned(), "false".to_owned()),
                _ => {}
            }
            at += 1;
        }
        return;
    }
    let only_docker = outputs.iter().all(|output| kind(output) == "docker");
    for output in outputs.iter_mut().filter(|output| kind(output) == "image") {
        output.insert("push".to_owned(), "true".to_owned());
    }
    if only_docker {
        let fields = [("type", "image"), ("push", "true")];
        outputs.push(fields.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    }
}

/// An image is loaded unless the outputs are for something else altogether.
fn load(outputs: &mut Vec<Entry>) {
    let loads = |output: &Entry| kind(output) == "docker" && !output.contains_key("dest");
    let other = |output: &Entry| !["docker", "image", "registry", "oci"].contains(&kind(output));
    if !outputs.iter().any(|output| loads(output) || other(output)) {
        outputs.push(Entry::from([("type".to_owned(), "docker".to_owned())]));
    }
}

//! Compose files: a service that is built is a target.

mod env_file;
mod interpolate;
mod merge;
mod service;

use std::collections::BTreeMap;

use builder::dockerfile::Source;

use super::Given;
use super::fault::{Fault, Result};
use super::markup::{self, Markup, Node};
use super::target::{Config, Group};

/// How deep services may extend each other.
const DEPTH: usize = 32;

/// Variables of compose files: those of the environment, and then those of `.env`.
struct Variables<'a> {
    given: &'a Given<'a>,
    file: BTreeMap<String, String>,
}

impl Variables<'_> {
    fn value(&self, name: &str) -> Option<String> {
        (self.given.lookup)(name).or_else(|| self.file.get(name).cloned())
    }
}

/// A node with the file that it stands in.
#[derive(Clone)]
struct Located<'a> {
    source: &'a Source,
    node: Node,
}

/// Reads compose files, in their order, as one project.
pub(super) fn read(files: &[&Source], given: &Given<'_>) -> Result<Config> {
    let mut variables = Variables { given, file: BTreeMap::new() };
    if let Some(file) = given.env_file {
        variables.file = env_file::read(file, &|name| (given.lookup)(name))?;
    }
    let mut services: BTreeMap<String, Located<'_>> = BTreeMap::new();
    let mut secrets: BTreeMap<String, Node> = BTreeMap::new();
    for source in files {
        let Some(root) = markup::parse(source)? else {
            return Err(Fault::new(format!("the compose file `{}` is empty", source.name)));
        };
        let root = interpolate::node(source, &merge::keys(source, root)?, &variables)?;
        let Markup::Map(_) = root.value else {
            return Err(Fault::at(source, root.span, "a compose file is a map with `services`"));
        };
        if let Some(include) = root.field("include") {
            return Err(Fault::at(source, include.span, "`include` is not supported")
                .help("name the files in their order: `-f one.yaml -f two.yaml`"));
        }
        for (name, node) in root.field("services").iter().flat_map(|node| node.fields()) {
            let Some(name) = name.name() else { continue };
            let node = merge::service(node.clone());
            let merged = match services.remove(&name) {
                Some(known) => merge::nodes(known.node, node, ""),
                None => node,
            };
            services.insert(name, Located { source, node: merged });
        }
        for (name, node) in root.field("secrets").iter().flat_map(|node| node.fields()) {
            secrets.insert(name.name().unwrap_or_default(), node.clone());
        }
    }
    let mut config = Config::default();
    let mut all = Group { name: "default".to_owned(), ..Group::default() };
    for name in services.keys() {
        let located = extended(name, &services, 0)?;
        if let Some(target) = service::target(name, &located, &secrets, &variables)? {
            all.targets.push(target.name.clone());
            config.targets.push(target);
        }
    }
    config.groups.push(all);
    Ok(config)
}

/// Whether a file that is neither HCL nor JSON may be a compose file.
pub(super) fn looks_like_one(file: &Source) -> bool {
    matches!(markup::parse(file), Ok(Some(root)) if root.field("services").is_some())
}

/// A service with what it takes over from another one by `extends`.
fn extended<'a>(name: &str, services: &BTreeMap<String, Located<'a>>, depth: usize) -> Result<Located<'a>> {
    let Some(located) = services.get(name) else {
        return Err(Fault::new(format!("there is no service `{name}`")));
    };
    let Some(extends) = located.node.field("extends") else { return Ok(located.clone()) };
    if let Some(file) = extends.field("file") {
        return Err(Fault::at(located.source, file.span, "`extends` from another file is not supported")
            .help("put both files together: `-f one.yaml -f two.yaml`"));
    }
    let wanted = extends.field("service").unwrap_or(extends);
    let other = wanted.name().filter(|other| services.contains_key(other)).ok_or_else(|| {
        let message = format!("there is no service `{}`", wanted.name().unwrap_or_default());
        Fault::at(located.source, wanted.span, message)
    })?;
    if depth > DEPTH {
        return Err(Fault::at(located.source, extends.span, "these services extend each other"));
    }
    let base = extended(&other, services, depth + 1)?;
    let node = merge::nodes(base.node, located.node.clone(), "");
    Ok(Located { source: located.source, node })
}

//! Compose files: a service that is built is a target.

mod env_file;
mod environment;
mod interpolate;
mod merge;
mod place;
mod read;
mod service;

use std::cell::Cell;
use std::collections::BTreeMap;

use builder::dockerfile::Source;

use super::fault::{Fault, Result};
use super::markup::{self, Markup, Node};
use super::target::{Config, Group};
use super::{Given, paths};

/// How deep files may include each other, and services extend each other.
const DEPTH: usize = 32;

/// How many files others may name.
const FILES: usize = 200;

/// Variables of compose files: those of the environment, and then those of `.env`.
struct Variables<'a> {
    given: &'a Given<'a>,
    file: BTreeMap<String, String>,
    /// How many files others have named.
    opened: &'a Cell<usize>,
}

impl Variables<'_> {
    fn value(&self, name: &str) -> Option<String> {
        (self.given.lookup)(name).or_else(|| self.file.get(name).cloned())
    }

    /// Opens the file at `path` that `node` names; `None` if it is not there.
    fn open(&self, node: &Node, path: &str) -> Result<Option<Source>> {
        self.opened.update(|count| count + 1);
        if self.opened.get() > FILES {
            return Err(node.fault("files name each other without an end"));
        }
        (self.given.open)(path).map_err(|reason| node.fault(reason))
    }
}

/// Reads compose files, in their order, as one project.
pub(super) fn read(files: &[&Source], given: &Given<'_>) -> Result<Config> {
    let opened = Cell::new(0);
    let mut variables = Variables { given, file: BTreeMap::new(), opened: &opened };
    if let Some(file) = given.env_file {
        variables.file = env_file::read(file, &|name| (given.lookup)(name))?;
    }
    let mut project = Project { variables: &variables, services: BTreeMap::new(), secrets: BTreeMap::new() };
    for source in files {
        project.take(source, "", 0)?;
    }
    let mut config = Config::default();
    let mut all = Group { name: "default".to_owned(), ..Group::default() };
    for name in project.services.keys() {
        let node = project.extended(name, 0)?;
        if let Some(target) = service::target(name, &node, &project.secrets, &variables)? {
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

/// What several files come to.
struct Project<'a> {
    variables: &'a Variables<'a>,
    services: BTreeMap<String, Node>,
    secrets: BTreeMap<String, Node>,
}

impl Project<'_> {
    /// Takes a file in, and those that it includes before it. Its paths are relative to `base`.
    fn take(&mut self, source: &Source, base: &str, depth: usize) -> Result<()> {
        let Some(root) = markup::parse(source)? else {
            return Err(Fault::new(format!("the compose file `{}` is empty", source.name)));
        };
        let root = interpolate::node(&merge::keys(root)?, self.variables)?;
        let Markup::Map(_) = root.value else {
            return Err(root.fault("a compose file is a map with `services`"));
        };
        if let Some(include) = root.field("include") {
            let Markup::List(items) = &include.value else {
                return Err(include.fault("`include` is a list of files"));
            };
            for item in items {
                self.include(item, base, depth)?;
            }
        }
        for (name, node) in root.field("services").iter().flat_map(|node| node.fields()) {
            let Some(name) = name.name() else { continue };
            let node = place::service(merge::service(node.clone()), base);
            let node = self.with_extended_file(node, base, depth)?;
            let merged = match self.services.remove(&name) {
                Some(known) => merge::nodes(known, node, ""),
                None => node,
            };
            self.services.insert(name, merged);
        }
        for (name, node) in root.field("secrets").iter().flat_map(|node| node.fields()) {
            self.secrets.insert(name.name().unwrap_or_default(), place::secret(node.clone(), base));
        }
        Ok(())
    }

    /// Takes in what an entry of `include` names: a file, or `path`, `project_directory` and `env_file`.
    fn include(&mut self, item: &Node, base: &str, depth: usize) -> Result<()> {
        if let Some(other) = item
            .fields()
            .iter()
            .map(|(key, _)| key)
            .find(|key| !["path", "project_directory", "env_file"].iter().any(|known| key.is(known)))
        {
            let message = format!("`{}` of an `include` is not supported", other.name().unwrap_or_default());
            return Err(other.fault(message));
        }
        let files = match item.field("path").unwrap_or(item) {
            Node { value: Markup::List(items), .. } => items.iter().collect(),
            one => vec![one],
        };
        let directory = item.field("project_directory").and_then(Node::name);
        for file in files {
            let (source, own) = self.open(file, base, depth)?;
            let directory = directory.as_ref().map_or(own, |directory| paths::join(base, directory));
            let file = environment::of_include(item, base, &directory, self.variables)?;
            let variables = Variables { file, ..*self.variables };
            let mut included = Project {
                variables: &variables,
                services: std::mem::take(&mut self.services),
                secrets: std::mem::take(&mut self.secrets),
            };
            included.take(&source, &directory, depth + 1)?;
            (self.services, self.secrets) = (included.services, included.secrets);
        }
        Ok(())
    }

    /// Opens the file that a node names. Returns it with its directory.
    fn open(&self, file: &Node, base: &str, depth: usize) -> Result<(Source, String)> {
        if depth >= DEPTH {
            return Err(file.fault("files name each other without an end"));
        }
        let name = file.name().ok_or_else(|| file.fault("the name of a file is needed"))?;
        if paths::is_remote(&name) || name.contains("://") {
            return Err(file.fault(format!("`{name}` is not fetched: only files of this machine are read")));
        }
        let path = paths::join(base, &name);
        let source = self.variables.open(file, &path)?;
        let source = source.ok_or_else(|| file.fault(format!("there is no file `{path}`")))?;
        let directory = path.rsplit_once('/').map_or(String::new(), |(directory, _)| directory.to_owned());
        Ok((source, directory))
    }

    /// A service with what it takes over from one of another file.
    fn with_extended_file(&self, node: Node, base: &str, depth: usize) -> Result<Node> {
        let Some(extends) = node.field("extends") else { return Ok(node) };
        let Some(file) = extends.field("file") else { return Ok(node) };
        let (source, directory) = self.open(file, base, depth)?;
        let mut other =
            Project { variables: self.variables, services: BTreeMap::new(), secrets: BTreeMap::new() };
        other.take(&source, &directory, depth + 1)?;
        let wanted = extends.field("service").unwrap_or(extends);
        let name = wanted
            .name()
            .filter(|name| other.services.contains_key(name))
            .ok_or_else(|| wanted.fault(format!("`{}` has no such service", source.name)))?;
        let taken = other.extended(&name, 0)?;
        Ok(merge::nodes(taken, merge::without(node, "extends"), ""))
    }

    /// A service with what it takes over from another one by `extends`.
    fn extended(&self, name: &str, depth: usize) -> Result<Node> {
        let Some(node) = self.services.get(name) else {
            return Err(Fault::new(format!("there is no service `{name}`")));
        };
        let Some(extends) = node.field("extends") else { return Ok(node.clone()) };
        let wanted = extends.field("service").unwrap_or(extends);
        let other = wanted.name().filter(|other| self.services.contains_key(other)).ok_or_else(|| {
            let message = format!("there is no service `{}`", wanted.name().unwrap_or_default());
            wanted.fault(message)
        })?;
        if depth > DEPTH {
            return Err(extends.fault("these services extend each other"));
        }
        let base = self.extended(&other, depth + 1)?;
        Ok(merge::nodes(base, node.clone(), ""))
    }
}

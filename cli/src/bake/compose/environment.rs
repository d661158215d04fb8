//! Variables that files give: `env_file` of services and of `include`.

use std::collections::BTreeMap;

use builder::dockerfile::Source;

use super::super::fault::Result;
use super::super::markup::{Markup, Node};
use super::super::paths;
use super::{Variables, env_file, read};

/// What the `env_file`s of a service say, where an argument of its build has no value and needs one; nothing elsewhere,
/// since they are for containers. A later file comes before an earlier one.
pub(super) fn of_service(service: &Node, variables: &Variables<'_>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let arguments = service.field("build").and_then(|build| build.field("args"));
    let own = |name: &Node| {
        let environment = service.field("environment")?;
        environment.field(&name.name()?).filter(|value| !value.is_null())
    };
    let needs = |(name, value): &(Node, Node)| value.is_null() && own(name).is_none();
    if !arguments.iter().flat_map(|node| node.fields()).any(needs) {
        return Ok(found);
    }
    let files = match service.field("env_file") {
        Some(Node { value: Markup::List(items), .. }) => items.as_slice(),
        _ => return Ok(found),
    };
    for file in files {
        let is_optional = file.field("required").is_some_and(|required| read::flag(required) == Ok(false));
        let name = file.field("path").unwrap_or(file);
        let Some(path) = name.name() else { return Err(name.fault("the name of a file is needed")) };
        match variables.open(name, &path)? {
            Some(source) => {
                let format = file.field("format").and_then(Node::name);
                found.extend(match format.as_deref() {
                    Some("raw") => raw(&source),
                    _ => env_file::read(&source, &|name| variables.value(name))?,
                });
            }
            None if is_optional => {}
            None => return Err(name.fault(format!("there is no file `{path}`"))),
        }
    }
    Ok(found)
}

/// The variables of an included file: those that there are, and then those of the `env_file`s of its entry, which are
/// beside the including file, or of `.env` in its project directory.
pub(super) fn of_include(
    item: &Node,
    base: &str,
    directory: &str,
    variables: &Variables<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut sources = Vec::new();
    match item.field("env_file") {
        Some(node) => {
            let names = match &node.value {
                Markup::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for node in names {
                let name = node.name().ok_or_else(|| node.fault("the name of a file is needed"))?;
                let path = paths::join(base, &name);
                let source = variables.open(node, &path)?;
                sources.push(source.ok_or_else(|| node.fault(format!("there is no file `{path}`")))?);
            }
        }
        None => sources.extend(variables.open(item, &paths::join(directory, ".env"))?),
    }
    let mut read = BTreeMap::new();
    for source in &sources {
        read.extend(env_file::read(source, &|name| variables.value(name))?);
    }
    read.extend(variables.file.clone());
    Ok(read)
}

/// Lines of `NAME=value` as they are.
fn raw(source: &Source) -> BTreeMap<String, String> {
    let lines = source.text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect()
}

//! From what the files define to what is built: groups, patterns, what targets inherit, what they begin with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fault::{Fault, Result};
use super::overrides::Overrides;
use super::target::{Config, Group, Target};
use super::{Given, paths};

/// How deep targets may depend on each other.
const DEPTH: usize = 100;
/// How many names a hint has.
const SHOWN: usize = 5;

/// What is built.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The groups that were meant, and `default` for all that was.
    pub(crate) groups: BTreeMap<String, Group>,
    /// The targets by name, with those that others begin with.
    pub(crate) targets: BTreeMap<String, Target>,
}

/// Finds the targets that words mean, each with all that it inherits and all that is set for it.
pub(crate) fn select(config: &Config, words: &[String], given: &Given<'_>) -> Result<Selection> {
    let overrides = Overrides::read(given.overrides, config, given).map_err(Fault::new)?;
    let resolver = Resolver { config, overrides: &overrides, given };
    let mut wanted: Vec<String> = Vec::new();
    for word in words {
        // A service of a compose file may have a dot in its name.
        for name in resolver.matching(&word.replace('.', "_"))? {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
    }
    let mut selection = Selection::default();
    for name in &wanted {
        let (targets, groups) = resolver.expanded(name);
        for target in targets {
            if !selection.targets.contains_key(&target) {
                let named = |group: &&Group| groups.contains(&group.name) && group.targets.contains(&target);
                let place = config.groups.iter().find(named).and_then(|group| group.place.as_ref());
                let resolved = resolver.resolve(&target).map_err(|fault| match place {
                    Some((source, span)) => fault.or_at(source, *span),
                    None => fault,
                });
                selection.targets.insert(target.clone(), resolved?);
            }
        }
        for group in groups {
            if let Some(known) = config.groups.iter().find(|known| known.name == group) {
                selection.groups.insert(group, known.clone());
            }
        }
    }
    for name in wanted {
        if name == "default" && selection.groups.contains_key("default") {
            continue;
        }
        selection.groups.entry("default".to_owned()).or_default().targets.push(name);
    }
    if let Some(group) = selection.groups.get_mut("default") {
        group.targets.sort();
        group.targets.dedup();
    }
    let names: Vec<String> = selection.targets.keys().cloned().collect();
    for name in names {
        resolver.link(&name, &mut selection.targets, &mut Vec::new())?;
    }
    Ok(selection)
}

struct Resolver<'a> {
    config: &'a Config,
    overrides: &'a Overrides,
    given: &'a Given<'a>,
}

impl Resolver<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        let groups = self.config.groups.iter().map(|group| group.name.as_str());
        groups.chain(self.config.targets.iter().map(|target| target.name.as_str()))
    }

    fn matching(&self, word: &str) -> Result<Vec<String>> {
        if !paths::is_pattern(word) {
            return Ok(vec![word.to_owned()]);
        }
        let names: Vec<String> =
            self.names().filter(|name| paths::fits(word, name)).map(str::to_owned).collect();
        if names.is_empty() { Err(Fault::new(format!("no target fits `{word}`"))) } else { Ok(names) }
    }

    /// The targets of a group, and the groups on the way.
    fn expanded(&self, name: &str) -> (Vec<String>, BTreeSet<String>) {
        let (mut targets, mut groups) = (Vec::new(), BTreeSet::new());
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            match self.config.groups.iter().find(|group| group.name == name) {
                // A target may have the name of the group that it is in.
                Some(_) if groups.contains(&name) => {
                    if self.config.targets.iter().any(|target| target.name == name)
                        && !targets.contains(&name)
                    {
                        targets.push(name);
                    }
                }
                Some(group) => {
                    groups.insert(name);
                    waiting.extend(group.targets.iter().rev().cloned());
                }
                None if targets.contains(&name) => {}
                None => targets.push(name),
            }
        }
        (targets, groups)
    }

    /// A target with all that it inherits and all that is set for it.
    fn resolve(&self, name: &str) -> Result<Target> {
        let resolved = self.inherited(name, 0, &mut HashMap::new())?;
        let mut target =
            resolved.ok_or_else(|| Fault::new(format!("the target `{name}` inherits itself")))?;
        target.inherits.clear();
        target.context.get_or_insert_with(|| ".".to_owned());
        if target.dockerfile.as_deref().is_none_or(str::is_empty) {
            target.dockerfile = Some("Dockerfile".to_owned());
        }
        if let Some(epoch) = self.given.epoch {
            target.args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.to_owned());
        }
        self.placed(&mut target)?;
        Ok(target)
    }

    /// Contexts and Dockerfiles as paths from the working directory.
    fn placed(&self, target: &mut Target) -> Result<()> {
        for (what, path) in [("context", &target.context), ("Dockerfile", &target.dockerfile)] {
            if path.as_deref() == Some("-") {
                let message =
                    format!("the {what} of the target `{}` cannot come from standard input", target.name);
                return Err(Fault::new(message));
            }
        }
        if let Some(remote) = self.given.remote {
            return remote.place(target);
        }
        if let Some(context) = &mut target.context {
            let here = context.strip_prefix("cwd://").unwrap_or(context).to_owned();
            *context = if paths::is_remote(&here) { here } else { paths::clean(&here) };
        }
        Ok(())
    }

    fn inherited(
        &self,
        name: &str,
        depth: usize,
        seen: &mut HashMap<String, Option<Target>>,
    ) -> Result<Option<Target>> {
        if let Some(target) = seen.get(name) {
            return Ok(target.clone());
        }
        if depth > DEPTH {
            return Err(Fault::new(format!("targets inherit from each other more than {DEPTH} levels deep")));
        }
        seen.insert(name.to_owned(), None);
        let Some(own) = self.config.targets.iter().find(|target| target.name == name) else {
            let fault = Fault::new(format!("there is no target `{name}`"));
            if name != "default" {
                return Err(fault.meant(name, self.names()));
            }
            let shown: Vec<String> = self.names().take(SHOWN).map(|name| format!("`{name}`")).collect();
            return Err(if shown.is_empty() {
                fault.help("the files define no target")
            } else {
                fault.help(format!("name what is to be built, {} for instance", shown.join(", ")))
            });
        };
        let mut target = Target { name: name.to_owned(), ..Target::default() };
        for parent in &own.inherits {
            let parent = self.inherited(parent, depth + 1, seen).map_err(|fault| {
                match own.places.get("inherits") {
                    Some((source, span)) => fault.or_at(source, *span),
                    None => fault,
                }
            })?;
            if let Some(parent) = parent {
                target.merge(&parent);
            }
        }
        target.merge(own);
        self.overrides.apply(&mut target).map_err(Fault::new)?;
        target.normalize();
        seen.insert(name.to_owned(), Some(target.clone()));
        Ok(Some(target))
    }

    /// Brings in the targets that a target begins with.
    fn link(&self, name: &str, all: &mut BTreeMap<String, Target>, path: &mut Vec<String>) -> Result<()> {
        path.push(name.to_owned());
        if path.len() > DEPTH {
            return Err(Fault::new(format!("targets begin with each other more than {DEPTH} levels deep")));
        }
        let contexts: Vec<String> = all.get(name).map(|target| links(target).collect()).unwrap_or_default();
        for linked in contexts {
            let place = all.get(name).and_then(|target| target.places.get("contexts").cloned());
            let placed = |fault: Fault| match &place {
                Some((source, span)) => fault.or_at(source, *span),
                None => fault,
            };
            if path.contains(&linked) {
                let chain = path.iter().chain([&linked]).map(|name| format!("`{name}`")).collect::<Vec<_>>();
                let message = format!("targets begin with each other: {}", chain.join(" begins with "));
                return Err(placed(Fault::new(message)));
            }
            if !all.contains_key(&linked) {
                let mut target = self.resolve(&linked).map_err(placed)?;
                target.outputs = Some(vec![[("type".to_owned(), "cacheonly".to_owned())].into()]);
                target.linked = true;
                all.insert(linked.clone(), target);
            }
            self.link(&linked, all, path)?;
            let (below, entitlements) = all
                .get(&linked)
                .map(|target| (target.platforms.clone().unwrap_or_default(), target.entitlements.clone()))
                .unwrap_or_default();
            let Some(target) = all.get_mut(name) else { continue };
            target.entitlements.extend(entitlements);
            super::entries::texts_once(&mut target.entitlements);
            let own = target.platforms.clone().unwrap_or_default();
            if own.len() > 1 && below.len() > 1 && !own.iter().all(|platform| below.contains(platform)) {
                let message = format!(
                    "the target `{name}` is for {}, and `{linked}`, which it begins with, for {}",
                    own.join(", "),
                    below.join(", ")
                );
                return Err(placed(Fault::new(message)));
            }
        }
        path.pop();
        Ok(())
    }
}

/// The targets that a target begins with.
pub(crate) fn links(target: &Target) -> impl Iterator<Item = String> {
    target.contexts.values().filter_map(|place| place.strip_prefix("target:")).map(str::to_owned)
}

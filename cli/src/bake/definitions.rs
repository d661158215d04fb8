//! The variables, functions and blocks of all bake files together, each evaluated when something asks for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::body::{Attribute, Block, Body};
use super::decode;
use super::evaluate::{Evaluator, Locals, Names};
use super::fault::{Fault, Result};
use super::function::Parameters;
use super::functions::Surroundings;
use super::target::{Config, Group, Target};
use super::value::Value;
use super::variable;

/// What is known beside the files.
pub(crate) struct Environment<'a> {
    /// `BAKE_CMD_CONTEXT` and the like, which nothing overrides.
    pub(crate) builtins: BTreeMap<String, String>,
    /// The value that the command line or the environment gives a variable.
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Where and when this runs.
    pub(crate) surroundings: Surroundings,
}

/// The largest value of a variable or attribute, in bytes.
const WEIGHT: usize = 16 << 20;

/// By kind and name: which blocks, and what the matrix of each gives it.
type Named = BTreeMap<(String, String), Vec<(usize, Locals)>>;

/// Everything that files define.
pub(crate) struct Definitions<'a> {
    pub(super) environment: &'a Environment<'a>,
    pub(super) variables: BTreeMap<&'a str, &'a Block>,
    functions: BTreeMap<&'a str, &'a Block>,
    attributes: BTreeMap<&'a str, &'a Attribute>,
    /// Groups and targets, in the order of the files.
    blocks: Vec<&'a Block>,
    /// What each name of a group or target stands for: blocks, and the values that its matrix gives it.
    named: RefCell<Named>,
    known: RefCell<HashMap<String, Value>>,
    busy: RefCell<HashSet<String>>,
}

impl<'a> Definitions<'a> {
    /// Of the bodies of files, in their order: of two definitions of a variable or function the later one counts.
    pub(crate) fn of(bodies: &'a [Body], environment: &'a Environment<'a>) -> Result<Self> {
        let mut all = Self {
            environment,
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            attributes: BTreeMap::new(),
            blocks: Vec::new(),
            named: RefCell::default(),
            known: RefCell::default(),
            busy: RefCell::default(),
        };
        for body in bodies {
            all.attributes.extend(body.attributes.iter().map(|one| (one.name.as_str(), one)));
            for block in &body.blocks {
                let label = block.label.as_str();
                match block.kind.as_str() {
                    "variable" | "function" | "group" | "target" if label.is_empty() => {
                        let message = format!("this `{}` has no name", block.kind);
                        return Err(Fault::at(&block.source, block.kind_span, message));
                    }
                    "variable" => _ = all.variables.insert(label, block),
                    "function" => _ = all.functions.insert(label, block),
                    "group" | "target" => all.blocks.push(block),
                    kind => {
                        return Err(Fault::at(
                            &block.source,
                            block.kind_span,
                            format!("there is no block `{kind}`"),
                        )
                        .meant(kind, ["group", "target", "variable", "function"]));
                    }
                }
            }
        }
        Ok(all)
    }

    /// The groups and targets, after all variables have been looked at.
    pub(crate) fn config(&self) -> Result<Config> {
        for (name, block) in &self.variables {
            self.value_of(name, 0).map_err(|fault| fault.or_at(&block.source, block.span))?;
        }
        for block in self.variables.values() {
            variable::validate(self, block)?;
        }
        for block in self.functions.values() {
            Parameters::of(block)?;
        }
        let names = self.names()?;
        let mut config = Config::default();
        for (block, instances) in self.blocks.iter().zip(&names) {
            for (name, locals) in instances {
                if block.kind == "target" {
                    config.targets.push(self.target(block, name, locals)?);
                } else {
                    self.group(&mut config, block, name, locals)?;
                }
            }
        }
        self.renamed(&names, &mut config);
        for (name, attribute) in &self.attributes {
            self.value_of(name, 0).map_err(|fault| fault.or_at(&attribute.source, attribute.span))?;
        }
        Ok(config)
    }

    /// The names of each block, and what its matrix gives each.
    fn names(&self) -> Result<Vec<Vec<(String, Locals)>>> {
        let mut all = Vec::new();
        let mut named = Named::new();
        for (at, block) in self.blocks.iter().enumerate() {
            let instances = self.instances(block)?;
            for (name, locals) in &instances {
                named.entry((block.kind.clone(), name.clone())).or_default().push((at, locals.clone()));
            }
            all.push(instances);
        }
        *self.named.borrow_mut() = named;
        Ok(all)
    }

    fn instances(&self, block: &Block) -> Result<Vec<(String, Locals)>> {
        super::check_name(&block.label).map_err(|reason| Fault::at(&block.source, block.span, reason))?;
        let matrix = block.body.attribute("matrix").filter(|_| block.kind == "target");
        let name = block.body.attribute("name").filter(|_| block.kind == "target");
        let Some(matrix) = matrix else {
            if let Some(name) = name {
                return Err(Fault::at(
                    &name.source,
                    name.span,
                    "a `name` is for targets that have a `matrix`",
                ));
            }
            return Ok(vec![(block.label.clone(), Locals::default())]);
        };
        let mut rows = vec![Locals::default()];
        let place = Evaluator::place(&matrix.value);
        let value = self.evaluator(&matrix.source, 0).value(&matrix.value, &Locals::default())?;
        let Value::Object(columns) = value else {
            let message = format!("a `matrix` is an object of lists, and this is {}", value.kind());
            return Err(Fault::at(&matrix.source, place, message));
        };
        for (column, values) in columns {
            let Value::List(values) = values else {
                let message = format!("`{column}` of a `matrix` is a list, and this is {}", values.kind());
                return Err(Fault::at(&matrix.source, place, message));
            };
            rows = values
                .iter()
                .flat_map(|value| rows.iter().map(|row| row.with(&column, value.clone())))
                .collect();
            if rows.len() > 10_000 {
                return Err(Fault::at(&matrix.source, place, "this `matrix` makes more than 10000 targets"));
            }
        }
        let mut instances: Vec<(String, Locals)> = Vec::new();
        for row in rows {
            let label = match name {
                None => block.label.clone(),
                Some(name) => {
                    let place = Evaluator::place(&name.value);
                    let value = self.evaluator(&name.source, 0).value(&name.value, &row)?;
                    let text = value.to_text().and_then(|text| super::check_name(&text).map(|()| text));
                    text.map_err(|reason| Fault::at(&name.source, place, reason))?
                }
            };
            if instances.iter().any(|(known, _)| *known == label) {
                let attribute = name.unwrap_or(matrix);
                let message = format!("two targets of this `matrix` have the name `{label}`");
                return Err(Fault::at(&attribute.source, attribute.span, message)
                    .help("`name` makes a name of the values, as in `name = \"app-${version}\"`"));
            }
            instances.push((label, row));
        }
        Ok(instances)
    }

    /// A block whose targets have other names than its own becomes a group of them.
    fn renamed(&self, names: &[Vec<(String, Locals)>], config: &mut Config) {
        let mut groups: Vec<Group> = Vec::new();
        let targets = self.blocks.iter().zip(names).filter(|(block, _)| block.kind == "target");
        for (block, instances) in targets {
            let targets = instances.iter().map(|(name, _)| name.clone());
            match groups.iter_mut().find(|group| group.name == block.label) {
                Some(group) => group.targets.extend(targets),
                None => groups.push(Group {
                    name: block.label.clone(),
                    targets: targets.collect(),
                    ..Group::default()
                }),
            }
        }
        groups
            .retain(|group| group.targets.is_empty() || group.targets.iter().any(|name| *name != group.name));
        config.groups.extend(groups);
    }

    fn target(&self, block: &Block, name: &str, locals: &Locals) -> Result<Target> {
        let mut target = Target { name: name.to_owned(), ..Target::default() };
        if let Some(inner) = block.body.blocks.first() {
            let message = format!("a target has no block `{}`", inner.kind);
            return Err(Fault::at(&inner.source, inner.span, message).help(format!("`{} = …`", inner.kind)));
        }
        for attribute in &block.body.attributes {
            let field = format!("target.{name}.{}", attribute.name);
            let value = self.once(&format!("{field}#{}", attribute.span.start), || {
                self.evaluator(&attribute.source, 0).value(&attribute.value, locals)
            })?;
            target.take(attribute, &value)?;
        }
        Ok(target)
    }

    fn group(&self, config: &mut Config, block: &Block, name: &str, locals: &Locals) -> Result<()> {
        let mut group = Group { name: name.to_owned(), ..Group::default() };
        for attribute in &block.body.attributes {
            let value = self.evaluator(&attribute.source, 0).value(&attribute.value, locals)?;
            group.take(attribute, &value)?;
        }
        // A later group takes the place of an earlier one, also of that of a compose file.
        match config.groups.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = group,
            None => config.groups.push(group),
        }
        Ok(())
    }

    pub(super) fn evaluator<'b>(
        &'b self,
        source: &'b builder::dockerfile::Source,
        depth: usize,
    ) -> Evaluator<'b> {
        Evaluator::new(self, source, depth)
    }

    /// Evaluates something that nothing has asked for yet, and nothing that waits for itself.
    fn once(&self, key: &str, evaluate: impl FnOnce() -> Result<Value>) -> Result<Value> {
        if let Some(value) = self.known.borrow().get(key) {
            return Ok(value.clone());
        }
        if !self.busy.borrow_mut().insert(key.to_owned()) {
            let name = key.split('#').next().unwrap_or(key);
            return Err(Fault::new(format!("`{name}` depends on itself")));
        }
        let value = evaluate();
        self.busy.borrow_mut().remove(key);
        let value = value?;
        // Names that double what they name would fill any memory.
        if value.weight() > WEIGHT {
            let name = key.split('#').next().unwrap_or(key);
            return Err(Fault::new(format!("the value of `{name}` is larger than {WEIGHT} bytes")));
        }
        self.known.borrow_mut().insert(key.to_owned(), value.clone());
        Ok(value)
    }

    /// The value of a variable or of an attribute of a file.
    pub(super) fn value_of(&self, name: &str, depth: usize) -> Result<Value> {
        if let Some(text) = self.environment.builtins.get(name) {
            return Ok(Value::text(text));
        }
        self.once(name, || variable::value(self, name, self.attributes.get(name).copied(), depth))
    }
}

impl Names for Definitions<'_> {
    fn variable(&self, name: &str, depth: usize) -> Option<Result<Value>> {
        let known = self.environment.builtins.contains_key(name)
            || self.variables.contains_key(name)
            || self.attributes.contains_key(name);
        known.then(|| self.value_of(name, depth))
    }

    fn block(&self, kind: &str, name: &str, field: Option<&str>, depth: usize) -> Option<Result<Value>> {
        if kind != "target" && kind != "group" {
            return None;
        }
        let instances = self.named.borrow().get(&(kind.to_owned(), name.to_owned())).cloned();
        let Some(instances) = instances else {
            let names: Vec<String> = self
                .named
                .borrow()
                .keys()
                .filter(|(of, _)| of == kind)
                .map(|(_, name)| name.clone())
                .collect();
            let fault = Fault::new(format!("there is no {kind} `{name}`"));
            return Some(Err(fault.meant(name, names.iter().map(String::as_str))));
        };
        let mut object = BTreeMap::new();
        for (at, locals) in instances {
            for attribute in &self.blocks[at].body.attributes {
                if field.is_some_and(|field| field != attribute.name) {
                    continue;
                }
                let key = format!("{kind}.{name}.{}#{}", attribute.name, attribute.span.start);
                let value = self
                    .once(&key, || self.evaluator(&attribute.source, depth).value(&attribute.value, &locals));
                match value {
                    Ok(value) => {
                        _ = object.insert(attribute.name.clone(), decode::referred(&attribute.name, value));
                    }
                    Err(fault) => return Some(Err(fault)),
                }
            }
        }
        Some(Ok(match field {
            Some(field) => object.remove(field).unwrap_or(Value::Null),
            None => Value::Object(object),
        }))
    }

    fn call(&self, name: &str, arguments: &[Value], depth: usize) -> Option<Result<Value>> {
        let block = self.functions.get(name)?;
        Some(Parameters::of(block).and_then(|parameters| {
            let locals = parameters.given(name, arguments)?;
            let result = parameters.result;
            if !self.busy.borrow_mut().insert(format!("{name}()")) {
                return Err(Fault::new(format!("the function `{name}` calls itself")));
            }
            let value = self.evaluator(&result.source, depth).value(&result.value, &locals);
            self.busy.borrow_mut().remove(&format!("{name}()"));
            value
        }))
    }

    fn surroundings(&self) -> &Surroundings {
        &self.environment.surroundings
    }

    fn known(&self, functions: bool) -> Vec<String> {
        if functions {
            return self.functions.keys().map(|name| (*name).to_owned()).collect();
        }
        let names = self.variables.keys().chain(self.attributes.keys()).map(|name| (*name).to_owned());
        names.chain(self.environment.builtins.keys().cloned()).collect()
    }
}

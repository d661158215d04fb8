//! What a Dockerfile offers to those who build it: its targets, and what a target can be given.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use layer_store::Platform;
use rpds::HashTrieMap;

use crate::build::BuildRequest;
use crate::dockerfile::ast::{ArgDecl, Dockerfile, InstructionKind};
use crate::dockerfile::expand::{Scope, expand};
use crate::dockerfile::globals::Globals;
use crate::dockerfile::mount::{Mount, parse_mount_with};
use crate::dockerfile::stages::StageGraph;
use crate::dockerfile::{self, Diagnostic, Span};
use crate::error::{Error, Result};
use crate::lower::image_stage;

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is built where no target is named.
    pub default: bool,
    /// The text of a comment `# name text` above.
    pub description: Option<String>,
    /// The image or stage that it starts from, as written.
    pub base: String,
    /// Its `--platform`, as written.
    pub platform: Option<String>,
    /// Where its FROM is.
    pub span: Span,
}

/// What a target can be given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The target's name, if it has one.
    pub name: Option<String>,
    /// The text of a comment `# name text` above its FROM.
    pub description: Option<String>,
    /// Build arguments, each once, in the order of the file.
    pub args: Vec<OutlineArg>,
    /// Secrets of `RUN --mount=type=secret`, likewise.
    pub secrets: Vec<OutlineMount>,
    /// Agents of `RUN --mount=type=ssh`, likewise.
    pub agents: Vec<OutlineMount>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// What it is with the arguments of the request.
    pub value: Option<String>,
    /// The text of a comment `# name text` above.
    pub description: Option<String>,
    /// Where it is declared.
    pub span: Span,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// Whether a build fails without it.
    pub required: bool,
    /// Where it is first used.
    pub span: Span,
}

/// The stages of a Dockerfile, in order.
///
/// # Errors
///
/// [`Error::Dockerfile`].
pub fn targets(request: &BuildRequest) -> Result<Vec<Target>> {
    let dockerfile = parsed(request)?;
    let last = dockerfile.stages.len() - 1;
    let text = |word: &dockerfile::Word| word.text.clone();
    Ok(dockerfile
        .stages
        .iter()
        .map(|stage| Target {
            name: stage.name.as_ref().map(ToString::to_string),
            default: stage.index == last,
            description: stage.description.clone(),
            base: text(&stage.image),
            platform: stage.platform.as_ref().map(text),
            span: stage.from_span,
        })
        .collect())
}

/// What the target of a request can be given.
///
/// # Errors
///
/// [`Error::Dockerfile`], and a target that does not exist.
pub fn outline(request: &BuildRequest) -> Result<Outline> {
    let dockerfile = parsed(request)?;
    let options = &request.options;
    let target = image_stage(&dockerfile, options)?;
    let platform = options.platforms.first().cloned().unwrap_or_else(Platform::host);
    let (globals, error) =
        Globals::new(&dockerfile, options.given(&platform, options.targets.last().map(String::as_str)));
    if let Some(error) = error {
        return Err(Error::Dockerfile(vec![error]));
    }
    let graph = StageGraph::new(&dockerfile, &globals);
    let needed = graph.needed(target, |name| request.options.contexts.contains_key(name));
    let mut outlining = Outlining {
        dockerfile: &dockerfile,
        given: &request.options.build_args,
        globals,
        variables: HashMap::new(),
    };
    // A stage has its variables from one above it.
    let in_order: BTreeSet<usize> = needed.iter().copied().collect();
    let mut uses: HashMap<usize, Uses> =
        in_order.into_iter().map(|index| (index, outlining.stage(index, graph.start(index).stage))).collect();
    // What several stages declare is what the one nearest to the target says.
    let mut all = Uses::default();
    for index in needed {
        all.add(uses.remove(&index).unwrap_or_default());
    }
    let stage = &dockerfile.stages[target];
    Ok(Outline {
        name: stage.name.as_ref().map(ToString::to_string),
        description: stage.description.clone(),
        args: sorted(all.args, |arg| arg.span),
        secrets: sorted(all.secrets, |mount| mount.span),
        agents: sorted(all.agents, |mount| mount.span),
    })
}

fn parsed(request: &BuildRequest) -> Result<Dockerfile> {
    let (dockerfile, diagnostics) = dockerfile::parse(&request.dockerfile);
    let errors: Vec<_> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
    if errors.is_empty() { Ok(dockerfile) } else { Err(Error::Dockerfile(errors)) }
}

fn sorted<T>(found: HashMap<String, T>, span: impl Fn(&T) -> Span) -> Vec<T> {
    let mut list: Vec<T> = found.into_values().collect();
    list.sort_by_key(|one| span(one).start);
    list
}

/// What a stage uses, by name.
#[derive(Default)]
struct Uses {
    args: HashMap<String, OutlineArg>,
    secrets: HashMap<String, OutlineMount>,
    agents: HashMap<String, OutlineMount>,
}

impl Uses {
    /// Adds what is not known yet.
    fn add(&mut self, other: Self) {
        for (name, arg) in other.args {
            self.args.entry(name).or_insert(arg);
        }
        for (mine, others) in [(&mut self.secrets, other.secrets), (&mut self.agents, other.agents)] {
            for (id, mount) in others {
                mine.entry(id).or_insert(mount);
            }
        }
    }
}

struct Outlining<'a> {
    dockerfile: &'a Dockerfile,
    given: &'a BTreeMap<String, String>,
    globals: Globals,
    /// At the end of each stage; a copy costs nothing.
    variables: HashMap<usize, Variables>,
}

type Variables = HashTrieMap<String, String>;

impl Outlining<'_> {
    /// What one stage uses. Variables of images are not known here.
    fn stage(&mut self, index: usize, base: Option<usize>) -> Uses {
        let stage = &self.dockerfile.stages[index];
        let escape = self.dockerfile.directives.escape;
        let mut uses = Uses::default();
        for word in std::iter::once(&stage.image).chain(&stage.platform) {
            let used = self.globals.expand(word, escape).map(|expanded| expanded.used).unwrap_or_default();
            for name in used {
                self.global(&name, &mut uses);
            }
        }
        let mut variables = base.and_then(|base| self.variables.get(&base).cloned()).unwrap_or_default();
        for instruction in &stage.instructions {
            let now = variables.clone();
            let lookup = |name: &str| now.get(name).cloned();
            let value =
                |text: &str| expand(text, escape, &Scope { lookup: &lookup }).map(|expanded| expanded.text);
            match &instruction.kind {
                InstructionKind::Arg(declarations) => {
                    for declaration in declarations {
                        if let Some(value) = self.arg(declaration, &variables, &mut uses) {
                            variables.insert_mut(declaration.name.clone(), value);
                        }
                    }
                }
                InstructionKind::Env(pairs) => {
                    for (key, text) in pairs {
                        if let (Ok(key), Ok(value)) = (value(&key.text), value(&text.text)) {
                            variables.insert_mut(key, value);
                        }
                    }
                }
                InstructionKind::Run(run) => {
                    for word in &run.mounts {
                        let mount = parse_mount_with(&word.text, &mut |text| value(text));
                        let (list, id, required) = match mount {
                            Ok(Mount::Secret(secret)) => (&mut uses.secrets, secret.id, secret.required),
                            Ok(Mount::Ssh(ssh)) => (&mut uses.agents, ssh.id, ssh.required),
                            _ => continue,
                        };
                        let span = instruction.span;
                        list.entry(id.clone()).or_insert(OutlineMount { id, required, span });
                    }
                }
                _ => {}
            }
        }
        self.variables.insert(index, variables);
        uses
    }

    /// An argument of a stage; its value.
    fn arg(&self, declaration: &ArgDecl, variables: &Variables, uses: &mut Uses) -> Option<String> {
        let name = &declaration.name;
        let value = match (self.given.get(name), &declaration.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => {
                let lookup = |name: &str| variables.get(name).cloned();
                let scope = Scope { lookup: &lookup };
                let escape = self.dockerfile.directives.escape;
                expand(&default.text, escape, &scope).ok().map(|expanded| expanded.text)
            }
            (None, None) => {
                if let Some(value) = self.globals.value(name) {
                    self.global(name, uses);
                    return Some(value.to_owned());
                }
                None
            }
        };
        uses.args.entry(name.clone()).or_insert_with(|| OutlineArg {
            name: name.clone(),
            value: value.clone(),
            description: declaration.description.clone(),
            span: declaration.span,
        });
        value
    }

    /// An argument of the global scope, and those that its default is made of. The ones that are always there are not
    /// worth a word.
    fn global(&self, name: &str, uses: &mut Uses) {
        let mut open = BTreeSet::from([name.to_owned()]);
        while let Some(name) = open.pop_first() {
            let Some(global) = self.globals.declaration(&name) else { continue };
            if uses.args.contains_key(&name) {
                continue;
            }
            open.extend(global.uses.iter().cloned());
            let arg = OutlineArg {
                name: name.clone(),
                value: self.globals.value(&name).map(str::to_owned),
                description: global.declaration.description.clone(),
                span: global.declaration.span,
            };
            uses.args.insert(name, arg);
        }
    }
}

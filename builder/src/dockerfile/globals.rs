//! The global scope: the `ARG` instructions above the first `FROM`, and the arguments that are always there.

use std::collections::{BTreeMap, BTreeSet};

use layer_store::Platform;

use super::expand::{ExpandError, Expanded, Scope, expand};
use super::{ArgDecl, Diagnostic, Dockerfile, InstructionKind, StageName, Word};

/// What all defaults together may expand to, in bytes: variables that double each other must not eat the machine.
const LIMIT: usize = 16 << 20;

/// What a build is given, as far as the scope depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// `--build-arg`.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platform that is built for.
    pub platform: &'a Platform,
    /// The platform that is built on.
    pub build_platform: &'a Platform,
    /// `--target`.
    pub target: Option<&'a str>,
}

/// What `FROM` sees, and where a bare `ARG name` in a stage has its value from.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    values: BTreeMap<String, String>,
    declared: BTreeMap<String, GlobalArg>,
    /// Bytes that defaults expanded to.
    expanded: usize,
}

/// An `ARG` above the first `FROM`; the last one of its name.
#[derive(Debug, Clone)]
pub struct GlobalArg {
    /// As it is written.
    pub declaration: ArgDecl,
    /// The names that its default is made of.
    pub uses: BTreeSet<String>,
}

impl Globals {
    /// Takes in the arguments of a file. A default that cannot be expanded is left out; the first one is returned as
    /// an error beside the scope. Cost: linear in the file, but for what variables grow to.
    pub fn new(dockerfile: &Dockerfile, given: Given<'_>) -> (Self, Option<Diagnostic>) {
        let mut globals =
            Self { values: predefined(dockerfile, given), declared: BTreeMap::new(), expanded: 0 };
        let mut error = None;
        for instruction in &dockerfile.meta_args {
            let InstructionKind::Arg(declarations) = &instruction.kind else { continue };
            for declaration in declarations {
                let escape = dockerfile.directives.escape;
                if let Err(found) = globals.declare(declaration, given.build_args, escape) {
                    error.get_or_insert(found);
                    // What is too long would be worked out again for every ARG that uses it.
                    if globals.expanded * 2 > LIMIT {
                        return (globals, error);
                    }
                }
            }
        }
        (globals, error)
    }

    fn declare(
        &mut self,
        declaration: &ArgDecl,
        build_args: &BTreeMap<String, String>,
        escape: char,
    ) -> Result<(), Diagnostic> {
        let name = &declaration.name;
        let mut uses = BTreeSet::new();
        let value = match (build_args.get(name), &declaration.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => {
                let expanded = match self.expand(default, escape) {
                    Ok(expanded) if self.expanded + expanded.text.len() <= LIMIT => Ok(expanded),
                    Ok(_) => Err(ExpandError::Limit("long")),
                    Err(error) => Err(error),
                }
                .map_err(|error| {
                    Diagnostic::error(default.span, format!("cannot expand `{default}`: {error}"))
                })?;
                self.expanded += expanded.text.len();
                uses.extend(expanded.used);
                // `ARG A=${A}x` adds to what the earlier declaration was made of.
                if uses.remove(name)
                    && let Some(earlier) = self.declared.get(name)
                {
                    uses.extend(earlier.uses.iter().cloned());
                }
                Some(expanded.text)
            }
            (None, None) => None,
        };
        if let Some(value) = value {
            self.values.insert(name.clone(), value);
        }
        self.declared.insert(name.clone(), GlobalArg { declaration: declaration.clone(), uses });
        Ok(())
    }

    /// Gives a name another value.
    pub fn replace(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), value);
    }

    /// Takes the value of a name away.
    pub fn forget(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The declaration of a name; the arguments that are always there have none.
    pub fn declaration(&self, name: &str) -> Option<&GlobalArg> {
        self.declared.get(name)
    }

    /// Whether a name is declared or always there, with a value or without.
    pub fn knows(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.declared.contains_key(name)
    }

    /// Every name that is known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let valueless = self.declared.keys().filter(|name| !self.values.contains_key(*name));
        self.values.keys().chain(valueless).map(String::as_str)
    }

    /// Expands a word of a `FROM`, or the default of a global `ARG`.
    ///
    /// # Errors
    /// As [`super::expand::expand`].
    pub fn expand(&self, word: &Word, escape: char) -> Result<Expanded, ExpandError> {
        let lookup = |name: &str| self.values.get(name).cloned();
        expand(&word.text, escape, &Scope { lookup: &lookup })
    }
}

/// The arguments that are always there; a build argument replaces each.
fn predefined(dockerfile: &Dockerfile, given: Given<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("BUILD", given.build_platform), ("TARGET", given.platform)] {
        values.insert(format!("{prefix}PLATFORM"), platform.to_string());
        values.insert(format!("{prefix}OS"), platform.os.clone());
        values.insert(format!("{prefix}OSVERSION"), platform.os_version.clone().unwrap_or_default());
        values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        values.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    let last = || dockerfile.stages.last().and_then(|stage| stage.name.as_ref()).map(StageName::as_str);
    values.insert("TARGETSTAGE".to_owned(), given.target.or_else(last).unwrap_or("default").to_owned());
    for (name, value) in &mut values {
        if let Some(given) = given.build_args.get(name) {
            value.clone_from(given);
        }
    }
    values
}

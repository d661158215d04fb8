//! Rules about Dockerfiles that build and should not be written so.
//!
//! BuildKit's 22 rules have BuildKit's ids and controls: `# check=skip=…;experimental=…;error=true` at
//! the top for the file, the same above an instruction for it alone, and a build's own setting
//! ([`LintContext::check`]) in place of the file's. rbuild's own rules are skipped in the same way
//! and never fail a build.

mod cache;
mod from;
mod rules;
mod stages;
mod state;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use layer_store::Platform;

use super::directives::check_controls;
use super::expand::{ExpandError, Expanded};
use super::suggest::nearest;
use super::{CheckControls, Diagnostic, Dockerfile, Level, Source, Span, Word};
use crate::ignore::Matcher;
pub use rules::{RULES, Rule};
pub use stages::looks_like_secret;

/// What is known besides the text.
pub struct LintContext<'a> {
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--build-context`: names that are no images.
    pub named_contexts: BTreeSet<String>,
    /// The platform that is built for.
    pub platform: Platform,
    /// The platform that is built on.
    pub build_platform: Platform,
    /// `--target`: only this stage and what it needs is looked at.
    pub target: Option<String>,
    /// Without a target: whether every stage is looked at, or what the last one needs.
    pub all_stages: bool,
    /// In place of the file's `# check=` line.
    pub check: Option<CheckControls>,
    /// The context's ignore rules.
    pub ignore: Option<&'a Matcher>,
    /// What is known about a base image; `None` when nothing is, and then rules that would have to
    /// guess are silent.
    pub base: Option<BaseLookup<'a>>,
    /// Whether rbuild's own rules are asked as well.
    pub own_rules: bool,
}

/// A base image, by its name and the platform that it is wanted for.
pub type BaseLookup<'a> = &'a dyn Fn(&str, &Platform) -> Option<BaseImage>;

/// What the rules want to know of a base image.
#[derive(Debug, Clone, Default)]
pub struct BaseImage {
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Whether its config sets SHELL.
    pub has_shell: bool,
    /// What it is for.
    pub platform: Option<Platform>,
}

impl Default for LintContext<'_> {
    fn default() -> Self {
        Self {
            build_args: BTreeMap::new(),
            named_contexts: BTreeSet::new(),
            platform: Platform::host(),
            build_platform: Platform::host(),
            target: None,
            all_stages: true,
            check: None,
            ignore: None,
            base: None,
            own_rules: true,
        }
    }
}

impl CheckControls {
    /// Reads `skip=…;error=…;experimental=…`, as the build argument `BUILDKIT_DOCKERFILE_CHECK` has it.
    ///
    /// # Errors
    /// On an option that does not exist or has no value.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        check_controls(&Word::new(text, Span::default()))
    }
}

/// What the rules have to say, in the order of places. Warnings, or errors where the controls say
/// `error=true`. Errors of the grammar are [`parse`](super::parse)'s.
pub fn lint(dockerfile: &Dockerfile, _source: &Source, context: &LintContext<'_>) -> Vec<Diagnostic> {
    let none = CheckControls::default();
    let controls = context.check.as_ref().or(dockerfile.directives.check.as_ref()).unwrap_or(&none);
    let mut findings = Findings {
        controls,
        own_rules: context.own_rules,
        list: Vec::new(),
        comparisons: COMPARISONS,
        steps: STEPS,
    };
    text::check(dockerfile, &mut findings);
    stages::check(dockerfile, context, &mut findings);
    if context.own_rules {
        cache::check(dockerfile, &mut findings);
    }
    findings.list.sort_by_key(|finding| (finding.span.start, finding.span.end));
    findings.list
}

/// Names that are looked at for suggestions, over a whole file. Files of people need some hundreds.
const COMPARISONS: usize = 200_000;

/// Characters that expansion looks at, over a whole file: what variables that double each other grow to is not worth
/// more.
const STEPS: usize = 32 << 20;

/// Collects findings that the controls let through, and knows how much may still be spent on finding them: where that
/// is used up, by a file that no person wrote, the rules that would go on are silent.
struct Findings<'a> {
    controls: &'a CheckControls,
    own_rules: bool,
    list: Vec<Diagnostic>,
    comparisons: usize,
    steps: usize,
}

impl Findings<'_> {
    /// The nearest of the names, as long as there is something left to spend.
    fn nearest<'c>(&mut self, word: &str, names: impl Iterator<Item = &'c str>) -> Option<&'c str> {
        let left = &mut self.comparisons;
        let affordable = names.take_while(|_| {
            *left = left.saturating_sub(1);
            *left > 0
        });
        nearest(word, affordable)
    }

    /// Whether so many steps may still be made; they count as made.
    fn afford_steps(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        self.steps > 0
    }

    /// An expansion, if it succeeds and may still be made.
    fn afford(&mut self, expand: impl FnOnce() -> Result<Expanded, ExpandError>) -> Option<Expanded> {
        if self.steps == 0 {
            return None;
        }
        match expand() {
            Ok(expanded) => {
                self.afford_steps(expanded.cost + expanded.text.len());
                Some(expanded)
            }
            Err(error) => {
                if matches!(error, ExpandError::Limit(_)) {
                    self.steps = 0;
                }
                None
            }
        }
    }

    /// Reports a finding at a place; `local` are the controls above the instruction.
    fn report(
        &mut self,
        rule: &'static Rule,
        local: Option<&CheckControls>,
        span: Span,
        message: String,
    ) -> Option<&mut Diagnostic> {
        let controls = || [Some(self.controls), local].into_iter().flatten();
        let silent = if rule.experimental {
            !controls().any(|controls| controls.experimental.contains(rule.id))
        } else {
            controls().any(|controls| controls.skip.contains(rule.id))
        };
        if silent || (rule.own && !self.own_rules) {
            return None;
        }
        let mut finding = Diagnostic::warning(rule.id, span, message);
        finding.url = rule.url;
        if self.controls.error == Some(true) && !rule.own {
            finding.level = Level::Error;
        }
        self.list.push(finding);
        self.list.last_mut()
    }
}

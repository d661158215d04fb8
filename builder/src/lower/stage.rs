//! The state of a stage while its instructions are taken in, one after the other.

use std::borrow::Cow;
use std::collections::HashMap;

use indexmap::IndexSet;
use layer_store::config::{History, RootFs};
use layer_store::manifest::DOCUMENT_LIMIT;
use layer_store::{ImageConfig, Platform};
use registry_client::Reference;

use super::files::absolute;
use super::names::{self, Numbering};
use super::{Lowering, NamedContext, NoCache, args, at, windows};
use crate::dockerfile::Span;
use crate::dockerfile::ast::{Instruction, InstructionKind, Stage, Word};
use crate::dockerfile::expand::{self, Scope};
use crate::environment::Environment;
use crate::error::Result;
use crate::graph::{Node, NodeId, Op};

/// The search path of an image that names none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A line of the image's history, whose times are known when its step is done.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryEntry {
    /// As the base image has it.
    Base(History),
    /// A step that made a layer.
    Layer {
        /// Which.
        node: NodeId,
        /// The instruction.
        created_by: String,
    },
    /// A step that made none.
    Empty {
        /// The instruction.
        created_by: String,
    },
}

/// What is known of a stage up to an instruction.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    /// Its filesystem.
    pub(super) node: NodeId,
    /// The image configuration.
    pub(super) config: ImageConfig,
    /// The image's history.
    pub(super) history: Vec<HistoryEntry>,
    /// How many bytes the instructions of this build add to it.
    history_bytes: u64,
    /// What commands and expansions see.
    pub(super) env: Environment,
    /// Where the variables of the image stand in its configuration.
    places: HashMap<String, usize>,
    /// The build arguments that were declared, in order.
    pub(super) args: IndexSet<String>,
    /// The platform of its base image.
    pub(super) platform: Platform,
    /// The image that it begins with, by its whole name and digest; `None` above nothing.
    pub(super) base: Option<String>,
    /// Whether CMD was set in this stage.
    pub(super) cmd_set: bool,
    /// Counts its steps.
    pub(super) numbering: Numbering,
    /// Its position among the stages.
    pub(super) index: usize,
    /// Its name for people.
    pub(super) stage: String,
    /// Whether its steps do not use stored results.
    pub(super) no_cache: bool,
}

impl StageState {
    /// The value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.env.value(name)
    }

    /// Sets a variable of commands, and of the image.
    pub(super) fn set_in_image(&mut self, name: &str, value: &str) {
        self.env.set(name, value);
        let (pair, env) = (format!("{name}={value}"), &mut self.config.config.env);
        match self.places.get(name) {
            Some(place) => env[*place] = pair,
            None => {
                self.places.insert(name.to_owned(), env.len());
                env.push(pair);
            }
        }
    }

    /// Expands a word with the variables of this moment.
    pub(super) fn expand(&self, word: &Word, escape: char) -> Result<String> {
        let lookup = |name: &str| self.value(name).map(str::to_owned);
        let expanded = expand::expand(&word.text, escape, &Scope { lookup: &lookup })
            .map_err(|error| at(word.span, format!("cannot expand `{word}`: {error}")))?;
        Ok(expanded.text)
    }

    /// Expands the value of a flag. One that expands to nothing is as if the flag were not there.
    pub(super) fn expand_flag(&self, word: Option<&Word>, escape: char) -> Result<Option<String>> {
        let value = word.map(|word| self.expand(word, escape)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Expands a word that may become several.
    pub(super) fn expand_words(&self, word: &Word, escape: char) -> Result<Vec<String>> {
        let lookup = |name: &str| self.value(name).map(str::to_owned);
        expand::expand_words(&word.text, escape, &Scope { lookup: &lookup })
            .map_err(|error| at(word.span, format!("cannot expand `{word}`: {error}")))
    }

    /// A line of history for an instruction that makes no layer.
    pub(super) fn note(&mut self, created_by: String) {
        self.history_bytes += created_by.len() as u64;
        self.history.push(HistoryEntry::Empty { created_by });
    }

    /// The stage's filesystem is that of a new node from now on.
    pub(super) fn advance(&mut self, node: NodeId, created_by: String) {
        self.node = node;
        self.history_bytes += created_by.len() as u64;
        self.history.push(HistoryEntry::Layer { node, created_by });
    }

    /// The working directory, absolute, with slashes.
    pub(super) fn cwd(&self) -> Cow<'_, str> {
        match self.config.config.working_dir.as_str() {
            "" => Cow::Borrowed("/"),
            path if self.is_for_windows() => Cow::Owned(path.replace('\\', "/")),
            path => Cow::Borrowed(path),
        }
    }

    /// Whether the image is for Windows.
    pub(super) fn is_for_windows(&self) -> bool {
        self.config.os == "windows"
    }
}

impl Lowering<'_> {
    /// The platform that a FROM asks for.
    pub(super) fn stage_platform(&self, stage: &Stage) -> Result<Platform> {
        let Some(word) = &stage.platform else { return Ok(self.platform.clone()) };
        let text = args::expand(&self.globals, word, self.escape())?;
        if text.is_empty() {
            return Err(at(word.span, format!("the platform `{word}` expands to nothing")));
        }
        text.parse().map_err(|error| at(word.span, format!("failed to parse the platform: {error}")))
    }

    /// The state after FROM.
    pub(super) async fn begin(&mut self, stage: &Stage) -> Result<StageState> {
        let image = args::expand_from(&self.globals, &stage.image, self.escape())?;
        let platform = self.stage_platform(stage)?;
        let named = self.named_context(&image).cloned();
        if let Some(earlier) = self.base_stage(stage.index) {
            self.note_need(earlier, super::Need::From(names::stage(stage)));
            let mut state = self.inherit(earlier)?;
            state.numbering = Numbering::of(self.dockerfile, stage, false, self.shown_platform());
            state.stage = names::stage(stage);
            state.index = stage.index;
            state.cmd_set = false;
            state.no_cache = self.no_cache(stage);
            return Ok(state);
        }
        let numbering = Numbering::of(self.dockerfile, stage, image != "scratch", self.shown_platform());
        let mut state = StageState {
            node: self.scratch(),
            config: ImageConfig::default(),
            history: Vec::new(),
            history_bytes: 0,
            env: Environment::default(),
            places: HashMap::new(),
            args: IndexSet::new(),
            platform: platform.clone(),
            base: None,
            cmd_set: false,
            numbering,
            index: stage.index,
            stage: names::stage(stage),
            no_cache: self.no_cache(stage),
        };
        let span = stage.image.span;
        let base = match named {
            Some(NamedContext::Layout(layout)) => {
                let resolved = self.resolve_layout(&layout, &platform, span).await?;
                Some((layout.to_string(), resolved))
            }
            Some(NamedContext::Stored { name, configs }) => {
                let resolved = self.resolve_stored(&name, &configs, &platform, span).await?;
                Some((name, resolved))
            }
            Some(NamedContext::Image(image)) if image != "scratch" => {
                let resolved = self.resolve(&image, &platform, span).await?;
                Some((image, resolved))
            }
            None if image != "scratch" => {
                let resolved = self.resolve(&image, &platform, span).await?;
                Some((image, resolved))
            }
            Some(NamedContext::Image(_)) | None => None,
            Some(_) => {
                // Files alone are an image without a configuration.
                state.node = self.context_root(&image);
                state
                    .history
                    .push(HistoryEntry::Layer { node: state.node, created_by: format!("FROM {image}") });
                None
            }
        };
        if let Some((image, resolved)) = base {
            let name = state.numbering.name(&format!("FROM {image}@{}", resolved.digest));
            let op = Op::Image(resolved.base.clone());
            let span = Some(stage.from_span);
            state.node = self.insert(Node { op, name, span, stage: None, no_cache: false });
            state.config = inherited(&resolved.config);
            state.history = resolved.config.history.iter().cloned().map(HistoryEntry::Base).collect();
            state.base = Reference::parse(&image)
                .ok()
                .map(|reference| reference.with_digest(resolved.digest).canonical());
            if state.config.architecture != platform.architecture && !state.config.architecture.is_empty() {
                state.platform = state.config.platform();
            }
        } else {
            state.config.config.working_dir = "/".to_owned();
        }
        // What begins with nothing is of the platform that is built for, whatever `FROM --platform=` says.
        if state.config.architecture.is_empty() {
            state.config.architecture.clone_from(&self.platform.architecture);
            state.config.variant.clone_from(&self.platform.variant);
        }
        if state.config.os.is_empty() {
            state.config.os.clone_from(&self.platform.os);
        }
        for (place, pair) in state.config.config.env.iter().enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            state.env.set(name, value);
            // Of a name that stands there twice, the first is the one that ENV changes.
            state.places.entry(name.to_owned()).or_insert(place);
        }
        if state.is_for_windows() && !state.config.config.working_dir.is_empty() {
            let written = std::mem::take(&mut state.config.config.working_dir);
            let inside = windows::working_directory(&state, &written);
            let inside =
                inside.map_err(|reason| at(span, format!("the working directory of the base: {reason}")))?;
            state.config.config.working_dir = windows::outside(&inside);
        }
        if state.value("PATH").is_none() && !state.is_for_windows() {
            state.set_in_image("PATH", DEFAULT_PATH);
        }
        Ok(state)
    }

    /// Takes in one instruction. Errors of a trigger stand at the FROM that brought it.
    pub(super) async fn instruction(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        trigger: Option<Span>,
    ) -> Result<()> {
        let span = trigger.unwrap_or(instruction.span);
        let result = match &instruction.kind {
            InstructionKind::Run(run) => self.run(state, instruction, run, span).await,
            InstructionKind::Copy(copy) => self.copy(state, instruction, copy, span).await,
            InstructionKind::Add(add) => self.add(state, instruction, add, span).await,
            InstructionKind::Workdir(path) => self.workdir(state, instruction, path, span),
            InstructionKind::Arg(declarations) => self.arg(state, declarations),
            _ => self.metadata(state, &instruction.kind),
        };
        if state.history_bytes > DOCUMENT_LIMIT {
            let limit = DOCUMENT_LIMIT >> 20;
            let message =
                format!("the image's history would be longer than {limit} MiB, which registries refuse");
            return Err(at(span, message));
        }
        match (result, trigger) {
            (Err(crate::Error::Dockerfile(list)), Some(from)) => Err(at(
                from,
                format!(
                    "in the base image's trigger `ONBUILD {}`: {}",
                    instruction.original,
                    super::first(&list)
                ),
            )),
            (result, _) => result,
        }
    }

    /// Adds a step of this stage to the graph.
    pub(super) fn step(&mut self, state: &mut StageState, op: Op, text: &str, span: Span) -> NodeId {
        let lookup = |name: &str| state.value(name).map(str::to_owned);
        let shown = expand::expand_for_display(text, self.escape(), &Scope { lookup: &lookup });
        let name = state.numbering.name(&shown);
        let stage = Some(state.stage.clone());
        self.insert(Node { op, name, span: Some(span), stage, no_cache: state.no_cache })
    }

    /// The platform, where names have to say which.
    fn shown_platform(&self) -> Option<&Platform> {
        (self.options.platforms.len() > 1).then_some(self.platform)
    }

    pub(super) fn escape(&self) -> char {
        self.dockerfile.directives.escape
    }

    fn no_cache(&self, stage: &Stage) -> bool {
        match &self.options.no_cache {
            NoCache::Never => false,
            NoCache::All => true,
            NoCache::Stages(names) => {
                let own = names::stage(stage);
                names.iter().any(|name| name.eq_ignore_ascii_case(&own) || *name == stage.index.to_string())
            }
        }
    }
}

/// The configuration that an image takes over from its base: what the OCI specification and the Dockerfile know. Other
/// fields tell how the base itself was made (`container_config`, `Hostname`), and as with BuildKit they end with it.
fn inherited(base: &ImageConfig) -> ImageConfig {
    let mut config =
        ImageConfig { created: None, history: Vec::new(), rootfs: RootFs::default(), ..base.clone() };
    config.extra.retain(|name, _| name == "os.features");
    config.config.extra.clear();
    let working_dir = &config.config.working_dir;
    if !working_dir.is_empty() && !working_dir.starts_with('/') {
        // BuildKit applies it as a WORKDIR to itself.
        config.config.working_dir = absolute(&absolute("/", working_dir), working_dir);
    }
    config
}

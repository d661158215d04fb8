//! Where files and base images come from: stages, contexts by name, images.

use std::sync::Arc;

use layer_store::{Digest, Platform};
use registry_client::Reference;

use super::stage::StageState;
use super::{Lowering, NamedContext, Need, args, at};
use crate::context::layout::LayoutSource;
use crate::dockerfile::ast::StageName;
use crate::dockerfile::{Span, nearest};
use crate::error::{Error, Result};
use crate::graph::{CopyOp, CopySource, Graph, Node, NodeId, Op, Unpack};
use crate::resolve::Resolved;

/// Where files come from.
pub(super) enum Origin {
    /// A filesystem of the graph.
    Node(NodeId),
    /// A context directory by name; the main one is empty.
    Context(String),
}

impl Lowering<'_> {
    /// What `--from=` names: a stage (any, by name or number), a named context, or an image.
    pub(super) async fn origin(
        &mut self,
        name: &str,
        numbers: bool,
        state: &StageState,
        span: Span,
    ) -> Result<Origin> {
        if let Some((key, context)) = self.named_context_entry(name) {
            let key = key.clone();
            return match context.clone() {
                NamedContext::Image(image) => {
                    self.image_node(&image, &state.platform, span).await.map(Origin::Node)
                }
                NamedContext::Stored { name, configs } => {
                    let resolved = self.resolve_stored(&name, &configs, &state.platform, span).await?;
                    Ok(Origin::Node(self.resolved_node(&name, &resolved, span)))
                }
                NamedContext::Layout(layout) => {
                    let resolved = self.resolve_layout(&layout, &state.platform, span).await?;
                    Ok(Origin::Node(self.resolved_node(&layout.to_string(), &resolved, span)))
                }
                _ => Ok(self.context(&key)),
            };
        }
        let by_number = numbers.then(|| name.parse::<usize>().ok()).flatten();
        if let Some(index) = by_number {
            if index >= self.dockerfile.stages.len() {
                return Err(at(span, format!("there is no stage number {index}")));
            }
            self.must_be_earlier(name, index, state, span)?;
            self.note_need(index, Need::Files(state.stage.clone()));
            return self.stage_node(index, state, span).await.map(Origin::Node);
        }
        if let Some(index) = self.stages.named(name) {
            self.must_be_earlier(name, index, state, span)?;
            self.note_need(index, Need::Files(state.stage.clone()));
            return self.stage_node(index, state, span).await.map(Origin::Node);
        }
        self.image_node(name, &state.platform, span).await.map(Origin::Node)
    }

    /// A stage has to stand before the one that copies from it.
    pub(super) fn must_be_earlier(
        &self,
        name: &str,
        index: usize,
        state: &StageState,
        span: Span,
    ) -> Result<()> {
        // A stage that names itself is found out as a circle.
        if index <= state.index {
            return Ok(());
        }
        let message = format!(
            "cannot copy from stage \"{name}\", it needs to be defined before current stage \"{}\"",
            state.stage
        );
        Err(at(span, message))
    }

    /// What `--build-context` says of a name.
    pub(super) fn named_context(&self, name: &str) -> Option<&NamedContext> {
        self.named_context_entry(name).map(|(_, context)| context)
    }

    /// The entry of `--build-context` for a name: as it is written, or for the image that it means, with or without
    /// registry and `:latest`.
    pub(super) fn named_context_entry(&self, name: &str) -> Option<(&String, &NamedContext)> {
        if name.is_empty() {
            return None;
        }
        let name = name.to_lowercase();
        let image = |text: &str| Reference::parse(text).ok().map(|reference| reference.canonical());
        self.options.contexts.get_key_value(&name).or_else(|| {
            let wanted = image(&name)?;
            self.options
                .contexts
                .iter()
                .find(|(key, _)| !key.is_empty() && image(key).as_ref() == Some(&wanted))
        })
    }

    /// A context by its name. One that is no directory of this machine becomes a filesystem of the graph.
    pub(super) fn context(&mut self, name: &str) -> Origin {
        let source = match self.options.contexts.get(name) {
            Some(NamedContext::Git(git)) => CopySource::Git(git.clone()),
            Some(NamedContext::Archive(digest)) => CopySource::Archive(*digest),
            _ => return Origin::Context(name.to_owned()),
        };
        Origin::Node(self.loaded(source))
    }

    /// The filesystem that a remote context is, as a step of this stage.
    pub(super) fn loaded(&mut self, source: CopySource) -> NodeId {
        let id = context_node(&mut self.graph, source);
        self.note_step(id);
        id
    }

    /// A named context as a whole filesystem.
    pub(super) fn context_root(&mut self, name: &str) -> NodeId {
        let key = self.named_context_entry(name).map_or_else(String::new, |(key, _)| key.clone());
        match self.context(&key) {
            Origin::Node(node) => node,
            Origin::Context(name) => {
                let source = CopySource::Context { name, paths: vec![".".to_owned()] };
                self.loaded(source)
            }
        }
    }

    /// The node of an image that is only a source of files.
    pub(super) async fn image_node(&mut self, name: &str, platform: &Platform, span: Span) -> Result<NodeId> {
        if name == "scratch" {
            return Ok(self.scratch());
        }
        let resolved = self.resolve(name, platform, span).await?;
        Ok(self.resolved_node(name, &resolved, span))
    }

    pub(super) fn resolved_node(&mut self, name: &str, resolved: &Resolved, span: Span) -> NodeId {
        self.insert(Node {
            name: format!("FROM {name}@{}", resolved.digest),
            op: Op::Image(resolved.base.clone()),
            span: Some(span),
            stage: None,
            no_cache: false,
        })
    }

    pub(super) async fn resolve(&self, name: &str, platform: &Platform, span: Span) -> Result<Arc<Resolved>> {
        let resolved = self.resolver.resolve(name, platform).await;
        resolved.map_err(|source| unresolved(name, span, source).hinted(self.meant_stage(name)))
    }

    /// The stage that was probably meant by an image that nobody has.
    pub(super) fn meant_stage(&self, name: &str) -> Option<String> {
        let stages = self.dockerfile.stages.iter().filter_map(|stage| stage.name.as_ref());
        let near = nearest(name, stages.map(StageName::as_str))?;
        Some(format!("if the stage is meant, it is called `{near}`"))
    }

    pub(super) async fn resolve_stored(
        &self,
        name: &str,
        configs: &[Digest],
        platform: &Platform,
        span: Span,
    ) -> Result<Arc<Resolved>> {
        let resolved = self.resolver.resolve_stored(name, configs, platform).await;
        resolved.map_err(|source| unresolved(name, span, source))
    }

    pub(super) async fn resolve_layout(
        &self,
        layout: &LayoutSource,
        platform: &Platform,
        span: Span,
    ) -> Result<Arc<Resolved>> {
        let resolved = self.resolver.resolve_layout(layout, platform).await;
        resolved.map_err(|source| unresolved(&layout.to_string(), span, source))
    }

    pub(super) fn scratch(&mut self) -> NodeId {
        self.insert(Node {
            op: Op::Scratch,
            name: "FROM scratch".to_owned(),
            span: None,
            stage: None,
            no_cache: false,
        })
    }

    /// Checks what each FROM says, also those of stages that nothing needs: as in BuildKit, those may be of images that
    /// nobody has, but not of what is no image or platform.
    pub(super) fn check_bases(&self) -> Result<()> {
        for stage in &self.dockerfile.stages {
            let image = args::expand_from(&self.globals, &stage.image, self.escape())?;
            self.stage_platform(stage)?;
            let is_other = image == "scratch"
                || self.base_stage(stage.index).is_some()
                || self.named_context(&image).is_some();
            if !is_other && let Err(error) = Reference::parse(&image) {
                let source = Error::ImageName { name: image.clone(), reason: error.to_string() };
                return Err(unresolved(&image, stage.image.span, source).hinted(self.meant_stage(&image)));
            }
        }
        Ok(())
    }

    /// Begins to resolve the base images of stages, so that registries answer side by side.
    pub(super) fn prefetch(&self, needed: &[usize]) {
        for index in needed {
            let image = &self.stages.start(*index).image;
            if image.is_empty()
                || image == "scratch"
                || self.base_stage(*index).is_some()
                || self.named_context(image).is_some()
            {
                continue;
            }
            let stage = &self.dockerfile.stages[*index];
            let platform = self.stage_platform(stage).unwrap_or_else(|_| self.platform.clone());
            tokio::spawn(self.resolver.resolve(image, &platform));
        }
    }
}

fn unresolved(name: &str, span: Span, source: Error) -> Error {
    Error::Step { name: format!("FROM {name}"), span: Some(span), source: Arc::new(source) }
}

/// Adds the filesystem that a remote context is.
pub(crate) fn context_node(graph: &mut Graph, source: CopySource) -> NodeId {
    let plain = |op, name: &str| Node { op, name: name.to_owned(), span: None, stage: None, no_cache: false };
    let input = graph.add(plain(Op::Scratch, "FROM scratch"));
    let op = CopyOp {
        input,
        sources: vec![source],
        destination: "/".to_owned(),
        cwd: "/".to_owned(),
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        along_links: false,
        exclude: Vec::new(),
        unpack: Unpack::Recognised,
    };
    graph.add(plain(Op::Copy(Box::new(op)), "[context] load"))
}

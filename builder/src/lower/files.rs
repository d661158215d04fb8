//! COPY, ADD and WORKDIR.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::origin::Origin;
use super::stage::StageState;
use super::{Lowering, at, windows};
use crate::context::git::GitSource;
use crate::dockerfile::Span;
use crate::dockerfile::ast::{Add, Copy, CopySource as Written, Instruction, Word};
use crate::dockerfile::expand::{Scope, expand_heredoc};
use crate::error::Result;
use crate::graph::{CopyOp, CopySource, InlineFile, Op, Unpack, WorkdirOp};

/// What COPY and ADD have in common, expanded.
struct Common<'a> {
    keyword: &'static str,
    sources: &'a [Written],
    destination: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    link: bool,
    parents: bool,
    exclude: &'a [Word],
    unpack: Unpack,
    /// Sources that are fetched, by their expanded text.
    remote: BTreeMap<String, CopySource>,
}

impl Lowering<'_> {
    pub(super) async fn copy(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        copy: &Copy,
        span: Span,
    ) -> Result<()> {
        let origin = match &copy.from {
            Some(from) => self.origin(&from.text, true, state, from.span).await?,
            None => self.context(""),
        };
        let common = Common {
            keyword: "COPY",
            sources: &copy.sources,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            link: copy.link,
            parents: copy.parents,
            exclude: &copy.exclude,
            unpack: Unpack::Never,
            remote: BTreeMap::new(),
        };
        self.files(state, instruction, &common, &origin, span)
    }

    #[expect(clippy::unused_async, reason = "remote sources will be resolved here, as COPY's are")]
    pub(super) async fn add(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        add: &Add,
        span: Span,
    ) -> Result<()> {
        let remote = self.remote(state, add, span)?;
        let common = Common {
            keyword: "ADD",
            sources: &add.sources,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            link: add.link,
            parents: false,
            exclude: &add.exclude,
            unpack: if add.unpack == Some(false) { Unpack::Never } else { Unpack::Recognised },
            remote,
        };
        let origin = self.context("");
        self.files(state, instruction, &common, &origin, span)
    }

    /// The remote sources of an ADD, by their expanded text.
    fn remote(&self, state: &StageState, add: &Add, span: Span) -> Result<BTreeMap<String, CopySource>> {
        let checksum = state.expand_flag(add.checksum.as_ref(), self.escape())?;
        let mut remote = BTreeMap::new();
        for source in &add.sources {
            let Written::Path(word) = source else { continue };
            let path = state.expand(word, self.escape())?;
            let found = match GitSource::parse(&path) {
                Some(git) => {
                    let mut git = git.map_err(|error| at(word.span, error.to_string()))?;
                    git.keep_git_dir = add.keep_git_dir.unwrap_or(git.keep_git_dir);
                    git.checksum = checksum.clone().or(git.checksum);
                    CopySource::Git(git)
                }
                None if path.starts_with("http://") || path.starts_with("https://") => {
                    let checksum = checksum
                        .as_deref()
                        .map(|text| {
                            text.parse().map_err(|error| at(span, format!("invalid --checksum: {error}")))
                        })
                        .transpose()?;
                    CopySource::Url { url: path.clone(), checksum, unpack: add.unpack == Some(true) }
                }
                None => continue,
            };
            remote.insert(path, found);
        }
        if checksum.is_some() && (remote.is_empty() || add.sources.len() > 1) {
            return Err(at(span, "`--checksum` needs exactly one source, and a remote one"));
        }
        Ok(remote)
    }

    fn files(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        common: &Common<'_>,
        origin: &Origin,
        span: Span,
    ) -> Result<()> {
        let escape = self.escape();
        let (mut sources, mut inline) = (Vec::new(), Vec::new());
        let mut heredocs = String::new();
        let mut line = common.keyword.to_owned();
        if common.parents {
            line.push_str(" --parents");
        }
        let expanded = |word: Option<&Word>| state.expand_flag(word, escape);
        let inside = |path: &str, span: Span| {
            windows::inside(state, path).map(Cow::into_owned).map_err(|reason| at(span, reason))
        };
        let (chown, chmod) = (expanded(common.chown)?, expanded(common.chmod)?);
        for (flag, value) in [("--chown", &chown), ("--chmod", &chmod)] {
            if let Some(value) = value {
                let _ = write!(line, " {flag}={value}");
            }
        }
        for source in common.sources {
            match source {
                Written::Path(word) => {
                    let path = state.expand(word, escape)?;
                    let _ = write!(line, " {path}");
                    match (common.remote.get(&path), sources.last_mut()) {
                        (Some(remote), _) => sources.push(remote.clone()),
                        // Neighbouring paths of one origin are one source.
                        (None, Some(CopySource::Node { paths, .. } | CopySource::Context { paths, .. })) => {
                            paths.push(inside(&path, word.span)?);
                        }
                        (None, _) => {
                            let paths = vec![inside(&path, word.span)?];
                            sources.push(match origin {
                                Origin::Node(node) => CopySource::Node { node: *node, paths },
                                Origin::Context(name) => CopySource::Context { name: name.clone(), paths },
                            });
                        }
                    }
                }
                Written::Heredoc(at_heredoc) => {
                    let Some(heredoc) = instruction.heredocs.get(*at_heredoc) else { continue };
                    let _ = write!(heredocs, " <<{}", heredoc.name);
                    let body = heredoc.body();
                    let content = if heredoc.expand {
                        let lookup = |name: &str| state.value(name).map(str::to_owned);
                        let scope = Scope { lookup: &lookup };
                        expand_heredoc(&body, &scope)
                            .map_err(|error| at(heredoc.span, format!("cannot expand the heredoc: {error}")))?
                            .text
                    } else {
                        body.into_owned()
                    };
                    // The delimiter names the file; what climbs out of a directory in it is cut off.
                    let name = absolute("/", &heredoc.name)[1..].to_owned();
                    if name.is_empty() || name.contains('/') {
                        let message = format!("`{}` cannot name the file of a heredoc", heredoc.name);
                        return Err(at(heredoc.span, message));
                    }
                    inline.push(InlineFile { name, content });
                }
            }
        }
        let destination = state.expand(common.destination, escape)?;
        // Paths come before here-documents, whatever the order in the line.
        let _ = write!(line, "{heredocs} {destination} # buildkit");
        if !inline.is_empty() {
            sources.push(CopySource::Inline(inline));
        }
        let op = Op::Copy(Box::new(CopyOp {
            input: state.node,
            sources,
            destination: inside(&destination, common.destination.span)?,
            cwd: state.cwd().into_owned(),
            chown,
            // As in BuildKit: under `--chmod` the directories on the way would get the mode too, in the place of those
            // that the image has.
            link: common.link && chmod.is_none(),
            chmod,
            parents: common.parents,
            along_links: false,
            exclude: common.exclude.iter().map(|word| word.text.clone()).collect(),
            unpack: common.unpack,
        }));
        let node = self.step(state, op, &instruction.original, span);
        state.advance(node, line);
        Ok(())
    }

    pub(super) fn workdir(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        word: &Word,
        span: Span,
    ) -> Result<()> {
        let path = state.expand(word, self.escape())?;
        let path = if state.is_for_windows() {
            let inside = windows::working_directory(state, &path).map_err(|reason| at(word.span, reason))?;
            state.config.config.working_dir = windows::outside(&inside);
            inside
        } else {
            // An absolute path is kept as it is written, as BuildKit does, and an empty one changes nothing.
            let path = if path.starts_with('/') { path } else { absolute(&state.cwd(), &path) };
            state.config.config.working_dir.clone_from(&path);
            path
        };
        if path == "/" {
            state.note(format!("WORKDIR {path}"));
            return Ok(());
        }
        let op = Op::Workdir(Box::new(WorkdirOp {
            input: state.node,
            path: absolute("/", &path),
            user: state.config.config.user.clone(),
        }));
        let node = self.step(state, op, &instruction.original, span);
        state.advance(node, format!("WORKDIR {path}"));
        Ok(())
    }
}

/// `path` below `base`, cleaned of `.`, `..` and doubled slashes, as Go's `path.Join` does.
pub(super) fn absolute(base: &str, path: &str) -> String {
    let mut parts = Vec::new();
    let from = if path.starts_with('/') { "" } else { base };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_directories() {
        for (base, path, want) in [
            ("/", "a", "/a"),
            ("/a", "b/c", "/a/b/c"),
            ("/a", "/b", "/b"),
            ("/a/b", "../c", "/a/c"),
            ("/", "../..", "/"),
            ("/a", ".", "/a"),
            ("/a", "", "/a"),
            ("/a", "b//c/", "/a/b/c"),
        ] {
            assert_eq!(absolute(base, path), want, "{base} {path}");
        }
    }
}

//! From sources and patterns to what will be copied.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, OnceLock};

use layer_store::index::path::is_within;
use layer_store::layer::FileSource;
use layer_store::{Digest, Store, View};

use super::archive::Opened;
use super::path::{self, PathBytes};
use super::tree::{self, Body, Detail, Identity, Node, Tree, ViewTree, Xattrs};
use super::{CopyError, Request, glob, missing};
use crate::context::LocalContext;

/// Where COPY and ADD read from.
#[derive(Clone)]
pub enum Source<'a> {
    /// The build context, or a named one. [`Request::sources`] are resolved in it.
    Context(&'a LocalContext),
    /// `--from`: the filesystem of a stage or image. [`Request::sources`] are resolved in it.
    View(&'a Store, &'a View),
    /// Heredocs: name and bytes of each. [`Request::sources`] play no part.
    Inline(Vec<(String, Vec<u8>)>),
    /// A file that was fetched from a URL. It is unpacked if [`Request::unpack`] says so.
    Fetched(Fetched),
    /// A git checkout: all of it, its own directory metadata included.
    Checkout(&'a LocalContext),
}

/// A file that came from a URL.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The name it gets in a destination directory (the last part of the URL's path, or `__unnamed__`).
    pub name: String,
    /// Its bytes.
    pub file: Arc<File>,
    /// How many.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// Seconds since the epoch: `Last-Modified`, or 0.
    pub mtime: i64,
}

/// What will be copied, in order. Borrows the source.
pub struct Selection<'a> {
    pub(super) parts: Vec<Part<'a>>,
}

/// What one source gave.
pub(super) struct Part<'a> {
    pub(super) tree: Box<dyn Tree + 'a>,
    /// A directory gives what is in it, not itself.
    pub(super) contents_only: bool,
    /// A match that is an archive gives what is in it.
    pub(super) unpack: bool,
    pub(super) matches: Vec<Match>,
    details: OnceLock<Vec<Detail>>,
}

/// One path that a source names or matches.
pub(super) struct Match {
    /// Its name in a destination directory.
    pub(super) name: Vec<u8>,
    /// Where it is in the tree, symlinks followed.
    pub(super) path: PathBytes,
    /// It and all below it that is selected, parents first, siblings by name.
    pub(super) picked: Vec<Picked>,
}

/// A file or directory to be copied.
pub(super) struct Picked {
    /// Relative to the match; the match itself has the empty path.
    pub(super) path: PathBytes,
    pub(super) node: Node,
    /// Not chosen itself, but the parent of something that is.
    pub(super) implied: bool,
}

impl<'a> Selection<'a> {
    /// Adds what another source gives: COPY with paths and heredocs, ADD with paths and URLs.
    pub fn append(&mut self, other: Selection<'a>) {
        self.parts.extend(other.parts);
    }

    /// How many files and directories there are, and how many bytes the files have: for progress.
    #[must_use]
    pub fn totals(&self) -> (usize, u64) {
        let picked = self.parts.iter().flat_map(|part| &part.matches).flat_map(|found| &found.picked);
        picked.fold((0, 0), |(count, bytes), picked| match picked.node.body {
            Body::File { size, .. } => (count + 1, bytes + size),
            _ => (count + 1, bytes),
        })
    }

    /// The layers that files are copied from, sorted: what must be here before bytes are asked for.
    #[must_use]
    pub fn layers(&self) -> Vec<Digest> {
        let picked = self.parts.iter().flat_map(|part| &part.matches).flat_map(|found| &found.picked);
        let layers: BTreeSet<Digest> = picked
            .filter_map(|picked| match &picked.node.body {
                Body::File { size: 1.., identity: Identity::Layer(diff_id, _), .. } => Some(*diff_id),
                _ => None,
            })
            .collect();
        layers.into_iter().collect()
    }

    /// Whether the files are still what they were when they were selected: to be asked after the layer was written
    /// and before it is remembered under [`Selection::digest`]. Costs a stat for each file of a context.
    pub fn verify(&self) -> Result<(), CopyError> {
        for part in &self.parts {
            for found in &part.matches {
                for picked in &found.picked {
                    let path = path::join(&found.path, &picked.path);
                    if !part.tree.is_unchanged(&path, &picked.node)? {
                        return Err(CopyError::Changed { path: String::from_utf8_lossy(&path).into_owned() });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Part<'_> {
    /// Digests and attributes of all picked nodes in order, read at the first call.
    pub(super) fn details(&self) -> Result<&[Detail], CopyError> {
        if let Some(details) = self.details.get() {
            return Ok(details);
        }
        let paths: Vec<(PathBytes, &Node)> = self
            .matches
            .iter()
            .flat_map(|found| {
                found.picked.iter().map(|picked| (path::join(&found.path, &picked.path), &picked.node))
            })
            .collect();
        let nodes: Vec<(&[u8], &Node)> = paths.iter().map(|(path, node)| (path.as_slice(), *node)).collect();
        let details = self.tree.details(&nodes)?;
        Ok(self.details.get_or_init(|| details))
    }
}

/// What `request` selects from `source`.
///
/// # Errors
///
/// A missing source without wildcards, a malformed pattern, a symlink loop, a source that cannot be read.
pub fn select<'a>(source: Source<'a>, request: &Request) -> Result<Selection<'a>, CopyError> {
    let unpack =
        request.unpack && matches!(source, Source::Context(_) | Source::View(..) | Source::Fetched(_));
    let part = |tree: Box<dyn Tree + 'a>, contents_only, matches| Selection {
        parts: vec![Part { tree, contents_only, unpack, matches, details: OnceLock::new() }],
    };
    let by_patterns = |tree: Box<dyn Tree + 'a>| {
        let mut matches = Vec::new();
        for pattern in &request.sources {
            find(&*tree, pattern, request, &mut matches)?;
        }
        Ok(part(tree, true, matches))
    };
    match source {
        Source::Context(context) => by_patterns(Box::new(context)),
        Source::View(store, view) => by_patterns(Box::new(ViewTree { store, view })),
        Source::Checkout(context) => {
            let tree: Box<dyn Tree + 'a> = Box::new(context);
            let found = all_below(&*tree, Vec::new(), Vec::new(), &Filter::of(request, None)?)?;
            Ok(part(tree, false, vec![found]))
        }
        Source::Inline(files) => {
            let files = files.into_iter().map(|(name, bytes)| Loose::inline(name, bytes)).collect();
            let tree = LooseFiles(files);
            let matches = tree.matches();
            Ok(part(Box::new(tree), false, matches))
        }
        Source::Fetched(fetched) => {
            let tree = LooseFiles(vec![Loose::fetched(fetched)]);
            let matches = tree.matches();
            Ok(part(Box::new(tree), false, matches))
        }
    }
}

/// What one source path or pattern gives.
fn find(
    tree: &dyn Tree,
    written: &str,
    request: &Request,
    matches: &mut Vec<Match>,
) -> Result<(), CopyError> {
    if request.along_links {
        matches.push(along_links(tree, written)?);
        return Ok(());
    }
    let (base, include) = if request.parents { split_parents(written) } else { (written, None) };
    let filter = Filter::of(request, include.as_deref())?;
    let (literal, patterns) = glob::split(&path::clean(base.as_bytes()));
    let mut found = Vec::new();
    if patterns.is_empty() {
        found.push((path::name(&literal).to_vec(), literal));
    } else {
        for pattern in &patterns {
            // Tried on nothing, so that a malformed one is an error in an empty context too.
            glob::matches(pattern, b"")
                .map_err(|reason| CopyError::Pattern { pattern: written.to_owned(), reason })?;
        }
        let top = tree::resolve(tree, &literal)?;
        match tree.node(&top)? {
            None => return Err(missing::error(tree, written, &top)),
            Some(Node { body: Body::Directory, .. }) => expand(tree, written, &top, &patterns, &mut found)?,
            Some(_) => {}
        }
    }
    for (name, path) in found {
        let resolved = tree::resolve(tree, &path)?;
        if tree.node(&resolved)?.is_none() {
            return Err(missing::error(tree, written, &resolved));
        }
        let found = all_below(tree, name, resolved, &filter)?;
        let required = include.as_deref().filter(|include| {
            !glob::has_wildcard(base.as_bytes()) && !glob::has_wildcard(include.as_bytes())
        });
        if let (Some(include), 1) = (required, found.picked.len()) {
            return Err(missing::error(tree, written, &path::join(&found.path, include.as_bytes())));
        }
        matches.push(found);
    }
    Ok(())
}

/// What is at a path, with the directories and links that lead to it, all at their own places.
fn along_links(tree: &dyn Tree, written: &str) -> Result<Match, CopyError> {
    let (place, mut shown) = tree::resolve_along(tree, &path::clean(written.as_bytes()))?;
    if tree.node(&place)?.is_none() {
        return Err(missing::error(tree, written, &place));
    }
    shown.push(place);
    all_below(tree, Vec::new(), Vec::new(), &Filter { include: Some(Include::Places(shown)), exclude: None })
}

/// The base directory of a `--parents` source, and what is included below it: all after the first `/./`.
fn split_parents(written: &str) -> (&str, Option<String>) {
    let (base, include) = written.split_once("/./").unwrap_or(("/", written));
    let include = path::clean(include.as_bytes());
    let include = String::from_utf8_lossy(&include).into_owned();
    (base, (!include.is_empty()).then_some(include))
}

/// The paths below `directory` that match `patterns`, one a level, in the order of a sorted walk.
fn expand(
    tree: &dyn Tree,
    written: &str,
    directory: &[u8],
    patterns: &[Vec<u8>],
    found: &mut Vec<(Vec<u8>, PathBytes)>,
) -> Result<(), CopyError> {
    let Some((pattern, deeper)) = patterns.split_first() else { return Ok(()) };
    for (name, node) in tree.list(directory)?.iter() {
        let matched = glob::matches(pattern, name)
            .map_err(|reason| CopyError::Pattern { pattern: written.to_owned(), reason })?;
        if !matched {
            continue;
        }
        let path = path::child(directory, name);
        if deeper.is_empty() {
            found.push((name.clone(), path));
        } else if matches!(node.body, Body::Directory) {
            expand(tree, written, &path, deeper, found)?;
        }
    }
    Ok(())
}

/// What is taken of a directory.
enum Include {
    /// What matches, as `--parents` has it.
    Patterns(super::Patterns),
    /// What is at these paths and below them.
    Places(Vec<PathBytes>),
}

impl Include {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.matches(path),
            Self::Places(places) => places.iter().any(|place| is_within(path, place)),
        }
    }

    fn may_match_below(&self, directory: &[u8]) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.may_match_below(directory),
            Self::Places(places) => {
                places.iter().any(|place| is_within(directory, place) || is_within(place, directory))
            }
        }
    }
}

/// Which paths below a match are copied: `--parents` and `--exclude`.
struct Filter {
    include: Option<Include>,
    exclude: Option<super::Patterns>,
}

impl Filter {
    fn of(request: &Request, include: Option<&str>) -> Result<Self, CopyError> {
        let include = include.map(|pattern| super::Patterns::new(&[pattern.to_owned()])).transpose()?;
        let include = include.map(Include::Patterns);
        let exclude = (!request.exclude.is_empty()).then(|| super::Patterns::new(&request.exclude));
        Ok(Self { include, exclude: exclude.transpose()? })
    }

    fn takes(&self, path: &[u8]) -> bool {
        let included = self.include.as_ref().is_none_or(|include| include.matches(path));
        included && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(path))
    }

    /// Whether anything below a directory that is not taken itself may be.
    fn may_take_below(&self, path: &[u8]) -> bool {
        if let Some(exclude) = &self.exclude
            && exclude.matches(path)
            && !exclude.has_exceptions()
        {
            return false;
        }
        self.include.as_ref().is_none_or(|include| include.may_match_below(path))
    }
}

fn all_below(tree: &dyn Tree, name: Vec<u8>, path: PathBytes, filter: &Filter) -> Result<Match, CopyError> {
    let mut picked = Vec::new();
    if let Some(node) = tree.node(&path)? {
        let is_dir = matches!(node.body, Body::Directory);
        // The match itself is taken whatever the filter says, as in BuildKit.
        picked.push(Picked { path: Vec::new(), node, implied: false });
        if is_dir {
            tree.list_ahead(&path, &|directory| filter.may_take_below(directory));
            descend(tree, &path, b"", filter, &mut picked)?;
        }
    }
    Ok(Match { name, path, picked })
}

fn descend(
    tree: &dyn Tree,
    directory: &[u8],
    relative: &[u8],
    filter: &Filter,
    picked: &mut Vec<Picked>,
) -> Result<(), CopyError> {
    for (name, node) in tree.list(directory)?.iter() {
        let path = path::child(relative, name);
        let taken = filter.takes(&path);
        let is_dir = matches!(node.body, Body::Directory);
        let entered = is_dir && filter.may_take_below(&path);
        if !taken && !entered {
            continue;
        }
        let at = picked.len();
        picked.push(Picked { path: path.clone(), node: node.clone(), implied: !taken });
        if is_dir {
            descend(tree, &path::child(directory, name), &path, filter, picked)?;
        }
        if !taken && picked.len() == at + 1 {
            picked.pop();
        }
    }
    Ok(())
}

/// Files that are in no tree: heredocs, downloads.
struct LooseFiles(Vec<Loose>);

struct Loose {
    name: Vec<u8>,
    node: Node,
    source: FileSource,
}

impl Loose {
    fn inline(name: String, bytes: Vec<u8>) -> Self {
        let identity = Identity::Content(Digest::of(&bytes));
        let body = Body::File { size: bytes.len() as u64, identity, linked: false };
        let node = Node { body, mode: 0o644, uid: 0, gid: 0, mtime: None };
        Self { name: name.into_bytes(), node, source: FileSource::Bytes(bytes.into()) }
    }

    fn fetched(fetched: Fetched) -> Self {
        let identity = Identity::Content(fetched.digest);
        let body = Body::File { size: fetched.size, identity, linked: false };
        let node = Node { body, mode: 0o600, uid: 0, gid: 0, mtime: Some(fetched.mtime) };
        let source = FileSource::Range { file: fetched.file, offset: 0 };
        Self { name: fetched.name.into_bytes(), node, source }
    }
}

impl LooseFiles {
    fn matches(&self) -> Vec<Match> {
        let one = |(at, loose): (usize, &Loose)| Match {
            name: loose.name.clone(),
            path: at.to_string().into_bytes(),
            picked: vec![Picked { path: Vec::new(), node: loose.node.clone(), implied: false }],
        };
        self.0.iter().enumerate().map(one).collect()
    }

    /// Paths are numbers, since two files may have one name.
    fn at(&self, path: &[u8]) -> Option<&Loose> {
        self.0.get(std::str::from_utf8(path).ok()?.parse::<usize>().ok()?)
    }
}

impl Tree for LooseFiles {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, CopyError> {
        Ok(self.at(path).map(|loose| loose.node.clone()))
    }

    fn list(&self, _path: &[u8]) -> Result<Arc<Vec<(Vec<u8>, Node)>>, CopyError> {
        Ok(Arc::default())
    }

    fn details(&self, nodes: &[(&[u8], &Node)]) -> Result<Vec<Detail>, CopyError> {
        let detail = |node: &Node| match &node.body {
            Body::File { identity: Identity::Content(digest), .. } => {
                Detail { content: Some(*digest), xattrs: Xattrs::new() }
            }
            _ => Detail::default(),
        };
        Ok(nodes.iter().map(|(_, node)| detail(node)).collect())
    }

    fn file(&self, path: &[u8], _node: &Node) -> FileSource {
        self.at(path).map_or_else(|| FileSource::Bytes(Arc::new([])), |loose| loose.source.clone())
    }

    fn open(&self, path: &[u8], node: &Node) -> Result<Opened, CopyError> {
        match self.file(path, node) {
            FileSource::Range { file, .. } => {
                // A clone would share its position with whoever fetched it.
                let fail = |source| CopyError::Io {
                    action: "open",
                    path: String::from_utf8_lossy(path).into(),
                    source,
                };
                let again = format!("/proc/self/fd/{}", file.as_raw_fd());
                File::open(again).map(Opened::File).map_err(fail)
            }
            FileSource::Bytes(bytes) => Ok(Opened::Stream(Box::new(std::io::Cursor::new(bytes)))),
            _ => Ok(Opened::Stream(Box::new(std::io::empty()))),
        }
    }

    fn cheap_xattrs(&self, _path: &[u8]) -> Option<Xattrs> {
        Some(Xattrs::new())
    }

    fn place(&self) -> String {
        "the inline files".to_owned()
    }
}

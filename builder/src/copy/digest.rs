//! Keys of what is selected: what decides the layer counts, and nothing else.

use layer_store::Digest;
use layer_store::digest::Hasher;

use super::path;
use super::select::{Match, Part, Picked, Selection};
use super::tree::{Body, Detail, Identity};
use super::{CopyError, Request};

impl Selection<'_> {
    /// The content key: two selections with one digest give the same layer on the same destination, but for times.
    ///
    /// Of each file and directory its path below the source, type, mode, owner, size, link text, device numbers,
    /// extended attributes and bytes count; never a time, the path of the source itself, or who built. Owners do not
    /// count under `--chown`, nor mode bits that `--chmod` decides, and of a directory whose contents are copied only
    /// the contents. Of a file the name counts. Reads files that the stat index does not know.
    pub fn digest(&self, request: &Request) -> Result<Digest, CopyError> {
        let mut hasher = start("copy content 2");
        for part in &self.parts {
            // A file that was fetched is unpacked or not, whatever the other sources are.
            hasher.field([u8::from(part.unpack)]);
            let mut details = part.details()?.iter();
            for found in &part.matches {
                hash_match(&mut hasher, part, found);
                for (picked, detail) in found.picked.iter().zip(details.by_ref()) {
                    let content = detail.content.map(|content| content.as_bytes().to_vec());
                    hash_picked(&mut hasher, part, picked, request, detail, content.as_deref());
                }
            }
        }
        Ok(hasher.finish())
    }

    /// A key that costs no reading: files of a view count by layer and path. `None` for a context, where
    /// [`Selection::digest`] is cheap enough. Equal keys mean equal content; different ones mean nothing.
    #[must_use]
    pub fn cheap_key(&self, request: &Request) -> Option<Digest> {
        let mut hasher = start("copy identity 2");
        for part in &self.parts {
            hasher.field([u8::from(part.unpack)]);
            for found in &part.matches {
                hash_match(&mut hasher, part, found);
                for picked in &found.picked {
                    let xattrs = part.tree.cheap_xattrs(&path::join(&found.path, &picked.path))?;
                    let mut identity = Hasher::default();
                    match &picked.node.body {
                        Body::File { identity: Identity::Host(_), .. } => return None,
                        Body::File { identity: Identity::Content(digest), .. } => {
                            identity.field("content").field(digest.as_bytes());
                        }
                        Body::File { identity: Identity::Layer(diff_id, path), .. } => {
                            identity.field("layer").field(diff_id.as_bytes()).field(path);
                        }
                        _ => {}
                    }
                    let detail = Detail { content: None, xattrs };
                    let identity = identity.finish();
                    hash_picked(&mut hasher, part, picked, request, &detail, Some(identity.as_bytes()));
                }
            }
        }
        Some(hasher.finish())
    }

    /// What [`Selection::digest`] is made of, to say what changed between two builds: for each file and directory
    /// its path below its source, and what counts of it in short: `644 0:0 ab12cd34ef56`.
    pub fn explain(&self, request: &Request) -> Result<Vec<(Vec<u8>, String)>, CopyError> {
        let mut files = Vec::new();
        for part in &self.parts {
            let mut details = part.details()?.iter();
            for found in &part.matches {
                let is_dir = found.picked.first().is_some_and(|top| matches!(top.node.body, Body::Directory));
                // Files of a directory are told apart by their paths below it, a file by its name.
                let top = if is_dir && part.contents_only { &[][..] } else { &found.name };
                for (picked, detail) in found.picked.iter().zip(details.by_ref()) {
                    files.push((path::join(top, &picked.path), state(picked, request, detail)));
                }
            }
        }
        Ok(files)
    }
}

/// What counts of a file, in short.
fn state(picked: &Picked, request: &Request, detail: &Detail) -> String {
    let node = &picked.node;
    let what = match &node.body {
        Body::Directory => "directory".to_owned(),
        Body::File { .. } => detail.content.map_or_else(String::new, |content| content.short()),
        Body::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
        Body::CharDevice(major, minor) => format!("character device {major}:{minor}"),
        Body::BlockDevice(major, minor) => format!("block device {major}:{minor}"),
        Body::Fifo => "pipe".to_owned(),
    };
    let (uid, gid) = request.owner.map_or((node.uid, node.gid), |owner| (owner.uid, owner.gid));
    let mut text = format!("{:o} {uid}:{gid} {what}", super::place::mode_of(node, request));
    if !detail.xattrs.is_empty() {
        let mut hasher = Hasher::default();
        for (name, value) in &detail.xattrs {
            hasher.field(name).field(value);
        }
        text.push_str(&format!(" attributes {}", hasher.finish().short()));
    }
    text
}

impl Request {
    /// What of the request decides the layer beside what is selected. Where the sources are does not.
    #[must_use]
    pub fn key(&self) -> Digest {
        let mut hasher = start("copy request 1");
        let target = super::place::Target::of(self);
        hasher.field(&target.path).field([u8::from(target.is_dir), u8::from(self.unpack)]);
        match &self.owner {
            Some(owner) => {
                hasher.field("owner").field(owner.uid.to_le_bytes()).field(owner.gid.to_le_bytes())
            }
            None => hasher.field("no owner"),
        };
        match &self.mode {
            Some(mode) => hasher.field("mode").field(mode.to_string()),
            None => hasher.field("no mode"),
        };
        hasher.finish()
    }
}

fn start(kind: &str) -> Hasher {
    let mut hasher = Hasher::default();
    hasher.field(kind);
    hasher
}

fn hash_match(hasher: &mut Hasher, part: &Part<'_>, found: &Match) {
    let is_dir = found.picked.first().is_some_and(|top| matches!(top.node.body, Body::Directory));
    hasher.field("match").field((found.picked.len() as u64).to_le_bytes());
    // The name of a directory whose contents are copied is nowhere in the result.
    hasher.field(if is_dir && part.contents_only { &[] } else { found.name.as_slice() });
}

fn hash_picked(
    hasher: &mut Hasher,
    part: &Part<'_>,
    picked: &Picked,
    request: &Request,
    detail: &Detail,
    content: Option<&[u8]>,
) {
    let node = &picked.node;
    hasher.field(&picked.path);
    let is_dir = matches!(node.body, Body::Directory);
    if picked.path.is_empty() && is_dir && part.contents_only {
        hasher.field("contents");
        return;
    }
    let numbers = |a: u32, b: u32| [a.to_le_bytes(), b.to_le_bytes()].concat();
    match &node.body {
        Body::Directory if picked.implied => hasher.field("parent").field([]),
        Body::Directory => hasher.field("directory").field([]),
        Body::File { size, .. } => {
            hasher.field("file").field(size.to_le_bytes()).field(content.unwrap_or_default())
        }
        Body::Symlink(target) => hasher.field("symlink").field(target),
        Body::CharDevice(major, minor) => hasher.field("char device").field(numbers(*major, *minor)),
        Body::BlockDevice(major, minor) => hasher.field("block device").field(numbers(*major, *minor)),
        Body::Fifo => hasher.field("fifo").field([]),
    };
    let owner = request.owner.map_or((node.uid, node.gid), |owner| (owner.uid, owner.gid));
    hasher.field(numbers(owner.0, owner.1)).field(super::place::mode_of(node, request).to_le_bytes());
    if picked.implied {
        // An existing directory takes this mode, whatever `--chmod` says.
        hasher.field(node.mode.to_le_bytes());
    }
    hasher.field((detail.xattrs.len() as u64).to_le_bytes());
    for (name, value) in &detail.xattrs {
        hasher.field(name).field(value);
    }
}

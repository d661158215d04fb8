//! What a build took from outside: the images, repositories and files that it names.

use std::collections::{BTreeMap, HashSet};

use layer_store::Digest;
use serde_json::{Value, json};

use super::{Facts, purl};
use crate::context::git::GitSource;
use crate::graph::{CopySource, Graph, NodeId, Op};
use crate::resolve::{BaseImage, UsedBase};

/// The nodes that a node is made of, itself included, inputs first.
pub(super) fn reachable(graph: &Graph, node: NodeId) -> Vec<NodeId> {
    let mut seen = HashSet::from([node]);
    let mut open = vec![node];
    while let Some(id) = open.pop() {
        open.extend(graph.node(id).op.inputs().into_iter().filter(|input| seen.insert(*input)));
    }
    let mut nodes: Vec<NodeId> = seen.into_iter().collect();
    nodes.sort_unstable();
    nodes
}

/// The entries of `resolvedDependencies`, sorted by URI, each once.
pub(super) fn dependencies(facts: &Facts<'_>, nodes: &[NodeId]) -> Vec<Value> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for id in nodes {
        match &facts.graph.node(*id).op {
            Op::Image(image) => {
                if let Some(base) = base(facts, image) {
                    let uri = purl::image(&base.name, Some(&base.platform));
                    found.insert(uri, digest("sha256", &base.digest.hex()));
                }
            }
            Op::Copy(copy) => {
                let sources = copy.sources.iter();
                found.extend(sources.filter_map(|source| fetched(facts, source)));
            }
            Op::Scratch | Op::Exec(_) | Op::Workdir(_) => {}
        }
    }
    found.into_iter().map(|(uri, digest)| json!({"uri": uri, "digest": digest})).collect()
}

/// The image that a node is, among those that names stood for.
pub(super) fn base<'a>(facts: &Facts<'a>, image: &BaseImage) -> Option<&'a UsedBase> {
    facts.bases.iter().find(|base| base.image == *image)
}

/// The address and digest of what was fetched; `None` of what was here.
pub(super) fn fetched(facts: &Facts<'_>, source: &CopySource) -> Option<(String, Value)> {
    let known = || facts.fetched.get(source).map(String::as_str);
    match source {
        CopySource::Url { url, checksum, .. } => {
            let hex = known().map(str::to_owned).or_else(|| checksum.map(|digest| digest.hex()))?;
            Some((redacted(url), digest("sha256", &hex)))
        }
        CopySource::Git(git) => {
            let commit = known().or_else(|| git.pinned())?;
            let kind = if commit.len() == 64 { "sha256" } else { "sha1" };
            Some((git_address(git), digest(kind, commit)))
        }
        CopySource::Archive(archive) => {
            let address = archive_address(facts, archive)?;
            Some((address, digest("sha256", &archive.hex())))
        }
        CopySource::Context { .. } | CopySource::Node { .. } | CopySource::Inline(_) => None,
    }
}

/// A git repository as BuildKit names it: the address, and the reference behind a `#`.
pub(super) fn git_address(git: &GitSource) -> String {
    let mut address = redacted(&git.remote);
    let directory = Some(&git.subdirectory).filter(|directory| !directory.is_empty());
    if git.reference.is_some() || directory.is_some() {
        address.push('#');
        address.push_str(git.reference.as_deref().unwrap_or_default());
    }
    if let Some(directory) = directory {
        address.push(':');
        address.push_str(directory);
    }
    address
}

/// Where an archive was fetched from; `None` of one that came on standard input.
pub(super) fn archive_address(facts: &Facts<'_>, archive: &Digest) -> Option<String> {
    facts.request.addresses.get(archive).map(|address| redacted(address))
}

fn digest(kind: &str, hex: &str) -> Value {
    json!({ kind: hex })
}

/// An address without user and password.
pub(super) fn redacted(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        // The user of ssh is part of the address and no secret; a password is.
        Some(at) if matches!(scheme, "ssh" | "git+ssh") => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{}", &rest[at + 1..])
        }
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn addresses_lose_their_passwords() {
        for (address, wanted) in [
            ("https://example.com/a", "https://example.com/a"),
            ("https://user:pass@example.com/a@b", "https://example.com/a@b"),
            ("https://to@ken@example.com?x=@", "https://example.com?x=@"),
            ("ssh://git:pw@example.com/a.git", "ssh://git@example.com/a.git"),
            ("git@example.com:a.git", "git@example.com:a.git"),
        ] {
            assert_eq!(redacted(address), wanted);
        }
    }
}

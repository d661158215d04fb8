//! Digests of files in layers: read once ever, since a layer never changes.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use layer_store::digest::Hasher;
use layer_store::{Digest, Store, View};

use super::tree::{Body, Detail, Identity, Node, image_xattrs};
use super::{CopyError, path};

/// Digests of the files of one layer by path.
type Contents = BTreeMap<Vec<u8>, Digest>;

/// Details of nodes of a view. Files whose digest no build has asked for yet are read.
pub(super) fn of_view(
    store: &Store,
    view: &View,
    nodes: &[(&[u8], &Node)],
) -> Result<Vec<Detail>, CopyError> {
    let mut layers: HashMap<Digest, (Contents, bool)> = HashMap::new();
    let mut details = Vec::with_capacity(nodes.len());
    for (path, node) in nodes {
        let mut detail = Detail::default();
        if let Some(located) = view.lookup(path) {
            detail.xattrs = image_xattrs(&located.entry.xattrs);
        }
        match &node.body {
            Body::File { size: 0, .. } => detail.content = Some(Digest::of(b"")),
            Body::File { identity: Identity::Layer(diff_id, file), .. } => {
                let (contents, learnt) = match layers.entry(*diff_id) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        let saved = store.record("contents", diff_id)?.and_then(|bytes| decode(&bytes));
                        entry.insert((saved.unwrap_or_default(), false))
                    }
                };
                let known = contents.get(file).copied();
                let digest = match known {
                    Some(digest) => digest,
                    None => {
                        let digest = hash(store, diff_id, file)?;
                        contents.insert(file.clone(), digest);
                        *learnt = true;
                        digest
                    }
                };
                detail.content = Some(digest);
            }
            _ => {}
        }
        details.push(detail);
    }
    for (diff_id, (contents, learnt)) in &layers {
        if *learnt {
            store.put_record("contents", diff_id, &encode(contents))?;
        }
    }
    Ok(details)
}

fn hash(store: &Store, diff_id: &Digest, file: &[u8]) -> Result<Digest, CopyError> {
    let mut input = store.open_file(diff_id, file)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(CopyError::Io { action: "read", path: path::display(file), source }),
        }
    }
}

fn encode(contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, digest) in contents {
        bytes.extend_from_slice(digest.as_bytes());
        bytes.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(path);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Contents> {
    let mut contents = Contents::new();
    while !bytes.is_empty() {
        let (digest, rest) = bytes.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        contents.insert(path.to_vec(), Digest::from_bytes(*digest));
        bytes = rest;
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let contents: Contents =
            [(b"a/b".to_vec(), Digest::of(b"1")), (b"c".to_vec(), Digest::of(b"2"))].into_iter().collect();
        let bytes = encode(&contents);
        assert_eq!(decode(&bytes), Some(contents));
        assert_eq!(decode(&bytes[1..]), None);
    }
}

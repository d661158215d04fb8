//! A source that is not there: why, and what was probably meant.

use super::CopyError;
use super::path;
use super::tree::Tree;

/// How many names are suggested.
const SUGGESTIONS: usize = 3;
/// Directories with more names than this are not searched.
const MAX_NAMES: usize = 10_000;

/// The error for a source that `resolved` shows to be missing.
pub(super) fn error(tree: &dyn Tree, written: &str, resolved: &[u8]) -> CopyError {
    let hidden = || path::ancestors(resolved).chain([resolved]).find_map(|path| tree.hidden_by(path));
    let ignored_by = tree.hidden_by(resolved).or_else(hidden);
    let nearest = if ignored_by.is_some() { Vec::new() } else { nearest(tree, resolved) };
    CopyError::NotFound { path: written.to_owned(), place: tree.place(), ignored_by, nearest }
}

/// Names like the first missing one, in the directory where it is missing.
fn nearest(tree: &dyn Tree, missing: &[u8]) -> Vec<String> {
    let mut at = missing;
    while !at.is_empty() && !matches!(tree.node(path::parent(at)), Ok(Some(_))) {
        at = path::parent(at);
    }
    let directory = path::parent(at);
    let Ok(children) = tree.list(directory) else { return Vec::new() };
    if children.len() > MAX_NAMES {
        return Vec::new();
    }
    let wanted = String::from_utf8_lossy(path::name(at)).into_owned();
    let mut close: Vec<(usize, String)> = children
        .iter()
        .filter_map(|(name, _)| {
            let name = std::str::from_utf8(name).ok()?;
            let distance = distance(&wanted.to_lowercase(), &name.to_lowercase());
            let near = distance <= (wanted.chars().count() / 3).max(1);
            near.then(|| {
                (distance, String::from_utf8_lossy(&path::child(directory, name.as_bytes())).into_owned())
            })
        })
        .collect();
    close.sort();
    close.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

/// How many characters must be put in, taken out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("pakcage", "package", 1), ("main.rs", "man.rs", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}

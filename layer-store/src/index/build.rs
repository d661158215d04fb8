//! An index from a tar's entries as they come: duplicates, whiteouts and links in any order.

use std::collections::BTreeMap;

use super::{Entry, Extent, Index, Kind, PathBytes, Seen, TarFacts, implied_by, path};
use crate::{Error, Result};

/// Files whose bytes the index keeps, so that names of users are looked up without a blob.
const INLINE_PATHS: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];
const INLINE_LIMIT: u64 = 64 << 10;

/// Takes the entries of a tar in its order and gives the index that extracting them would give:
///
/// - of two entries with one path the later wins; a directory that comes again keeps what is in it; anything else
///   takes the place of a directory with all that is in it;
/// - a whiteout concerns lower layers only, wherever it stands in the tar: with a directory at its path it makes that
///   directory opaque, with anything else it changes nothing;
/// - a hard link to a file of the layer has the file's metadata and points to the name that carries the bytes; one to
///   a symlink, device or pipe of the layer is another of those; one to what the layer does not have is for lower
///   layers.
#[derive(Debug, Default)]
pub struct Builder {
    // By path with NUL for the slash, whose plain order is path order.
    entries: BTreeMap<Vec<u8>, Entry>,
    links: BTreeMap<PathBytes, Vec<PathBytes>>,
    sparse: BTreeMap<PathBytes, Vec<Extent>>,
    inline: BTreeMap<PathBytes, Vec<u8>>,
    sums: BTreeMap<PathBytes, u32>,
    /// The directory of the last entry: its ancestors are directories.
    checked: Option<PathBytes>,
}

/// What an entry meant for what is at its path already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is a part of the layer now.
    Placed,
    /// It changed nothing but what is hidden below.
    Marked,
}

impl Builder {
    /// An index without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the next entry of the tar. A hard link to a symlink, device or pipe of the layer becomes one of these.
    ///
    /// # Errors
    ///
    /// [`Error::Entry`]: an entry below something that is no directory, a root that is no directory, a hard link to a
    /// directory, to itself, to what the layer removes or to what comes after it: a reader that follows the tar could only
    /// take a lower layer's file for that.
    pub fn insert(&mut self, mut entry: Entry) -> Result<Change> {
        if entry.path.is_empty() && !entry.kind.is_directory() {
            return Err(refuse(&entry, "the root is always a directory"));
        }
        self.check_parents(&entry)?;
        self.check_awaited(&entry, &entry.path)?;
        if !entry.kind.is_directory() {
            self.checked = None;
        }
        match &mut entry.kind {
            Kind::Whiteout => return Ok(self.mark(entry)),
            Kind::Directory { opaque } => {
                match self.entries.get(&key(&entry.path)).map(|known| &known.kind) {
                    Some(Kind::Directory { opaque: was }) => *opaque |= was,
                    Some(Kind::Whiteout) => *opaque = true,
                    Some(_) => self.remove(&entry.path.clone()),
                    None => {}
                }
            }
            Kind::Hardlink { .. } => entry = self.linked(entry)?,
            _ => {}
        }
        if !entry.kind.is_directory() {
            self.remove(&entry.path);
            if let Kind::Hardlink { target } = &entry.kind {
                self.links.entry(target.clone()).or_default().push(entry.path.clone());
            }
        }
        self.entries.insert(key(&entry.path), entry);
        Ok(Change::Placed)
    }

    /// Makes the directory at `path` hide what is below it, wherever its own entry stands in the tar.
    ///
    /// # Errors
    ///
    /// [`Error::Entry`] if something that is no directory is there or above.
    pub fn set_opaque(&mut self, path: &[u8]) -> Result<()> {
        let mut entry = Entry::implied_directory(path.to_vec());
        entry.kind = Kind::Directory { opaque: true };
        self.check_parents(&entry)?;
        self.check_awaited(&entry, path)?;
        match self.entries.get_mut(&key(path)) {
            Some(Entry { kind: Kind::Directory { opaque }, .. }) => *opaque = true,
            Some(Entry { kind: Kind::Whiteout, .. }) | None => {
                self.entries.insert(key(path), entry);
            }
            Some(_) => return Err(refuse(&entry, "an opaque directory that is no directory")),
        }
        Ok(())
    }

    /// Whether an index keeps the bytes of the file at `path` itself.
    #[must_use]
    pub(super) fn wants_inline(path: &[u8], size: u64) -> bool {
        size <= INLINE_LIMIT && INLINE_PATHS.contains(&path)
    }

    /// Keeps what is known of the bytes of the file at `path`.
    pub(crate) fn set_bytes(&mut self, path: &[u8], bytes: Seen) {
        self.sums.insert(path.to_vec(), bytes.crc.finalize());
        if let Some(inline) = bytes.inline {
            self.inline.insert(path.to_vec(), inline);
        }
    }

    /// Says where the bytes of the sparse file at `path` are.
    pub fn set_extents(&mut self, path: &[u8], extents: Vec<Extent>) {
        self.sparse.insert(path.to_vec(), extents);
    }

    /// The index.
    #[must_use]
    pub fn finish(mut self, tar: TarFacts) -> Index {
        self.copy_metadata_to_links();
        let entries: Vec<Entry> = self.entries.into_values().collect();
        let implied = implied_by(&entries);
        let sum = |entry: &Entry| match entry.kind {
            Kind::File { .. } => self.sums.get(&entry.path).copied().unwrap_or(0),
            _ => 0,
        };
        let sums = entries.iter().map(sum).collect();
        Index { entries, implied, sums, sparse: self.sparse, inline: self.inline, tar }
    }

    /// A link is the file under another name, whatever its own header says.
    fn copy_metadata_to_links(&mut self) {
        let changes: Vec<(Vec<u8>, Entry)> = self
            .entries
            .iter()
            .filter_map(|(name, link)| {
                let Kind::Hardlink { target } = &link.kind else { return None };
                let file = self.entries.get(&key(target))?;
                Some((
                    name.clone(),
                    Entry { path: link.path.clone(), kind: link.kind.clone(), ..file.clone() },
                ))
            })
            .collect();
        self.entries.extend(changes);
    }

    fn check_parents(&mut self, entry: &Entry) -> Result<()> {
        let Some((parent, _)) = path::split(&entry.path) else { return Ok(()) };
        if self.checked.as_deref() == Some(parent) {
            return Ok(());
        }
        for ancestor in path::ancestors(&entry.path).skip(1) {
            match self.entries.get_mut(&key(ancestor)).map(|entry| &mut entry.kind) {
                Some(Kind::Directory { .. }) => {}
                None => self.check_awaited(entry, ancestor)?,
                // Both removed and made anew, without an entry of its own.
                Some(kind @ Kind::Whiteout) => {
                    *kind = Kind::Directory { opaque: true };
                    let mode = Entry::implied_directory(PathBytes::new()).mode;
                    if let Some(directory) = self.entries.get_mut(&key(ancestor)) {
                        directory.mode = mode;
                    }
                }
                Some(_) => {
                    let reason = format!("`{}` above it is no directory", path::printable(ancestor));
                    return Err(refuse(entry, &reason));
                }
            }
        }
        self.checked = Some(parent.to_vec());
        Ok(())
    }

    /// Refuses what `entry` would make at `path` if links of the layer hold that for a file of a lower one.
    fn check_awaited(&self, entry: &Entry, path: &[u8]) -> Result<()> {
        let Some(links) = self.links.get(path).filter(|_| !self.entries.contains_key(&key(path))) else {
            return Ok(());
        };
        let reason = format!(
            "`{}`, a hard link to `{}`, came before it",
            path::printable(&links[0]),
            path::printable(path)
        );
        Err(refuse(entry, &reason))
    }

    /// Takes a whiteout.
    fn mark(&mut self, whiteout: Entry) -> Change {
        let name = key(&whiteout.path);
        let removed_and_made_anew = self.below(&name).next().is_some();
        match self.entries.get_mut(&name).map(|entry| &mut entry.kind) {
            Some(Kind::Directory { opaque }) => *opaque = true,
            Some(_) => {}
            None => {
                let directory = Entry::implied_directory(whiteout.path);
                let entry = if removed_and_made_anew {
                    Entry { kind: Kind::Directory { opaque: true }, ..directory }
                } else {
                    Entry { kind: Kind::Whiteout, mode: 0, ..directory }
                };
                self.entries.insert(name, entry);
            }
        }
        Change::Marked
    }

    /// What a hard link is, given what its target is by now.
    fn linked(&self, link: Entry) -> Result<Entry> {
        let Kind::Hardlink { target } = &link.kind else { return Ok(link) };
        if !path::is_clean(target) || target.is_empty() {
            return Err(refuse(&link, "a hard link to nothing that can be linked"));
        }
        let (file, found) = match self.entries.get(&key(target)) {
            Some(Entry { kind: Kind::Hardlink { target: file }, .. }) => (file, self.entries.get(&key(file))),
            found => (target, found),
        };
        if [target, file].into_iter().any(|target| path::is_within(target, &link.path)) {
            return Err(refuse(&link, "a hard link to itself or to what it replaces"));
        }
        let mut above = path::ancestors(target).skip(1).filter_map(|above| self.entries.get(&key(above)));
        if above.any(|above| !above.kind.is_directory()) {
            return Err(refuse(&link, "a hard link to below what is no directory"));
        }
        match found {
            Some(Entry { kind: Kind::Directory { .. }, .. }) => {
                Err(refuse(&link, "a hard link to a directory"))
            }
            None if self.is_implied(file) || path::is_within(&link.path, file) => {
                Err(refuse(&link, "a hard link to a directory"))
            }
            Some(Entry { kind: Kind::Whiteout, .. }) => {
                Err(refuse(&link, "a hard link to what the layer removes"))
            }
            None | Some(Entry { kind: Kind::File { .. }, .. }) => {
                Ok(Entry { kind: Kind::Hardlink { target: file.clone() }, ..link })
            }
            Some(other) => Ok(Entry { path: link.path, ..other.clone() }),
        }
    }

    /// Whether `path`, which has no entry, is a directory since something is below it.
    fn is_implied(&self, path: &[u8]) -> bool {
        self.below(&key(path)).next().is_some()
    }

    fn below<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = &'a Vec<u8>> {
        let mut first = name.to_vec();
        first.push(0);
        let prefix = first.clone();
        self.entries.range(first..).map(|(next, _)| next).take_while(move |next| next.starts_with(&prefix))
    }

    /// Removes what is at `path` and below it.
    fn remove(&mut self, path: &[u8]) {
        let name = key(path);
        if self.entries.get(&name).is_none_or(|entry| entry.kind.is_directory()) {
            let below: Vec<Vec<u8>> = self.below(&name).cloned().collect();
            for name in below {
                self.remove_one(&name);
            }
        }
        self.remove_one(&name);
    }

    fn remove_one(&mut self, name: &[u8]) {
        let Some(entry) = self.entries.remove(name) else { return };
        self.inline.remove(&entry.path);
        let sum = self.sums.remove(&entry.path);
        match &entry.kind {
            Kind::File { .. } => self.promote(entry, sum),
            Kind::Hardlink { target } => {
                if let Some(names) = self.links.get_mut(target) {
                    names.retain(|name| *name != entry.path);
                    if names.is_empty() {
                        let target = target.clone();
                        self.links.remove(&target);
                    }
                }
            }
            _ => {}
        }
    }

    /// The name that carried the bytes of `file` is gone; the first of its other names carries them now.
    fn promote(&mut self, file: Entry, sum: Option<u32>) {
        let extents = self.sparse.remove(&file.path);
        let Some(mut names) = self.links.remove(&file.path) else { return };
        names.sort_by(|a, b| path::order(a, b));
        let heir = names.remove(0);
        if let Some(extents) = extents {
            self.sparse.insert(heir.clone(), extents);
        }
        if let Some(sum) = sum {
            self.sums.insert(heir.clone(), sum);
        }
        for name in &names {
            if let Some(link) = self.entries.get_mut(&key(name)) {
                link.kind = Kind::Hardlink { target: heir.clone() };
            }
        }
        if !names.is_empty() {
            self.links.insert(heir.clone(), names);
        }
        self.entries.insert(key(&heir), Entry { path: heir, ..file });
    }
}

fn key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

fn refuse(entry: &Entry, reason: &str) -> Error {
    Error::Entry { entry: path::printable(&entry.path), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { kind, ..Entry::implied_directory(path.as_bytes().to_vec()) }
    }

    fn dir(path: &str) -> Entry {
        entry(path, Kind::Directory { opaque: false })
    }

    fn file(path: &str, offset: u64) -> Entry {
        Entry { mode: 0o600, ..entry(path, Kind::File { size: 1, offset }) }
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, Kind::Hardlink { target: target.into() })
    }

    fn symlink(path: &str) -> Entry {
        entry(path, Kind::Symlink { target: b"x".to_vec() })
    }

    fn whiteout(path: &str) -> Entry {
        entry(path, Kind::Whiteout)
    }

    /// One word an entry: `path`, then `/` for a directory, `//` for an opaque one, `@offset` for a file, `=target`
    /// for a hard link, `>` for a symlink, `-` for a whiteout.
    fn built(entries: Vec<Entry>) -> String {
        let mut builder = Builder::new();
        for entry in entries {
            if let Err(Error::Entry { entry, reason }) = builder.insert(entry) {
                return format!("{entry}: {reason}");
            }
        }
        let index = builder.finish(TarFacts::default());
        let words = index.entries().iter().map(|entry| {
            let path = path::printable(&entry.path);
            match &entry.kind {
                Kind::Directory { opaque: false } => format!("{path}/"),
                Kind::Directory { opaque: true } => format!("{path}//"),
                Kind::File { offset, .. } => format!("{path}@{offset}"),
                Kind::Hardlink { target } => format!("{path}={}", path::printable(target)),
                Kind::Symlink { .. } => format!("{path}>"),
                Kind::Whiteout => format!("{path}-"),
                other => format!("{path} {other:?}"),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_later_wins() {
        assert_eq!(built(vec![file("a", 1), file("a", 2)]), "a@2");
        assert_eq!(built(vec![dir("a"), file("a/b", 1), dir("a")]), "a/ a/b@1");
        assert_eq!(built(vec![dir("a"), file("a/b", 1), file("a-", 3), file("a", 2)]), "a@2 a-@3");
        assert_eq!(built(vec![file("a/b/c", 1), symlink("a")]), "a>");
        assert_eq!(built(vec![symlink("a"), dir("a"), file("a/b", 1)]), "a/ a/b@1");
    }

    #[test]
    fn nothing_is_below_what_is_no_directory() {
        assert_eq!(built(vec![file("a", 1), file("a/b", 1)]), "a/b: `a` above it is no directory");
        assert_eq!(built(vec![symlink("a"), file("a/b/c", 1)]), "a/b/c: `a` above it is no directory");
        assert_eq!(
            built(vec![file("a/b", 1), symlink("a"), file("a/b", 1)]),
            "a/b: `a` above it is no directory"
        );
        assert_eq!(built(vec![symlink("")]), ": the root is always a directory");
        assert_eq!(built(vec![whiteout("")]), ": the root is always a directory");
    }

    #[test]
    fn whiteouts_concern_lower_layers_in_any_order() {
        assert_eq!(built(vec![whiteout("a")]), "a-");
        assert_eq!(built(vec![whiteout("a"), file("a", 1)]), "a@1");
        assert_eq!(built(vec![file("a", 1), whiteout("a")]), "a@1");
        assert_eq!(built(vec![whiteout("a"), dir("a")]), "a//");
        assert_eq!(built(vec![dir("a"), whiteout("a")]), "a//");
        assert_eq!(built(vec![whiteout("a"), file("a/b", 1)]), "a// a/b@1");
        assert_eq!(built(vec![file("a/b", 1), whiteout("a")]), "a// a/b@1");
        assert_eq!(built(vec![file("ab", 1), whiteout("a")]), "a- ab@1");
        assert_eq!(built(vec![whiteout("a"), dir("a"), dir("a")]), "a//");
    }

    #[test]
    fn opaque_marks_come_before_or_after() {
        let mut builder = Builder::new();
        builder.set_opaque(b"a").unwrap();
        builder.insert(Entry { mode: 0o700, ..dir("a") }).unwrap();
        builder.insert(dir("b")).unwrap();
        builder.set_opaque(b"b").unwrap();
        builder.insert(file("c", 1)).unwrap();
        assert!(builder.set_opaque(b"c").is_err());
        assert!(builder.set_opaque(b"c/d").is_err());
        let index = builder.finish(TarFacts::default());
        assert_eq!(index.entry(b"a").unwrap().kind, Kind::Directory { opaque: true });
        assert_eq!(index.entry(b"a").unwrap().mode, 0o700);
        assert_eq!(index.entry(b"b").unwrap().kind, Kind::Directory { opaque: true });
    }

    #[test]
    fn links_follow_the_bytes() {
        assert_eq!(built(vec![file("a", 1), link("b", "a"), link("c", "b")]), "a@1 b=a c=a");
        assert_eq!(built(vec![file("a", 1), link("b", "a"), link("c", "a"), file("a", 2)]), "a@2 b@1 c=b");
        assert_eq!(built(vec![file("d/a", 1), link("b", "d/a"), symlink("d")]), "b@1 d>");
        assert_eq!(built(vec![symlink("a"), link("b", "a")]), "a> b>");
        assert_eq!(built(vec![link("b", "lower")]), "b=lower");
        assert_eq!(built(vec![file("a", 1), link("b", "a"), file("b", 2), file("a", 3)]), "a@3 b@2");
        assert_eq!(built(vec![link("b", "a"), file("b", 1), file("a", 2)]), "a@2 b@1");
    }

    #[test]
    fn links_lead_to_what_is_there() {
        let itself = "a hard link to itself or to what it replaces";
        assert_eq!(built(vec![link("a", "a")]), format!("a: {itself}"));
        assert_eq!(built(vec![file("a", 1), link("b", "a"), link("b", "b")]), format!("b: {itself}"));
        assert_eq!(built(vec![file("a/b", 1), link("a", "a/b")]), format!("a: {itself}"));
        assert_eq!(built(vec![dir("a"), link("b", "a")]), "b: a hard link to a directory");
        assert_eq!(built(vec![link("b", "")]), "b: a hard link to nothing that can be linked");
        assert_eq!(built(vec![file("a/c", 1), link("b", "a")]), "b: a hard link to a directory");
        assert_eq!(built(vec![link("a/b", "a")]), "a/b: a hard link to a directory");
        assert_eq!(built(vec![whiteout("a"), link("b", "a")]), "b: a hard link to what the layer removes");
        let below = "b: a hard link to below what is no directory";
        assert_eq!(built(vec![symlink("a"), link("b", "a/c")]), below);
        assert_eq!(built(vec![whiteout("a"), link("b", "a/c")]), below);
        for late in [file("a", 1), symlink("a"), dir("a"), whiteout("a"), link("a", "b")] {
            assert_eq!(built(vec![link("b", "a"), late]), "a: `b`, a hard link to `a`, came before it");
        }
        let below = "a/c: `b`, a hard link to `a`, came before it";
        assert_eq!(built(vec![link("b", "a"), file("a/c", 1)]), below);
    }

    #[test]
    fn links_have_the_metadata_of_their_file() {
        let mut builder = Builder::new();
        builder.insert(Entry { uid: 7, ..file("a", 1) }).unwrap();
        builder.insert(Entry { uid: 8, mode: 0o777, ..link("b", "a") }).unwrap();
        let index = builder.finish(TarFacts::default());
        assert_eq!((index.entry(b"b").unwrap().uid, index.entry(b"b").unwrap().mode), (7, 0o600));
    }
}

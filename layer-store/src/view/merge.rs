//! Listing and walking a stack of sorted indexes: each layer is a cursor, the least path is next.

use super::{Located, View};
use crate::index::{Entry, Presence, find, path, subtree};

/// A layer's entries and implied directories at and below a path, in path order, with the place of the next.
struct Cursor<'a> {
    layer: usize,
    listed: &'a [Entry],
    implied: &'a [Entry],
}

impl<'a> Cursor<'a> {
    fn next(&self) -> Option<(&'a Entry, Presence)> {
        match (self.listed.first(), self.implied.first()) {
            (Some(listed), Some(implied)) if path::order(&implied.path, &listed.path).is_lt() => {
                Some((implied, Presence::Implied))
            }
            (Some(listed), _) => Some((listed, Presence::Listed)),
            (None, Some(implied)) => Some((implied, Presence::Implied)),
            (None, None) => None,
        }
    }

    fn step(&mut self, presence: Presence) {
        match presence {
            Presence::Listed => self.listed = &self.listed[1..],
            Presence::Implied => self.implied = &self.implied[1..],
        }
    }

    /// Goes on after all that is at or below `path`.
    fn skip(&mut self, path: &[u8]) {
        self.listed = after(self.listed, path);
        self.implied = after(self.implied, path);
    }
}

/// The part of `entries` after all that is at or below `path`.
fn after<'a>(entries: &'a [Entry], path: &[u8]) -> &'a [Entry] {
    let start = find(entries, path).unwrap_or_else(|at| at);
    let below = subtree(entries, path).len();
    &entries[start + below..]
}

/// The layers that show at `path`, top first, each at its entries there and below.
fn cursors<'a>(view: &'a View, path: &[u8]) -> Vec<Cursor<'a>> {
    let mut cursors = Vec::new();
    for (layer, (_, index)) in view.layers.iter().enumerate().rev() {
        // An entry at `path` itself is the merge's to judge; what is above it is judged here.
        cursors.push(Cursor {
            layer,
            listed: subtree(index.entries(), path),
            implied: subtree(index.implied(), path),
        });
        let hidden = path::ancestors(path)
            .any(|ancestor| index.entry(ancestor).is_some_and(|entry| entry.kind.hides_below()));
        if hidden {
            break;
        }
    }
    cursors
}

/// Merges `cursors` (top first) and gives what shows to `each`, which says whether to go below it.
fn merge<'a>(view: &'a View, mut cursors: Vec<Cursor<'a>>, mut each: impl FnMut(Located<'a>) -> bool) {
    loop {
        let next = cursors.iter().filter_map(Cursor::next).map(|(entry, _)| entry.path.as_slice());
        let Some(least) = next.min_by(|a, b| path::order(a, b)) else { return };
        let mut shown: Option<Located<'a>> = None;
        let mut implied: Option<Located<'a>> = None;
        let mut hidden = false;
        for cursor in &mut cursors {
            if hidden {
                cursor.skip(least);
                continue;
            }
            let Some((entry, presence)) = cursor.next().filter(|(entry, _)| entry.path == least) else {
                continue;
            };
            cursor.step(presence);
            let located = Located { diff_id: view.layers[cursor.layer].0, entry, layer: cursor.layer };
            if presence == Presence::Implied {
                implied.get_or_insert(located);
                continue;
            }
            // A directory further up takes the place of anything else.
            if entry.kind.is_directory() || (shown.is_none() && implied.is_none()) {
                shown.get_or_insert(located);
            }
            hidden = entry.kind.hides_below();
        }
        let shown = shown.or(implied);
        let below = match shown {
            Some(located) if located.entry.kind != crate::index::Kind::Whiteout => each(located),
            _ => continue,
        };
        if !below {
            for cursor in &mut cursors {
                cursor.skip(least);
            }
        }
    }
}

pub(super) fn walk<'a>(view: &'a View, path: &[u8]) -> Vec<Located<'a>> {
    let mut found = Vec::new();
    merge(view, cursors(view, path), |located| {
        found.push(located);
        true
    });
    found
}

pub(super) fn list<'a>(view: &'a View, path: &[u8]) -> Vec<Located<'a>> {
    let mut found = Vec::new();
    merge(view, cursors(view, path), |located| {
        if located.entry.path == path {
            return true;
        }
        found.push(located);
        false
    });
    found
}

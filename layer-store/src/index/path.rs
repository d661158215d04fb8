//! Paths inside an image, and their order.

use std::cmp::Ordering;

use crate::{Error, Result};

/// A path inside an image: relative to its root, `/`-separated, without `.` and `..`, without a leading or trailing
/// slash. The root itself is the empty path.
pub type PathBytes = Vec<u8>;

/// The order of a layer's entries: bytewise by component, which is bytewise with `/` before every other byte. A
/// directory comes right before all that is below it, as a walk that sorts each directory by name meets them, so a
/// subtree is one run: `a`, `a/b`, `a-b` (plain bytes would put `a-b` between the two).
#[must_use]
pub fn order(one: &[u8], other: &[u8]) -> Ordering {
    // NUL is in no path, so it can stand for the slash.
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    let shorter = one.len().min(other.len());
    match one[..shorter].iter().zip(&other[..shorter]).position(|(a, b)| a != b) {
        Some(at) => rank(one[at]).cmp(&rank(other[at])),
        None => one.len().cmp(&other.len()),
    }
}

/// Whether `path` is `ancestor` or below it.
#[must_use]
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor.is_empty()
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The directory that `path` is in, and its name there. `None` for the root.
#[must_use]
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

/// All proper ancestors of `path`, the root first. None for the root.
pub fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = (!path.is_empty()).then_some(&b""[..]);
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    root.into_iter().chain(slashes.map(|(at, _)| &path[..at]))
}

/// `name` in the directory `parent`.
#[must_use]
pub fn join(parent: &[u8], name: &[u8]) -> PathBytes {
    let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
    path.extend_from_slice(parent);
    if !parent.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Whether `path` is one: no empty component, `.`, `..` or NUL.
#[must_use]
pub fn is_clean(path: &[u8]) -> bool {
    path.is_empty()
        || (!path.contains(&0)
            && path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")))
}

/// The path that `name`, as a tar spells it, stands for: `/a`, `./a//b/` are `a`, `a/b`.
///
/// # Errors
///
/// [`Error::Entry`] for a name with `..` or NUL in it.
pub fn clean(name: &[u8]) -> Result<PathBytes> {
    let refuse = |reason: &str| Error::Entry { entry: printable(name), reason: reason.to_owned() };
    if is_clean(name) {
        return Ok(name.to_vec());
    }
    if name.contains(&0) {
        return Err(refuse("the name contains NUL"));
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refuse("the name contains `..`")),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// A name as it may stand in a message: what is not printable UTF-8 is escaped, and what is long is cut.
#[must_use]
pub fn printable(name: &[u8]) -> String {
    const LONGEST: usize = 200;
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
            if text.len() > LONGEST {
                text.push('…');
                return text;
            }
        }
        for byte in chunk.invalid() {
            text.extend(byte.escape_ascii().map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleans_what_tars_spell() {
        let check = |name: &str, path: &str| assert_eq!(clean(name.as_bytes()).unwrap(), path.as_bytes());
        check("", "");
        check(".", "");
        check("./", "");
        check("/", "");
        check("./a//b/", "a/b");
        check("/etc/passwd", "etc/passwd");
        check("a/./b", "a/b");
        check("...", "...");
        for name in ["..", "a/..", "../a", "a/../b", "/..", "a\0b"] {
            assert!(matches!(clean(name.as_bytes()), Err(Error::Entry { .. })), "{name:?}");
        }
    }

    #[test]
    fn names_ancestors_from_the_root() {
        let all = |path: &'static str| ancestors(path.as_bytes()).collect::<Vec<_>>();
        assert_eq!(all("a/b/c"), [&b""[..], b"a", b"a/b"]);
        assert_eq!(all("a"), [b""]);
        assert!(all("").is_empty());
    }

    #[test]
    fn messages_stay_on_their_line() {
        assert_eq!(printable(b"a\n\x1b[1m\xff"), "a\\n\\u{1b}[1m\\xff");
        assert!(printable(&[b'a'; 5000]).len() < 210);
    }

    proptest! {
        #[test]
        fn orders_as_lists_of_components(one in "[ab./-]{0,8}", other in "[ab./-]{0,8}") {
            let (Ok(one), Ok(other)) = (clean(one.as_bytes()), clean(other.as_bytes())) else { return Ok(()) };
            let parts = |path: &[u8]| {
                path.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            prop_assert_eq!(order(&one, &other), parts(&one).cmp(&parts(&other)));
            prop_assert_eq!(is_within(&one, &other), parts(&one).starts_with(&parts(&other)));
        }
    }
}

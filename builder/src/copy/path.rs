//! Paths inside an image or a context as bytes: relative to its root, clean, without slashes at the ends.

use std::borrow::Cow;

/// A clean path; the root is empty.
pub(crate) type PathBytes = Vec<u8>;

/// How many symlinks one path may lead over, as `containerd/continuity` has it.
const MAX_LINKS: usize = 255;

/// The path with `.`, `..` and doubled slashes resolved as text; `..` stops at the root.
pub(crate) fn clean(path: &[u8]) -> PathBytes {
    let mut out = Vec::with_capacity(path.len());
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => out.truncate(parent(&out).len()),
            name => push(&mut out, name),
        }
    }
    out
}

/// `directory/name`, cleaned as text.
pub(crate) fn join(directory: &[u8], path: &[u8]) -> PathBytes {
    let mut joined = directory.to_vec();
    joined.push(b'/');
    joined.extend_from_slice(path);
    clean(&joined)
}

/// A child of a clean path; `name` is one clean component.
pub(crate) fn child(directory: &[u8], name: &[u8]) -> PathBytes {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    push(&mut path, name);
    path
}

/// Appends a clean relative path (possibly empty) to a clean path.
pub(crate) fn push(path: &mut PathBytes, tail: &[u8]) {
    if !path.is_empty() && !tail.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(tail);
}

/// The path without its last component; the root's is the root.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(&[], |at| &path[..at])
}

/// The last component; empty for the root.
pub(crate) fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(path, |at| &path[at + 1..])
}

/// All proper ancestors but the root, nearest first.
pub(crate) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(parent(path)), |path| Some(parent(path))).take_while(|path| !path.is_empty())
}

/// The path for people, with a leading slash.
pub(crate) fn display(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// What a resolver needs to know of a path.
pub(crate) enum Peek<'a> {
    /// Nothing is there.
    Missing,
    /// A directory.
    Directory,
    /// A symlink with its text.
    Symlink(Cow<'a, [u8]>),
    /// Anything else.
    Other,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// More than [`MAX_LINKS`] symlinks.
    Loop,
    /// The path goes on below this one, which is no directory.
    NotADirectory(PathBytes),
}

impl Unresolved {
    /// In words.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Loop => "too many symbolic links",
            Self::NotADirectory(_) => "a part of it is not a directory",
        }
    }
}

/// How `..` in a symlink's text is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dots {
    /// As text, before anything is looked up: BuildKit's way for the paths of COPY.
    AsText,
    /// As the kernel does: up from where the path has led to. For archives, which BuildKit unpacks in a chroot.
    AsKernel,
}

/// Follows `path` (clean) inside `root` (clean, a directory, no symlinks): symlinks cannot leave it. Parts that do not
/// exist are kept as they are. `peek` gets whole paths.
pub(crate) fn resolve<'a, E: From<Unresolved>>(
    root: &[u8],
    path: &[u8],
    follow_last: bool,
    dots: Dots,
    mut peek: impl FnMut(&[u8]) -> Result<Peek<'a>, E>,
) -> Result<PathBytes, E> {
    let mut pending: Vec<Vec<u8>> = components_reversed(path);
    let mut here = root.to_vec();
    let mut links = 0;
    while let Some(part) = pending.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                if here.len() > root.len() {
                    here.truncate(parent(&here).len().max(root.len()));
                }
                continue;
            }
            _ => {}
        }
        let next = child(&here, &part);
        let last = pending.is_empty();
        let target = match peek(&next)? {
            Peek::Symlink(target) if !last || follow_last => target,
            Peek::Other | Peek::Symlink(_) if !last => return Err(Unresolved::NotADirectory(next).into()),
            Peek::Missing | Peek::Directory | Peek::Other | Peek::Symlink(_) => {
                here = next;
                continue;
            }
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Unresolved::Loop.into());
        }
        let absolute = target.first() == Some(&b'/');
        match dots {
            Dots::AsKernel => {
                if absolute {
                    here.truncate(root.len());
                }
                pending.extend(components_reversed(&target));
            }
            Dots::AsText => {
                let mut text = if absolute { Vec::new() } else { here[root.len()..].to_vec() };
                text.push(b'/');
                text.extend_from_slice(&target);
                for part in pending.iter().rev() {
                    text.push(b'/');
                    text.extend_from_slice(part);
                }
                pending = components_reversed(&clean(&text));
                here.truncate(root.len());
            }
        }
    }
    Ok(here)
}

fn components_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_as_text() {
        for (path, expected) in [
            ("", ""),
            ("/", ""),
            ("a//b/./c/", "a/b/c"),
            ("../../a", "a"),
            ("a/../..", ""),
            ("a/b/../c", "a/c"),
        ] {
            assert_eq!(String::from_utf8(clean(path.as_bytes())).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn takes_paths_apart() {
        assert_eq!(parent(b"a/b/c"), b"a/b");
        assert_eq!(parent(b"a"), b"");
        assert_eq!(name(b"a/b"), b"b");
        assert_eq!(name(b""), b"");
        assert_eq!(ancestors(b"a/b/c").collect::<Vec<_>>(), [b"a/b".as_slice(), b"a"]);
    }

    fn resolve_in(links: &[(&str, &str)], root: &str, path: &str, dots: Dots) -> Result<String, Unresolved> {
        resolve(root.as_bytes(), path.as_bytes(), true, dots, |path| {
            let path = String::from_utf8_lossy(path);
            Ok(match links.iter().find(|(name, _)| *name == path) {
                Some((_, target)) => Peek::Symlink(Cow::Owned(target.as_bytes().to_vec())),
                None if path.ends_with("file") => Peek::Other,
                None if path.ends_with("missing") => Peek::Missing,
                None => Peek::Directory,
            })
        })
        .map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn symlinks_stay_inside() {
        let links =
            [("l", "../../x"), ("abs", "/y/z"), ("in/abs", "/y"), ("in/up", "../../q"), ("d", "x/sub")];
        for dots in [Dots::AsText, Dots::AsKernel] {
            assert_eq!(resolve_in(&links, "", "l/f", dots).unwrap(), "x/f");
            assert_eq!(resolve_in(&links, "", "abs/missing/f", dots).unwrap(), "y/z/missing/f");
            assert_eq!(resolve_in(&links, "in", "abs/f", dots).unwrap(), "in/y/f");
            assert_eq!(resolve_in(&links, "in", "up", dots).unwrap(), "in/q");
        }
    }

    #[test]
    fn dots_in_link_texts() {
        let links = [("l", "d/../e"), ("d", "x/sub")];
        assert_eq!(resolve_in(&links, "", "l", Dots::AsText).unwrap(), "e");
        assert_eq!(resolve_in(&links, "", "l", Dots::AsKernel).unwrap(), "x/e");
    }

    #[test]
    fn dead_ends() {
        let loops = [("a", "b"), ("b", "a")];
        for dots in [Dots::AsText, Dots::AsKernel] {
            assert_eq!(resolve_in(&loops, "", "a", dots), Err(Unresolved::Loop));
            assert_eq!(resolve_in(&[], "", "file/x", dots), Err(Unresolved::NotADirectory(b"file".to_vec())));
        }
    }
}

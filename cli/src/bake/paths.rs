//! Paths as bake files write them.

/// The shortest path that means the same, by its words alone, as Go's `path.Clean` has it.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// A path below a directory, unless it begins at the root.
pub(crate) fn join(directory: &str, path: &str) -> String {
    let whole = path.starts_with('/') || directory.is_empty();
    if whole { clean(path) } else { clean(&format!("{directory}/{path}")) }
}

/// Whether a context is somewhere else: a URL or a git repository.
pub(crate) fn is_remote(text: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    schemes.iter().any(|scheme| text.starts_with(scheme))
}

/// Whether a name fits a pattern of `*`, `?` and `[a-z]`.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut expression = String::from("^");
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => expression += "[^/]*",
            '?' => expression += "[^/]",
            '[' => {
                expression.push('[');
                for inner in characters.by_ref() {
                    match inner {
                        ']' => break,
                        '^' | '-' => expression.push(inner),
                        inner => expression += &regex::escape(&inner.to_string()),
                    }
                }
                expression.push(']');
            }
            other => expression += &regex::escape(&other.to_string()),
        }
    }
    // A pattern that is none fits nothing.
    regex::Regex::new(&(expression + "$")).is_ok_and(|expression| expression.is_match(name))
}

/// Whether a word is a pattern.
pub(crate) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned() {
        for (path, wanted) in [
            ("./dir/", "dir"),
            (".", "."),
            ("", "."),
            ("a/../../b", "../b"),
            ("/../a//b/.", "/a/b"),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
        assert_eq!(join("a", "../b"), "b");
        assert_eq!(join("a", "/b"), "/b");
        assert_eq!(join("", "b"), "b");
    }

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("app-*", "app-1", true),
            ("*", "x", true),
            ("a?", "a", false),
            ("[ab]c", "bc", true),
            ("[", "[", false),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }
}

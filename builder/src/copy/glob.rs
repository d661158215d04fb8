//! Wildcards of COPY and ADD sources: Go's `filepath.Match`, component by component.

use super::path;

/// Why a pattern is malformed.
pub(crate) type Malformed = &'static str;

/// Whether the text has a wildcard: `*`, `?` or `[` that no backslash takes away.
pub(crate) fn has_wildcard(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Splits a clean path before its first component with a wildcard: a path that is taken as it is (backslashes
/// included) and patterns for the levels below it. No patterns: no wildcards.
pub(crate) fn split(pattern: &[u8]) -> (path::PathBytes, Vec<Vec<u8>>) {
    let mut literal = Vec::new();
    let mut patterns: Vec<Vec<u8>> = Vec::new();
    for part in pattern.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        if patterns.is_empty() && !has_wildcard(part) {
            path::push(&mut literal, part);
        } else {
            patterns.push(part.to_vec());
        }
    }
    (literal, patterns)
}

/// Whether `name`, one path component, matches `pattern`. A pattern that is malformed anywhere is an error even if
/// the name differs before that place.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, Malformed> {
    let tokens = parse(pattern)?;
    // Names need not be UTF-8; a byte that is no text counts as one character, as in Go.
    let chars = decode(name);
    Ok(run(&tokens, &chars))
}

enum Token {
    Any,
    One,
    Char(u32),
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

fn parse(pattern: &[u8]) -> Result<Vec<Token>, Malformed> {
    let chars = decode(pattern);
    let mut tokens = Vec::new();
    let mut at = 0;
    let escaped = |at: &mut usize| -> Result<u32, Malformed> {
        let char = *chars.get(*at).ok_or("it ends in a backslash")?;
        *at += 1;
        Ok(char)
    };
    while at < chars.len() {
        let char = chars[at];
        at += 1;
        tokens.push(match char {
            STAR => Token::Any,
            QUESTION => Token::One,
            BACKSLASH => Token::Char(escaped(&mut at)?),
            BRACKET => {
                let negated = chars.get(at) == Some(&CARET);
                at += usize::from(negated);
                let mut ranges = Vec::new();
                loop {
                    if chars.get(at) == Some(&CLOSE) && !ranges.is_empty() {
                        at += 1;
                        break;
                    }
                    let bound = |at: &mut usize| -> Result<u32, Malformed> {
                        let char = *chars.get(*at).ok_or("a `[` has no `]`")?;
                        *at += 1;
                        match char {
                            DASH | CLOSE => Err("a `[…]` has a `-` or `]` out of place"),
                            BACKSLASH => escaped(at),
                            char => Ok(char),
                        }
                    };
                    let low = bound(&mut at)?;
                    let high = if chars.get(at) == Some(&DASH) {
                        at += 1;
                        bound(&mut at)?
                    } else {
                        low
                    };
                    ranges.push((low, high));
                    if at >= chars.len() {
                        return Err("a `[` has no `]`");
                    }
                }
                Token::Class { negated, ranges }
            }
            char => Token::Char(char),
        });
    }
    Ok(tokens)
}

fn run(tokens: &[Token], chars: &[u32]) -> bool {
    let (mut token, mut at) = (0, 0);
    // Where to go on when what follows the last star does not match: one character further.
    let mut retry = None;
    loop {
        let stepped = match tokens.get(token) {
            None => at == chars.len(),
            Some(Token::Any) => {
                token += 1;
                retry = Some((token, at));
                continue;
            }
            Some(one) => chars.get(at).is_some_and(|&char| match one {
                Token::Char(expected) => *expected == char,
                Token::Class { negated, ranges } => {
                    ranges.iter().any(|&(low, high)| (low..=high).contains(&char)) != *negated
                }
                Token::One | Token::Any => true,
            }),
        };
        if stepped && token == tokens.len() {
            return true;
        }
        if stepped {
            token += 1;
            at += 1;
            continue;
        }
        match &mut retry {
            Some((after, from)) if *from < chars.len() => {
                *from += 1;
                (token, at) = (*after, *from);
            }
            _ => return false,
        }
    }
}

const STAR: u32 = b'*' as u32;
const QUESTION: u32 = b'?' as u32;
const BACKSLASH: u32 = b'\\' as u32;
const BRACKET: u32 = b'[' as u32;
const CLOSE: u32 = b']' as u32;
const CARET: u32 = b'^' as u32;
const DASH: u32 = b'-' as u32;

/// Characters; bytes that are no UTF-8 each become a number above all characters.
fn decode(bytes: &[u8]) -> Vec<u32> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().chars().map(u32::from));
        out.extend(chunk.invalid().iter().map(|&byte| 0x11_0000 + u32::from(byte)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", ".hidden", true),
            ("*.go", "a.go", true),
            ("*.go", "a.goo", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?", "é", true),
            ("??", "é", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("arr[[]0].txt", "arr[0].txt", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("[\\-x]", "-", true),
            ("***", "abc", true),
            ("a", "b", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), Ok(expected), "{pattern} {name}");
        }
        assert_eq!(matches(b"?", b"\xff"), Ok(true));
    }

    #[test]
    fn malformed() {
        for pattern in ["[", "[]", "[^", "[a", "[a-", "[-a]", "[a-]", "x\\", "abc[", "[]a]"] {
            assert!(matches(pattern.as_bytes(), b"zzz").is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_are_quick() {
        let pattern = b"*a".repeat(200);
        assert_eq!(matches(&pattern, &b"a".repeat(199)), Ok(false));
    }

    #[test]
    fn splitting() {
        let split = |text: &str| {
            let (literal, patterns) = split(text.as_bytes());
            (String::from_utf8(literal).unwrap(), patterns.len())
        };
        assert_eq!(split("a/b"), ("a/b".into(), 0));
        assert_eq!(split("a/b*/c"), ("a".into(), 2));
        assert_eq!(split("*"), (String::new(), 1));
        assert_eq!(split("a\\*b/c"), ("a\\*b/c".into(), 0));
    }
}

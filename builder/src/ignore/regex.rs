//! The few regular expressions that patterns are translated to, read as Go's `regexp` reads them.
//!
//! No crate does: they differ in classes within classes and in what `\d` is, and a pattern must
//! mean here what it means to moby, oddities included.

/// A sequence of elements that must match a whole path.
#[derive(Debug, Clone)]
pub(super) struct Regex {
    elements: Vec<Element>,
    /// Text that every match starts with and ends with; a cheap no.
    prefix: String,
    suffix: String,
}

#[derive(Debug, Clone)]
enum Element {
    One(Set),
    Many(Set),
    /// `(.*/)?`
    Directories,
    /// `^` and `\A`
    Start,
    /// `$` and `\z`
    End,
    /// `\b`, or `\B` when false.
    WordBoundary(bool),
}

#[derive(Debug, Clone)]
struct Set {
    negated: bool,
    /// Inclusive.
    ranges: Vec<(char, char)>,
}

impl Set {
    fn of(c: char) -> Self {
        Self { negated: false, ranges: vec![(c, c)] }
    }

    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }

    fn literal(&self) -> Option<char> {
        match self.ranges.as_slice() {
            [(low, high)] if low == high && !self.negated => Some(*low),
            _ => None,
        }
    }

    /// The ranges of what it contains, negation worked in.
    fn into_ranges(self) -> Vec<(char, char)> {
        if !self.negated {
            return self.ranges;
        }
        let mut excluded = self.ranges;
        excluded.sort_unstable();
        let mut ranges = Vec::new();
        let mut next = Some('\0');
        for (low, high) in excluded {
            let Some(from) = next else { break };
            if let Some(before) = previous(low).filter(|before| from <= *before) {
                ranges.push((from, before));
            }
            next = following(high).map(|after| after.max(from));
            if high == char::MAX {
                next = None;
            }
        }
        if let Some(from) = next {
            ranges.push((from, char::MAX));
        }
        ranges
    }
}

fn previous(c: char) -> Option<char> {
    ('\0'..c).next_back()
}

fn following(c: char) -> Option<char> {
    (c..=char::MAX).nth(1)
}

impl Regex {
    /// `None` when Go would not compile it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let elements = Parser { chars: text.chars().collect(), at: 0 }.parse()?;
        let literals = |element: &Element| match element {
            Element::One(set) => set.literal(),
            _ => None,
        };
        let anchored = matches!(elements.first(), Some(Element::Start));
        let prefix = elements.iter().skip(usize::from(anchored)).map_while(literals).collect();
        let suffix: Vec<char> = elements.iter().rev().skip(1).map_while(literals).collect();
        Some(Self { elements, prefix, suffix: suffix.into_iter().rev().collect() })
    }

    /// The cost is the product of the lengths, whatever the pattern is.
    pub(super) fn matches(&self, path: &str, chars: &mut Option<Vec<char>>) -> bool {
        if !path.starts_with(&self.prefix) || !path.ends_with(&self.suffix) {
            return false;
        }
        let path: &[char] = chars.get_or_insert_with(|| path.chars().collect());
        // From the last element to the first: whether what follows matches from each position on.
        let mut rest = vec![false; path.len() + 1];
        rest[path.len()] = true;
        for element in self.elements.iter().rev() {
            element.extend(path, &mut rest);
        }
        rest[0]
    }
}

impl Element {
    /// Turns "the following elements match from here" into "this one and they do".
    fn extend(&self, path: &[char], rest: &mut [bool]) {
        let end = path.len();
        match self {
            Self::One(set) => {
                for at in 0..end {
                    rest[at] = rest[at + 1] && set.contains(path[at]);
                }
                rest[end] = false;
            }
            Self::Many(set) => {
                for at in (0..end).rev() {
                    rest[at] = rest[at] || (rest[at + 1] && set.contains(path[at]));
                }
            }
            Self::Directories => {
                let (mut after, mut inside) = (rest[end], false);
                for at in (0..end).rev() {
                    inside = (path[at] == '/' && after) || (path[at] != '\n' && inside);
                    after = rest[at];
                    rest[at] = rest[at] || inside;
                }
            }
            Self::Start => rest[1..].fill(false),
            Self::End => rest[..end].fill(false),
            Self::WordBoundary(expected) => {
                let word = |at: usize| path.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_');
                for (at, rest) in rest.iter_mut().enumerate() {
                    let boundary = word(at) != (at > 0 && word(at - 1));
                    *rest = *rest && boundary == *expected;
                }
            }
        }
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn parse(mut self) -> Option<Vec<Element>> {
        const DIRECTORIES: [char; 6] = ['(', '.', '*', '/', ')', '?'];
        let mut elements = Vec::new();
        while let Some(c) = self.next() {
            let set = match c {
                // The only group there is; brackets of the pattern were escaped.
                '(' if self.chars[self.at - 1..].starts_with(&DIRECTORIES) => {
                    self.at += DIRECTORIES.len() - 1;
                    elements.push(Element::Directories);
                    continue;
                }
                '^' => {
                    elements.push(Element::Start);
                    continue;
                }
                '$' => {
                    elements.push(Element::End);
                    continue;
                }
                '.' => Set { negated: true, ranges: vec![('\n', '\n')] },
                '[' => self.class()?,
                '\\' => match self.next()? {
                    'A' => {
                        elements.push(Element::Start);
                        continue;
                    }
                    'z' => {
                        elements.push(Element::End);
                        continue;
                    }
                    boundary @ ('b' | 'B') => {
                        elements.push(Element::WordBoundary(boundary == 'b'));
                        continue;
                    }
                    escaped => escape(escaped)?,
                },
                c => Set::of(c),
            };
            elements.push(if self.peek() == Some('*') {
                self.at += 1;
                // Two quantifiers in a row are an error to Go.
                if self.peek() == Some('*') {
                    return None;
                }
                Element::Many(set)
            } else {
                Element::One(set)
            });
        }
        Some(elements)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// What follows `[`. A `]` at once is a character; so is `[` anywhere, but for `[:name:]`.
    fn class(&mut self) -> Option<Set> {
        let negated = self.peek() == Some('^');
        if negated {
            self.at += 1;
        }
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            if self.peek()? == ']' && !first {
                self.at += 1;
                return Some(Set { negated, ranges });
            }
            first = false;
            if let Some(named) = self.named_class()? {
                ranges.extend(named);
                continue;
            }
            let low = match self.class_member()? {
                Member::Set(set) => {
                    ranges.extend(set);
                    continue;
                }
                Member::Char(c) => c,
            };
            let is_range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
            let high = if is_range {
                self.at += 1;
                match self.class_member()? {
                    Member::Char(c) => c,
                    Member::Set(_) => return None,
                }
            } else {
                low
            };
            if high < low {
                return None;
            }
            ranges.push((low, high));
        }
    }

    /// `[:name:]` or `[:^name:]`; an unknown name is an error.
    #[expect(clippy::option_option, reason = "an error, no such class here, or a class")]
    fn named_class(&mut self) -> Option<Option<Vec<(char, char)>>> {
        if !self.chars[self.at..].starts_with(&['[', ':']) {
            return Some(None);
        }
        let inner = &self.chars[self.at + 2..];
        let Some(end) = inner.windows(2).position(|pair| pair == [':', ']']) else { return Some(None) };
        let name: String = inner[..end].iter().collect();
        self.at += 2 + end + 2;
        let (negated, name) = name.strip_prefix('^').map_or((false, name.as_str()), |name| (true, name));
        let ranges = named_ranges(name)?;
        Some(Some(Set { negated, ranges }.into_ranges()))
    }

    fn class_member(&mut self) -> Option<Member> {
        match self.next()? {
            '\\' => {
                let set = escape(self.next()?)?;
                Some(set.literal().map_or_else(|| Member::Set(set.into_ranges()), Member::Char))
            }
            c => Some(Member::Char(c)),
        }
    }
}

enum Member {
    Char(char),
    Set(Vec<(char, char)>),
}

/// What `\c` is: a Perl class, a control character, or a punctuation mark itself. The other letters
/// and digits are errors to Go, or mean things that no path pattern wants.
fn escape(c: char) -> Option<Set> {
    let class = |negated, name| Some(Set { negated, ranges: named_ranges(name)? });
    match c {
        'd' | 'D' => class(c == 'D', "digit"),
        'w' | 'W' => class(c == 'W', "word"),
        's' | 'S' => Some(Set { negated: c == 'S', ranges: vec![('\t', '\n'), ('\x0c', '\r'), (' ', ' ')] }),
        'a' => Some(Set::of('\x07')),
        'f' => Some(Set::of('\x0c')),
        'n' => Some(Set::of('\n')),
        'r' => Some(Set::of('\r')),
        't' => Some(Set::of('\t')),
        'v' => Some(Set::of('\x0b')),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(Set::of(c)),
        _ => None,
    }
}

fn named_ranges(name: &str) -> Option<Vec<(char, char)>> {
    Some(match name {
        "alnum" => vec![('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => vec![('A', 'Z'), ('a', 'z')],
        "ascii" => vec![('\0', '\x7f')],
        "blank" => vec![('\t', '\t'), (' ', ' ')],
        "cntrl" => vec![('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => vec![('0', '9')],
        "graph" => vec![('!', '~')],
        "lower" => vec![('a', 'z')],
        "print" => vec![(' ', '~')],
        "punct" => vec![('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => vec![('\t', '\r'), (' ', ' ')],
        "upper" => vec![('A', 'Z')],
        "word" => vec![('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
        "xdigit" => vec![('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    })
}

//! One line for one thing in a filesystem, the same for what a case puts there and for what it expects:
//!
//! ```text
//! file 0644 0:0 /etc/motd "hello\n" user.note="kept" mtime=1000
//! dir 0755 0:0 /etc
//! link 0777 0:0 /etc/now -> motd
//! hard /etc/same => /etc/motd
//! fifo 0600 0:0 /pipe        sock 0600 /socket        char 0666 0:0 /null 1:3
//! gone /etc/old
//! ```

use std::collections::BTreeMap;
use std::fmt;

/// What kind of thing it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(String),
    /// Another name of the file at this path.
    Hard(String),
    Fifo,
    Socket,
    Character(u32, u32),
    Block(u32, u32),
    /// Nothing is there; in a layer: a whiteout.
    Gone,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) path: String,
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Option<u64>,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    pub(crate) fn new(kind: Kind, mode: u32, path: &str) -> Self {
        Self {
            kind,
            mode,
            owner: None,
            path: path.to_owned(),
            content: None,
            size: None,
            mtime: None,
            xattrs: BTreeMap::new(),
        }
    }

    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        Self::from_words(&words(line)?).map_err(|why| format!("{why}: {line}"))
    }

    fn from_words(words: &[String]) -> Result<Self, String> {
        let mut words = words.iter().peekable();
        let mut next = |what: &str| words.next().cloned().ok_or_else(|| format!("no {what}"));
        let kind = next("kind")?;
        if kind == "gone" {
            return Ok(Self::new(Kind::Gone, 0, &next("path")?));
        }
        if kind == "hard" {
            let path = next("path")?;
            next("=>")?;
            return Ok(Self::new(Kind::Hard(next("target")?), 0, &path));
        }
        let mut mode = 0o777;
        let mut word = next("mode")?;
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            mode = u32::from_str_radix(&word, 8).map_err(|_| "a mode is octal")?;
            word = next("path")?;
        }
        let mut owner = None;
        if let Some(pair) = pair(&word) {
            owner = Some(pair);
            word = next("path")?;
        }
        let kind = match kind.as_str() {
            "file" => Kind::File,
            "dir" => Kind::Directory,
            "fifo" => Kind::Fifo,
            "sock" => Kind::Socket,
            "link" => {
                next("->")?;
                Kind::Symlink(next("target")?)
            }
            "char" | "block" => {
                let device = next("major:minor")?;
                let (major, minor) = pair(&device).ok_or("a device is `major:minor`")?;
                if kind == "char" { Kind::Character(major, minor) } else { Kind::Block(major, minor) }
            }
            other => return Err(format!("no kind is called `{other}`")),
        };
        let mut entry = Self::new(kind, mode, &word);
        entry.owner = owner;
        for word in words {
            if let Some(content) = word.strip_prefix('"') {
                entry.content = Some(unescape(content)?);
            } else if let Some(size) = word.strip_prefix("size=") {
                entry.size = Some(size.parse().map_err(|_| "size= is a number")?);
            } else if let Some(time) = word.strip_prefix("mtime=") {
                entry.mtime = Some(time.parse().map_err(|_| "mtime= is seconds since 1970")?);
            } else if let Some((name, value)) = word.split_once("=\"") {
                entry.xattrs.insert(name.to_owned(), unescape(value)?);
            } else {
                return Err(format!("`{word}` is not understood"));
            }
        }
        Ok(entry)
    }

    /// Whether `actual` is what this line asks for; what the line leaves out is not asked, except owner `0:0` and
    /// extended attributes.
    pub(crate) fn allows(&self, actual: &Self) -> bool {
        if matches!(self.kind, Kind::Hard(_) | Kind::Gone) {
            return self.kind == actual.kind && self.path == actual.path;
        }
        self.kind == actual.kind
            && self.mode == actual.mode
            && self.owner.unwrap_or((0, 0)) == actual.owner.unwrap_or((0, 0))
            && (self.content.is_none() || self.content == actual.content)
            && (self.size.is_none() || self.size == actual.size)
            && (self.mtime.is_none() || self.mtime == actual.mtime)
            && self.xattrs == actual.xattrs
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = quote_path(&self.path);
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let head = |kind: &str| format!("{kind} {:04o} {uid}:{gid} {path}", self.mode);
        match &self.kind {
            Kind::Gone => return write!(f, "gone {path}"),
            Kind::Hard(target) => return write!(f, "hard {path} => {}", quote_path(target)),
            Kind::File => write!(f, "{}", head("file"))?,
            Kind::Directory => write!(f, "{}", head("dir"))?,
            Kind::Fifo => write!(f, "{}", head("fifo"))?,
            Kind::Socket => write!(f, "{}", head("sock"))?,
            Kind::Symlink(target) => write!(f, "{} -> {}", head("link"), quote_path(target))?,
            Kind::Character(major, minor) => write!(f, "{} {major}:{minor}", head("char"))?,
            Kind::Block(major, minor) => write!(f, "{} {major}:{minor}", head("block"))?,
        }
        match &self.content {
            Some(content) if content.len() <= 400 => write!(f, " \"{}\"", escape(content))?,
            Some(content) => write!(f, " size={}", content.len())?,
            None => {}
        }
        for (name, value) in &self.xattrs {
            write!(f, " {name}=\"{}\"", escape(value))?;
        }
        Ok(())
    }
}

fn pair(word: &str) -> Option<(u32, u32)> {
    let (left, right) = word.split_once(':')?;
    Some((left.parse().ok()?, right.parse().ok()?))
}

/// Words between blanks; a word or the end of one may be quoted. The opening quote of a word that is a content stays,
/// a quoted path loses it.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                if escaped {
                    escaped = false;
                } else if *c == '\\' && quoted {
                    escaped = true;
                } else if *c == '"' {
                    quoted = !quoted;
                }
                *c == ' ' && !quoted
            })
            .map_or(rest.len(), |(at, _)| at);
        if quoted {
            return Err(format!("a quote is not closed: {line}"));
        }
        words.push(rest[..end].strip_suffix('"').unwrap_or(&rest[..end]).to_owned());
        rest = rest[end..].trim_start();
    }
    // A path that needs quotes is written as `p"..."`.
    words
        .into_iter()
        .map(|word| match word.strip_prefix("p\"") {
            Some(path) => {
                unescape(path).and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string()))
            }
            None => Ok(word),
        })
        .collect()
}

fn quote_path(path: &str) -> String {
    if path.contains([' ', '"', '\\', '\n']) || path.is_empty() {
        format!("p\"{}\"", escape(path.as_bytes()))
    } else {
        path.to_owned()
    }
}

/// `\n \t \r \" \\ \xNN`; the rest stands for itself where it is UTF-8.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                c if c.is_control() && c.is_ascii() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The reverse of `escape`.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest[at + 1..].chars().next().ok_or("a backslash at the end")?;
        let mut used = 2;
        match code {
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            '"' => bytes.push(b'"'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let digits = rest.get(at + 2..at + 4).ok_or("\\x needs two digits")?;
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two digits")?);
                used = 4;
            }
            other => return Err(format!("\\{other} is not an escape")),
        }
        rest = &rest[at + used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

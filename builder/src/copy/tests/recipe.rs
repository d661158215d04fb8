//! Trees as lines of text: made on disk, as a layer's entries, and read back from a view.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use layer_store::layer::{FileSource, NewEntry, NewKind};
use layer_store::{Kind, Store, View};

/// Time of what says no other.
const DEFAULT_TIME: i64 = 1000;

/// One file or directory: `kind path [mode] [uid:gid] [@mtime] [name=value …] ["content" | -> target]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// `f`ile, `d`irectory, sym`l`ink, `h`ard link, `p`ipe, `c`har or `b`lock device, `s`ocket, `w`hiteout, `o`paque
    /// directory.
    pub(super) kind: char,
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: BTreeMap<String, String>,
    /// Content, target or device number.
    pub(super) body: String,
}

impl Line {
    pub(super) fn parse(text: &str) -> Self {
        let words = words(text);
        let mut words = words.iter();
        let kind = words.next().and_then(|(word, _)| word.chars().next()).expect("a kind");
        let path = words.next().unwrap_or_else(|| panic!("no path: {text}")).0.clone();
        let mode = match kind {
            'd' | 'o' => 0o755,
            'l' => 0o777,
            'w' => 0,
            _ => 0o644,
        };
        let mut line = Self {
            kind,
            path,
            mode,
            owner: (0, 0),
            mtime: None,
            xattrs: BTreeMap::new(),
            body: String::new(),
        };
        while let Some((word, quoted)) = words.next() {
            if *quoted {
                line.body.clone_from(word);
            } else if word == "->" {
                line.body.clone_from(&words.next().expect("a target").0);
            } else if let Some(time) = word.strip_prefix('@') {
                line.mtime = Some(time.parse().unwrap());
            } else if let Some((name, value)) = word.split_once('=') {
                line.xattrs.insert(name.to_owned(), value.to_owned());
            } else if let Some((uid, gid)) = word.split_once(':') {
                line.owner = (uid.parse().unwrap(), gid.parse().unwrap());
            } else {
                line.mode = u32::from_str_radix(word, 8).unwrap_or_else(|_| panic!("no mode: {text}"));
            }
        }
        line
    }

    pub(super) fn device(&self) -> (u32, u32) {
        let (major, minor) = self.body.split_once(',').expect("major,minor");
        (major.parse().unwrap(), minor.parse().unwrap())
    }

    pub(super) fn entry(&self) -> NewEntry {
        let target = self.body.clone().into_bytes();
        let kind = match self.kind {
            'd' => NewKind::Directory { opaque: false },
            'o' => NewKind::Directory { opaque: true },
            'f' => NewKind::File { size: target.len() as u64, source: FileSource::Bytes(target.into()) },
            'l' => NewKind::Symlink { target },
            'h' => NewKind::Hardlink { target },
            'p' => NewKind::Fifo,
            'w' => NewKind::Whiteout,
            'c' => NewKind::CharDevice { major: self.device().0, minor: self.device().1 },
            'b' => NewKind::BlockDevice { major: self.device().0, minor: self.device().1 },
            kind => panic!("`{kind}` cannot be in a layer"),
        };
        let xattrs = self.xattrs.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
        NewEntry {
            path: self.path.clone().into_bytes(),
            kind,
            mode: self.mode,
            uid: self.owner.0,
            gid: self.owner.1,
            mtime: if self.kind == 'w' { 0 } else { self.mtime.unwrap_or(DEFAULT_TIME) },
            xattrs: xattrs.collect(),
        }
    }

    pub(super) fn of_new(entry: &NewEntry) -> Self {
        let (kind, body) = match &entry.kind {
            NewKind::Directory { opaque: false } => ('d', String::new()),
            NewKind::Directory { opaque: true } => ('o', String::new()),
            // Bytes are compared in the merged tree.
            NewKind::File { .. } => ('f', String::new()),
            NewKind::Hardlink { target } => ('h', lossy(target)),
            NewKind::Symlink { target } => ('l', lossy(target)),
            NewKind::CharDevice { major, minor } => ('c', format!("{major},{minor}")),
            NewKind::BlockDevice { major, minor } => ('b', format!("{major},{minor}")),
            NewKind::Fifo => ('p', String::new()),
            NewKind::Whiteout => ('w', String::new()),
        };
        Self {
            kind,
            path: lossy(&entry.path),
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            mtime: Some(entry.mtime),
            xattrs: texts(&entry.xattrs),
            body,
        }
    }
}

/// The filesystem of a view as lines, bytes read from the store. The first name of a file is the file, others are hard
/// links to it.
pub(super) fn of_view(store: &Store, view: &View) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut names: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for located in view.walk(b"") {
        let entry = located.entry;
        if entry.path.is_empty() {
            continue;
        }
        let (kind, body) = match &entry.kind {
            Kind::Directory { .. } => ('d', String::new()),
            Kind::File { .. } | Kind::Hardlink { .. } => {
                let content = view.content(located).unwrap();
                let identity = (content.diff_id, content.entry.path.clone());
                if let Some(name) = names.get(&identity) {
                    ('h', lossy(name))
                } else {
                    names.insert(identity, entry.path.clone());
                    let mut bytes = Vec::new();
                    let mut file = store.open_file(&content.diff_id, &content.entry.path).unwrap();
                    file.read_to_end(&mut bytes).unwrap();
                    ('f', lossy(&bytes))
                }
            }
            Kind::Symlink { target } => ('l', lossy(target)),
            Kind::CharDevice { major, minor } => ('c', format!("{major},{minor}")),
            Kind::BlockDevice { major, minor } => ('b', format!("{major},{minor}")),
            Kind::Fifo => ('p', String::new()),
            Kind::Whiteout => panic!("a whiteout shows"),
        };
        lines.push(Line {
            kind,
            path: lossy(&entry.path),
            mode: if kind == 'l' { 0o777 } else { entry.mode },
            owner: (entry.uid, entry.gid),
            mtime: Some(entry.mtime),
            xattrs: texts(&entry.xattrs),
            body,
        });
    }
    lines
}

/// Makes the lines on disk; owners play no part there. Archives are made elsewhere.
pub(super) fn make(root: &Path, lines: &[Line]) {
    std::fs::create_dir_all(root).unwrap();
    for line in lines {
        let path = root.join(&line.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        match line.kind {
            'd' => std::fs::create_dir_all(&path).unwrap(),
            'f' => std::fs::write(&path, &line.body).unwrap(),
            'l' => symlink(&line.body, &path).unwrap(),
            'h' => std::fs::hard_link(root.join(&line.body), &path).unwrap(),
            'p' => rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0)
                .unwrap(),
            's' => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            kind => panic!("`{kind}` cannot be in a context"),
        }
        if matches!(line.kind, 'd' | 'f' | 'p' | 's') {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(line.mode)).unwrap();
        }
        for (name, value) in &line.xattrs {
            rustix::fs::setxattr(&path, name.as_str(), value.as_bytes(), rustix::fs::XattrFlags::empty())
                .unwrap();
        }
    }
    // Backwards, since making a child changes its directory's time.
    for line in lines.iter().rev().filter(|line| matches!(line.kind, 'd' | 'f')) {
        let time = rustix::fs::Timespec { tv_sec: line.mtime.unwrap_or(DEFAULT_TIME), tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, root.join(&line.path), &times, rustix::fs::AtFlags::empty())
            .unwrap();
    }
}

/// Lines as text, all fields shown.
pub(super) fn render(lines: &[Line]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let Line { kind, path, mode, owner, mtime, xattrs, body } = line;
        let _ = write!(text, "  {kind} {path} {mode:o} {}:{}", owner.0, owner.1);
        if let Some(mtime) = mtime {
            let _ = write!(text, " @{mtime}");
        }
        for (name, value) in xattrs {
            let _ = write!(text, " {name}={value}");
        }
        let _ = match kind {
            'l' | 'h' => writeln!(text, " -> {body}"),
            _ if body.is_empty() => writeln!(text),
            _ => writeln!(text, " {body:?}"),
        };
        text
    })
}

/// Splits at blanks; `"…"` is one word, with `\n`, `\"` and `\\`. Whether it was quoted.
pub(super) fn words(text: &str) -> Vec<(String, bool)> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_whitespace() {
            continue;
        }
        let mut word = String::new();
        let quoted = first == '"';
        if !quoted {
            word.push(first);
        }
        while let Some(&next) = chars.peek() {
            if quoted && next == '"' {
                chars.next();
                break;
            }
            if !quoted && next.is_whitespace() {
                break;
            }
            chars.next();
            if quoted && next == '\\' {
                match chars.next() {
                    Some('n') => word.push('\n'),
                    Some(other) => word.push(other),
                    None => {}
                }
            } else {
                word.push(next);
            }
        }
        words.push((word, quoted));
    }
    words
}

fn texts(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<String, String> {
    xattrs.iter().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

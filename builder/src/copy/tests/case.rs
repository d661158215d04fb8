//! The text of cases.

use super::super::{Owner, Request};
use super::archives::Archive;
use super::recipe::{Line, words};

/// One case: what there is, what is asked, what comes of it.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) context: Vec<Line>,
    pub(super) archives: Vec<Archive>,
    pub(super) ignore: Option<String>,
    /// Layers of what `--from` names.
    pub(super) stage: Vec<Vec<Line>>,
    /// Layers that the instruction works on.
    pub(super) base: Vec<Vec<Line>>,
    pub(super) request: Request,
    pub(super) from: bool,
    pub(super) link: bool,
    pub(super) checkout: bool,
    pub(super) inline: Vec<(String, Vec<u8>)>,
    pub(super) workdir: Option<String>,
    pub(super) result: Option<Vec<Line>>,
    pub(super) layer: Option<Vec<Line>>,
    pub(super) error: Option<String>,
}

/// All cases of a file: each begins with `=== name`; a word at the beginning of a line opens a section, indented lines
/// are in it.
pub(super) fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            section.clear();
            continue;
        }
        let case = cases.last_mut().expect("a case begins with ===");
        if let Some(line) = line.strip_prefix("  ") {
            case.add(&section, line);
        } else {
            section = case.open(line);
        }
    }
    cases
}

impl Case {
    /// Opens a section, or takes what one line says.
    fn open(&mut self, line: &str) -> String {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "base" => self.base.push(Vec::new()),
            "stage" => {
                self.stage.push(Vec::new());
                self.from = true;
            }
            "ignore" => self.ignore = Some(String::new()),
            "result" => self.result = Some(Vec::new()),
            "layer" => self.layer = Some(Vec::new()),
            "checkout" => self.checkout = true,
            "context" => {}
            "cwd" => self.request.cwd = rest.to_owned(),
            "error" => self.error = Some(rest.to_owned()),
            "time" => self.request.mtime = Some(rest.parse().unwrap()),
            "inline" => {
                let words = words(rest);
                self.inline.push((words[0].0.clone(), words[1].0.clone().into_bytes()));
            }
            "archive" => self.archives.push(Archive::parse(rest)),
            "COPY" | "ADD" | "WORKDIR" => self.instruction(word, rest),
            other => panic!("no section `{other}` in `{}`", self.name),
        }
        word.to_owned()
    }

    fn add(&mut self, section: &str, line: &str) {
        match section {
            "ignore" => {
                let text = self.ignore.get_or_insert_default();
                text.push_str(line);
                text.push('\n');
            }
            "context" | "checkout" => self.context.push(Line::parse(line)),
            "base" => self.base.last_mut().unwrap().push(Line::parse(line)),
            "archive" => self.archives.last_mut().unwrap().lines.push(Line::parse(line)),
            "stage" => self.stage.last_mut().unwrap().push(Line::parse(line)),
            "result" => self.result.get_or_insert_default().push(Line::parse(line)),
            "layer" => self.layer.get_or_insert_default().push(Line::parse(line)),
            other => panic!("`{other}` of `{}` has no lines", self.name),
        }
    }

    fn instruction(&mut self, keyword: &str, text: &str) {
        let request = &mut self.request;
        request.unpack = keyword == "ADD";
        let mut paths: Vec<String> = Vec::new();
        for (word, quoted) in words(text) {
            let (flag, value) = word.split_once('=').unwrap_or((&word, ""));
            match flag {
                _ if quoted => paths.push(word),
                "--chown" => {
                    let (uid, gid) = value.split_once(':').expect("uid:gid");
                    request.owner = Some(Owner { uid: uid.parse().unwrap(), gid: gid.parse().unwrap() });
                }
                "--chmod" => request.mode = Some(value.parse().unwrap()),
                "--parents" => request.parents = true,
                "--exclude" => request.exclude.push(value.to_owned()),
                "--link" => self.link = true,
                "--unpack" => request.unpack = value == "true",
                _ => paths.push(word),
            }
        }
        let last = paths.pop().expect("a destination");
        if keyword == "WORKDIR" {
            self.workdir = Some(last);
        } else {
            request.destination = last;
            request.sources = paths;
        }
    }
}

//! The text of a case: prose first, then sections that `=== name` opens.

use std::path::Path;

/// One case as it was written.
pub(crate) struct Case {
    /// What is shown, in a sentence or two.
    pub(crate) prose: String,
    /// In the order of the file.
    pub(crate) sections: Vec<Section>,
}

/// A section: the words after `===`, and the lines up to the next one.
pub(crate) struct Section {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Section {
    /// The lines that say something.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("# "))
    }

    /// A body of `?` asks to be filled in (`CONFORMANCE_WRITE=1`).
    pub(crate) fn is_open(&self) -> bool {
        self.body.trim() == "?"
    }
}

const HEADS: &[&str] = &[
    "Dockerfile",
    "context",
    "file",
    "http",
    "tar",
    "git",
    "base",
    "index",
    "args",
    "env",
    "change",
    "again",
    "files",
    "layer",
    "config",
    "history",
    "error",
    "differs",
];

impl Case {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut prose = String::new();
        let mut sections: Vec<Section> = Vec::new();
        for line in text.split_inclusive('\n') {
            if let Some(head) = line.strip_prefix("=== ") {
                let head = head.trim().to_owned();
                let first = head.split(' ').next().unwrap_or_default();
                if !HEADS.contains(&first) {
                    return Err(format!("no section is called `{first}`"));
                }
                sections.push(Section { head, body: String::new() });
            } else if let Some(section) = sections.last_mut() {
                section.body.push_str(line);
            } else {
                prose.push_str(line);
            }
        }
        for section in &mut sections {
            // The blank line before the next head is layout.
            while section.body.ends_with("\n\n") {
                section.body.pop();
            }
        }
        let case = Self { prose, sections };
        let expects = ["files", "layer", "config", "history", "error", "again"];
        if !expects.iter().any(|head| case.all(head).next().is_some()) {
            return Err("a case must expect something".to_owned());
        }
        Ok(case)
    }

    /// Sections whose first word is `head`.
    pub(crate) fn all(&self, head: &str) -> impl Iterator<Item = (&str, &Section)> {
        self.sections.iter().filter_map(move |section| {
            let rest = section.head.strip_prefix(head)?;
            (rest.is_empty() || rest.starts_with(' ')).then(|| (rest.trim(), section))
        })
    }

    /// The section with exactly this head.
    pub(crate) fn one(&self, head: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.head == head)
    }

    /// The file again, with the bodies that were filled in.
    pub(crate) fn print(&self) -> String {
        let mut text = self.prose.clone();
        for (index, section) in self.sections.iter().enumerate() {
            text.push_str(&format!("=== {}\n{}", section.head, section.body));
            if index + 1 < self.sections.len() {
                text.push('\n');
            }
        }
        text
    }
}

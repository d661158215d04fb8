//! One case: sections that are done in their order.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Servers;

/// Does what the case says, and compares its plans. `PLANS_WRITE=1` writes what was seen into the case instead.
pub(crate) fn check(path: &Path, servers: &Servers) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let lab = Lab { place: place.path().to_owned(), daemon_json: servers.daemon_json() };
    fs::create_dir(lab.project()).map_err(|error| error.to_string())?;
    let (prose, sections) = sections(&text);
    let mut seen = prose;
    let mut plans = 0;
    let mut wrong = Vec::new();
    for (head, body) in sections {
        let (verb, words) = head.split_once(' ').unwrap_or((&head, ""));
        let found = lab.act(verb, words, &body).map_err(|error| format!("=== {head}\n{error}"))?;
        plans += usize::from(found.is_some());
        let found = found.unwrap_or_else(|| body.clone());
        if found != body {
            wrong.push(difference(&head, &body, &found));
        }
        seen += &format!("=== {head}\n{found}");
    }
    if plans == 0 {
        return Err("a case needs a plan or an explanation".to_owned());
    }
    if std::env::var_os("PLANS_WRITE").is_some() {
        return fs::write(path, seen).map_err(|error| error.to_string());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The text before the first section, and the sections: the words after `===`, and the lines below.
fn sections(text: &str) -> (String, Vec<(String, String)>) {
    let mut prose = String::new();
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("=== "), sections.last_mut()) {
            (Some(head), _) => sections.push((head.trim().to_owned(), String::new())),
            (None, Some((_, body))) => body.push_str(line),
            (None, None) => prose.push_str(line),
        }
    }
    (prose, sections)
}

fn difference(head: &str, wanted: &str, found: &str) -> String {
    let mut text = format!("=== {head}\n");
    for line in wanted.lines().filter(|line| !found.lines().any(|other| other == *line)) {
        text += &format!("- {line}\n");
    }
    for line in found.lines().filter(|line| !wanted.lines().any(|other| other == *line)) {
        text += &format!("+ {line}\n");
    }
    text
}

struct Lab {
    place: PathBuf,
    daemon_json: PathBuf,
}

impl Lab {
    fn project(&self) -> PathBuf {
        self.place.join("project")
    }

    /// Does what a section says. Gives what its body should be, where it is an answer.
    fn act(&self, verb: &str, words: &str, body: &str) -> Result<Option<String>, String> {
        let io = |error: std::io::Error| error.to_string();
        let path = self.project().join(words.split(' ').next_back().unwrap_or_default());
        match verb {
            "Dockerfile" => fs::write(self.project().join("Dockerfile"), body).map_err(io)?,
            "write" => {
                fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(io)?;
                fs::write(&path, body).map_err(io)?;
                // Whatever the umask of who runs the tests.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(io)?;
            }
            "remove" => fs::remove_file(&path).map_err(io)?,
            "rename" => {
                let (from, to) = words.split_once(' ').ok_or("rename FROM TO")?;
                fs::rename(self.project().join(from), self.project().join(to)).map_err(io)?;
            }
            "touch" => {
                let file = fs::File::options().append(true).open(&path).map_err(io)?;
                let day = std::time::Duration::from_secs(86_400);
                file.set_modified(std::time::SystemTime::now() - day).map_err(io)?;
            }
            "chmod" => {
                let (mode, _) = words.split_once(' ').ok_or("chmod MODE PATH")?;
                let mode = u32::from_str_radix(mode, 8).map_err(|error| error.to_string())?;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(io)?;
            }
            "forget" => fs::remove_dir_all(self.place.join("store").join(words)).map_err(io)?,
            "build" => drop(self.run(&["build", "-t", "app:1"], words, true)?),
            "fail" => {
                let output = self.run(&["build", "-t", "app:1"], words, false)?;
                if output.status.success() {
                    return Err("the build should have failed".to_owned());
                }
            }
            "plan" | "plan-json" => {
                let before = self.stored();
                let format = if verb == "plan" { "text" } else { "json" };
                let output = self.run(&["plan", "--format", format], words, true)?;
                let new: Vec<String> =
                    self.stored().into_iter().filter(|file| !before.contains(file)).collect();
                if !new.is_empty() {
                    return Err(format!("the plan wrote to the store: {new:?}"));
                }
                return Ok(Some(masked(&output.stdout)));
            }
            "why" => {
                let words: Vec<&str> = std::iter::once("why").chain(words.split_whitespace()).collect();
                return Ok(Some(masked(&self.command(&words, true)?.stdout)));
            }
            "explain" => {
                let output = self.run(&["build", "--explain", "--progress=none"], words, true)?;
                return Ok(Some(masked(&output.stderr)));
            }
            other => return Err(format!("there is no section `{other}`")),
        }
        Ok(None)
    }

    /// Runs rbuild on the project.
    fn run(&self, command: &[&str], words: &str, succeeds: bool) -> Result<Output, String> {
        let words: Vec<&str> = command.iter().copied().chain(words.split_whitespace()).chain(["."]).collect();
        self.command(&words, succeeds)
    }

    fn command(&self, words: &[&str], succeeds: bool) -> Result<Output, String> {
        let mut command = Command::new(xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild")));
        command.args(words).current_dir(self.project()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &self.place);
        command.env("RBUILD_ROOT", self.place.join("store")).env("RBUILD_DAEMON_JSON", &self.daemon_json);
        let output = command.output().map_err(|error| error.to_string())?;
        if succeeds && !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(output)
    }

    /// All files of the store but locks, which come and go.
    fn stored(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut open = vec![self.place.join("store")];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "locks" {
                    open.push(entry.path());
                } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    files.push(entry.path().display().to_string());
                }
            }
        }
        // What opening a store makes is the same for every command.
        files.retain(|file| !file.ends_with("oci-layout") && !file.ends_with("index.json"));
        files
    }
}

/// The text with digests and times left out: they depend on the machine's busybox and on the clock.
fn masked(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut masked = String::with_capacity(text.len());
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        let hex = word.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        match word.len() {
            12 | 64 if hex => masked.push('…'),
            _ => masked += &word,
        }
        word.clear();
        if character != '\0' {
            masked.push(character);
        }
    }
    without_times(&masked)
}

/// `2026-11-21T13:48:13` and what follows of it become `TIME`.
fn without_times(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            shown.push(' ');
        }
        let is_time = word.len() >= 19
            && word.as_bytes()[10] == b'T'
            && word.as_bytes()[4] == b'-'
            && word.as_bytes()[13] == b':';
        if is_time {
            shown += "TIME";
            shown += word.trim_start_matches(|c: char| c.is_ascii_digit() || "-T:.Z".contains(c));
        } else {
            shown += word;
        }
    }
    shown
}

//! Pages that show commands and what they print. Each is carried out from top to bottom, and what a command prints is
//! compared: digests, times and sizes may differ, and a line `…` stands for any lines. `RBUILD_BLESS=1` writes into the
//! page what was printed.
//!
//! A block that is fenced as `console` has commands after `$ `. A block whose fence names a file after its language is
//! that file of the project. Everything else is for readers.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::lab::{Lab, binary};

/// Carries out a page. Returns how many commands it had.
#[track_caller]
pub(crate) fn run(lab: &Lab, page: &Path) -> usize {
    settings(lab);
    let text = fs::read_to_string(page).unwrap();
    let mut parts = parts(&text);
    let mut commands = 0;
    for part in &mut parts {
        match part {
            Part::Text(_) => {}
            Part::File { name, content, .. } => lab.write(name, &*content),
            Part::Command { line, shown, .. } => {
                commands += 1;
                let printed = carry_out(lab, line, shown);
                if fits(shown, &printed) {
                    continue;
                }
                let place = page.display();
                assert!(
                    std::env::var_os("RBUILD_BLESS").is_some(),
                    "{place}: `{line}` printed\n{printed}\nand not\n{shown}\n(RBUILD_BLESS=1 writes it into the page)"
                );
                *shown = printed;
            }
        }
    }
    let written: String = parts.iter().map(Part::text).collect();
    if written != text {
        fs::write(page, written).unwrap();
    }
    commands
}

/// The lab's registry under the names that pages use: `docker.io` and `registry.example`.
fn settings(lab: &Lab) {
    let rule = |prefix: &str| {
        let url = format!("http://{}", lab.registry.address());
        format!("[[registry]]\nprefix = \"{prefix}\"\nupstream = {{ url = \"{url}\" }}\n")
    };
    fs::write(lab.path("registries.toml"), rule("registry.example")).unwrap();
    let programs = lab.path("bin");
    if !programs.exists() {
        fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink(binary(), programs.join("rbuild")).unwrap();
    }
}

/// A command's output of both kinds, in the order in which it was written. Where an error is shown, it has to fail.
#[track_caller]
fn carry_out(lab: &Lab, line: &str, shown: &str) -> String {
    let Output { status, stdout, .. } = shell(lab, line).output().unwrap();
    let printed =
        String::from_utf8_lossy(&stdout).replace(&lab.directory.path().display().to_string(), "/home/me");
    let fails = shown.lines().any(|line| line.starts_with("error"));
    let blessed = std::env::var_os("RBUILD_BLESS").is_some();
    assert!(blessed || status.success() != fails, "`{line}` ended with {status}:\n{printed}");
    printed
}

fn shell(lab: &Lab, line: &str) -> Command {
    let mut command = Command::new("sh");
    let path = std::env::var("PATH").unwrap();
    command.args(["-c", &format!("exec 2>&1\n{line}")]).current_dir(lab.path("project")).env_clear();
    command.env("PATH", format!("{}:{path}", lab.path("bin").display())).env("HOME", lab.path("home"));
    command.env("RBUILD_ROOT", lab.path("home/store")).env("RBUILD_DAEMON_JSON", lab.path("daemon.json"));
    command.env("RBUILD_REGISTRIES", lab.path("registries.toml"));
    command
}

enum Part {
    /// Lines for readers.
    Text(String),
    /// A file of the project, and its fences.
    File { name: String, content: String, open: String },
    /// A command, which may go on after a backslash, and what it prints.
    Command { line: String, shown: String },
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::File { content, open, .. } => format!("{open}\n{content}```\n"),
            Self::Command { line, shown } => format!("$ {line}\n{shown}"),
        }
    }
}

fn parts(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let fence = line.strip_prefix("```").unwrap_or_default();
        match fence.split_once(' ') {
            Some((_, name)) => {
                let mut content = String::new();
                for line in lines.by_ref().take_while(|line| *line != "```") {
                    content += &format!("{line}\n");
                }
                parts.push(Part::File { name: name.to_owned(), content, open: line.to_owned() });
            }
            None => parts.push(Part::Text(format!("{line}\n"))),
        }
        if fence != "console" {
            continue;
        }
        while let Some(line) = lines.next_if(|line| *line != "```") {
            let mut line = line.strip_prefix("$ ").expect("a block begins with a command").to_owned();
            while line.ends_with('\\') {
                line += &format!("\n{}", lines.next().expect("a command goes on"));
            }
            let mut shown = String::new();
            while let Some(line) = lines.next_if(|line| *line != "```" && !line.starts_with("$ ")) {
                shown += &format!("{line}\n");
            }
            parts.push(Part::Command { line, shown });
        }
    }
    parts
}

/// Whether what is shown is what was printed, but for what differs from time to time.
fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (lines(shown), lines(printed));
    matches(&shown, &printed)
}

fn matches(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        (Some((one, shown)), Some((other, printed))) => one == other && matches(shown, printed),
        _ => false,
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| ages(line.split_whitespace().map(settled).collect()).join(" ")).collect()
}

/// The words of a line with `5 seconds ago` and the like as one.
fn ages(mut words: Vec<String>) -> Vec<String> {
    while let Some(end) = words.iter().position(|word| word == "ago") {
        let first =
            |word: &String| word == "Less" || word == "About" || word.bytes().all(|b| b.is_ascii_digit());
        let begin = words[..end].iter().rposition(first).unwrap_or(end);
        words.splice(begin..=end, ["[ago]".to_owned()]);
    }
    words
}

/// A word without what differs from time to time.
fn settled(word: &str) -> String {
    if word.contains("127.0.0.1:") {
        return "[address]".to_owned();
    }
    if word.contains("/logs/") {
        return "[log]".to_owned();
    }
    let core = word.trim_matches(|c: char| "(),:;…".contains(c));
    let hexadecimal = core.rsplit([':', '@']).next().unwrap_or_default();
    if hexadecimal.len() >= 12 && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "[digest]".to_owned();
    }
    let number = core.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%' || c == '/');
    let unit = &core[number.len()..];
    if !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit() || ".:-TZ_".contains(c))
        && (["s", "ms", "B", "kB", "MB", "GB", "%", "kB/s", "MB/s"].contains(&unit) || number.len() > 4)
    {
        return "[number]".to_owned();
    }
    word.to_owned()
}

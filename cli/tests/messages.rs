//! Every message of the project has one form: what went wrong, in one sentence without a full stop, beginning in lower case
//! unless with a name, names in backquotes, in plain words.

use std::fs;
use std::path::Path;

use walkdir::WalkDir;

/// In front of the text of a message.
const MARKS: [&str; 18] = [
    "#[error(",
    "Failure::new(",
    "Fault::new(",
    "Failure::usage(",
    ".hint(",
    ".note(",
    "Error::invalid(",
    "Error::invalid_but(",
    "Diagnostic::error(",
    ".with_help(",
    ".help(",
    "Event::Warning { message: ",
    "message: format!(",
    "reason: format!(",
    "message: \"",
    "reason: \"",
    "bail!(",
    "anyhow!(",
];

/// Words that say nothing, or that people say otherwise.
const AVOIDED: [&str; 11] = [
    "failed to",
    "unable to",
    "could not",
    "couldn't",
    "can't",
    "won't",
    "oops",
    "sorry",
    "please ",
    "successfully",
    "\u{2014}",
];

/// Names that stand at the beginning of a sentence without backquotes.
const NAMES: [&str; 12] =
    ["CMD", "COPY", "Docker", "HTTP", "JSON", "OCI", "ONBUILD", "RUN", "SARIF", "SSH", "TLS", "Windows"];

/// What is wrong with the form of a message, if something is.
fn fault(message: &str) -> Option<&'static str> {
    let text = message.trim();
    let first = text.split([' ', ',', ':']).next().unwrap_or_default();
    let begins = text.chars().next()?;
    let lower = text.to_lowercase();
    if text != message {
        return Some("space around it");
    }
    if text.ends_with(['.', '!']) && !text.ends_with("...") {
        return Some("it ends as a sentence of prose");
    }
    if begins.is_uppercase() && !NAMES.contains(&first) && !is_keyword(first) {
        return Some("it begins with a capital");
    }
    if lower.starts_with("error") {
        return Some("the word that stands in front of it");
    }
    if AVOIDED.iter().any(|word| lower.contains(word)) && !text.ends_with("; please report it") {
        return Some("a word that is avoided");
    }
    if text.contains("'{") || text.contains("\"{") {
        return Some("a name in quotes that are not backquotes");
    }
    if text.matches('`').count() % 2 == 1 {
        return Some("a backquote that is not closed");
    }
    if text
        .as_bytes()
        .windows(3)
        .any(|window| window[0] == b'.' && window[1] == b' ' && window[2].is_ascii_uppercase())
    {
        return Some("two sentences");
    }
    if text.contains("  ") || text.contains('\n') {
        return Some("more than one line, or two spaces");
    }
    None
}

/// Instructions, and variables of the environment.
fn is_keyword(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The messages of a source file with their lines. Tests at its end are left out.
fn messages(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found = Vec::new();
    for mark in MARKS {
        for (at, _) in source.match_indices(mark) {
            let line_start = source[..at].rfind('\n').map_or(0, |end| end + 1);
            if source[line_start..at].trim_start().starts_with("//") {
                continue;
            }
            let from = at + mark.len() - usize::from(mark.ends_with('"'));
            let line = source[..at].matches('\n').count() + 1;
            found.extend(literal(&source[from..]).map(|text| (line, text)));
        }
    }
    found
}

/// The string with which an argument list goes on: at once, or inside a `format!` or `Some` of the first two arguments.
fn literal(text: &str) -> Option<String> {
    let end = text.find(['"', ';', '{', '|']).filter(|at| text[*at..].starts_with('"'))?;
    let before = &text[..end];
    // What comes later is another message, or none.
    if before.len() > 120 || before.matches(',').count() > 1 || before.ends_with("r#") {
        return None;
    }
    let mut message = String::new();
    let mut characters = text[end + 1..].chars().peekable();
    loop {
        match characters.next()? {
            '"' => return Some(message),
            '\\' => match characters.next()? {
                '\n' => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => message.push('\n'),
                other => message.push(other),
            },
            other => message.push(other),
        }
    }
}

#[test]
fn every_message_has_the_form() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut count, mut faults) = (0, Vec::new());
    for part in ["layer-store", "registry-client", "builder", "cli"] {
        for entry in WalkDir::new(root.join(part).join("src")) {
            let entry = entry.unwrap();
            let path = entry.path();
            if path.extension().is_none_or(|kind| kind != "rs") || path.ends_with("tests.rs") {
                continue;
            }
            for (line, message) in messages(&fs::read_to_string(path).unwrap()) {
                count += 1;
                if let Some(fault) = fault(&message) {
                    let place = path.strip_prefix(&root).unwrap().display();
                    faults.push(format!("{place}:{line}: {fault}: {message:?}"));
                }
            }
        }
    }
    assert!(count > 300, "only {count} messages were found");
    assert!(faults.is_empty(), "{} of {count} messages:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn faults_are_seen() {
    for (message, fine) in [
        ("cannot read `{path}`", true),
        ("`{name}` is not here", true),
        ("RUN is not possible here", true),
        ("error: cannot read", false),
        ("Cannot read", false),
        ("cannot read.", false),
        ("failed to read `{path}`", false),
        ("cannot read '{path}'", false),
        ("cannot read `{path}", false),
        ("it is gone. Try again", false),
        ("it is  gone", false),
    ] {
        assert_eq!(fault(message).is_none(), fine, "{message}");
    }
    let source = "fn f() {\n    Failure::new(format!(\n        \"one \\\n         {x}\"\n    )).hint(\"two\")\n}\n// Failure::new(\"three\")\n";
    assert_eq!(messages(source), [(2, "one {x}".to_owned()), (5, "two".to_owned())]);
}

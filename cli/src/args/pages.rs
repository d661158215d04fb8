//! What pages of the documentation say of the command line is what the command line is.

use std::fs;
use std::path::Path;

use super::definition;

const PAGES: [&str; 5] = ["bake.md", "cli.md", "from-buildah.md", "from-docker.md", "from-kaniko.md"];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

/// The texts between backquotes, and the lines of consoles.
fn code(page: &str) -> Vec<String> {
    let spans = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let lines = page.lines().filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("+ ")));
    let lines = lines.map(|line| line.split(" #").next().unwrap_or(line));
    spans.chain(lines).map(|text| text.trim().replace("\\|", "|")).collect()
}

/// What is wrong with `rbuild COMMAND --flag`, if something is.
fn mistake(line: &str) -> Option<String> {
    let mut definition = definition();
    // So that global options are seen everywhere.
    definition.build();
    let words = line.split('|').next()?.split_whitespace().skip(1);
    let mut command = &definition;
    for word in words {
        if let Some(flag) = word.strip_prefix("--") {
            let name = flag.split(['=', '`', ']']).next()?;
            let known = command.get_arguments().any(|arg| {
                arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
            });
            if !known && name != "help" {
                return Some(format!("`{}` has no `--{name}`", command.get_name()));
            }
        } else if command.has_subcommands() && word.starts_with(|one: char| one.is_ascii_lowercase()) {
            match command.find_subcommand(word) {
                Some(found) => command = found,
                None => return Some(format!("`{}` has no command `{word}`", command.get_name())),
            }
        }
    }
    None
}

#[test]
fn commands_in_pages_are_there() {
    let mut seen = 0;
    for name in PAGES {
        for text in code(&page(name)).iter().filter(|text| text.starts_with("rbuild ")) {
            // A build may leave its command out, and some names are patterns.
            let bare = text.starts_with("rbuild -") || text.contains(['[', '…']) || text.contains("COMMAND");
            if !bare {
                seen += 1;
                assert_eq!(mistake(text), None, "{name}: `{text}`");
            }
        }
    }
    assert!(seen > 80, "{seen}");
    assert!(mistake("rbuild build --nope").is_some() && mistake("rbuild nope").is_some());
}

//! Finds the command of a command line that may leave it out: `rbuild -t app:1.0 .` is a build.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Options of the whole program that take a value.
const VALUED: [&str; 6] = ["--root", "--resolve", "--cacert", "--cert", "--key", "--insecure"];

/// The words with `build` put in where no command stands. A lone word that is nearly a command and not a directory is
/// a mistake, with the command that was meant.
pub(super) fn with_command(
    mut words: Vec<OsString>,
    definition: &clap::Command,
) -> Result<Vec<OsString>, String> {
    let program = words.first().map(Path::new).and_then(Path::file_name);
    if program == Some(OsStr::new("executor")) {
        // Where it takes the place of kaniko's program, its words are kaniko's.
        words.insert(1, "kaniko".into());
        return Ok(words);
    }
    let mut at = 1;
    // Options of the whole program may stand in front of the command.
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        match word {
            "--debug" | "-D" => at += 1,
            _ if VALUED.contains(&word) => at += 2,
            _ if word.split_once('=').is_some_and(|(name, _)| VALUED.contains(&name)) => at += 1,
            _ => break,
        }
    }
    let Some(word) = words.get(at) else { return Ok(words) };
    if ["-h", "--help", "-V", "--version"].iter().any(|flag| word == flag) {
        return Ok(words);
    }
    if word == "help" {
        // `rbuild help build` is `rbuild build --help`.
        words.remove(at);
        words.push("--help".into());
        return Ok(words);
    }
    let known = names(definition);
    if known.iter().any(|name| word == OsStr::new(name)) {
        return Ok(words);
    }
    // What the help does not show is not suggested either.
    let shown: Vec<String> = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect();
    if let Some(meant) = nearly(word, &shown) {
        return Err(format!(
            "there is no command `{}`, and no directory of that name; did you mean `{meant}`?",
            word.display()
        ));
    }
    words.insert(at, "build".into());
    Ok(words)
}

fn names(definition: &clap::Command) -> Vec<String> {
    definition
        .get_subcommands()
        .flat_map(|command| std::iter::once(command.get_name()).chain(command.get_all_aliases()))
        .map(str::to_owned)
        .collect()
}

/// The command that a word was probably meant to be.
fn nearly<'a>(word: &OsStr, known: &'a [String]) -> Option<&'a str> {
    let text = word.to_str()?;
    let plain = text.len() > 2 && text.chars().all(|c| c.is_ascii_lowercase());
    if !plain || Path::new(word).exists() {
        return None;
    }
    let (distance, name) = known.iter().map(|name| (distance(text, name), name)).min()?;
    (distance <= 2 && distance < text.len().min(name.len()) / 2 + 1).then_some(name)
}

/// How many letters have to be put in, left out, replaced or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for row in 0..=one.len() {
        for column in 0..=other.len() {
            table[row][column] = if row == 0 || column == 0 {
                row + column
            } else {
                let same = usize::from(one[row - 1] != other[column - 1]);
                let mut least = (table[row - 1][column - 1] + same)
                    .min(table[row - 1][column] + 1)
                    .min(table[row][column - 1] + 1);
                let swapped = row > 1
                    && column > 1
                    && one[row - 1] == other[column - 2]
                    && one[row - 2] == other[column - 1];
                if swapped {
                    least = least.min(table[row - 2][column - 2] + 1);
                }
                least
            };
        }
    }
    table[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        for (one, other, wanted) in
            [("", "", 0), ("imags", "images", 1), ("psuh", "push", 1), ("pull", "push", 2)]
        {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }
}

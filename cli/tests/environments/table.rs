//! The table of `docs/isolation.md`.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;

use crate::place::Found;

/// A row: where, and how it went there.
pub(crate) struct Row {
    pub(crate) name: String,
    cells: [String; 4],
    time: Option<f64>,
}

const HEADER: &str =
    "| environment | rung | less than the rung can be | image | `RUN true` |\n|---|---|---|---|---|\n";
const TITLE: &str = "\n## One Dockerfile everywhere\n";

impl Row {
    pub(crate) fn new(name: &str, what: &str, found: &Found) -> Self {
        let rung = match (&found.rung, found.id_map.as_deref()) {
            (Some(rung), Some("identity" | "newuidmap")) => {
                format!("{rung} ({})", found.id_map.as_deref().unwrap_or_default())
            }
            (Some(rung), _) => rung.clone(),
            (None, _) => "none".to_owned(),
        };
        let less =
            if found.degradations.is_empty() { "nothing".to_owned() } else { found.degradations.join(", ") };
        let (less, image) = match found.rung {
            Some(_) => (less, "the same".to_owned()),
            None => (String::new(), "RUN is refused with the reason; without RUN the same".to_owned()),
        };
        Self { name: name.to_owned(), cells: [what.to_owned(), rung, less, image], time: found.run_true }
    }

    /// The row without the time, which differs from run to run.
    fn text(&self) -> String {
        format!("| {} |", self.cells.join(" | "))
    }
}

fn manual() -> PathBuf {
    xtask::repository().join("docs/isolation.md")
}

/// The manual has the row.
pub(crate) fn compare(row: &Row) -> Result<(), Failed> {
    let manual = fs::read_to_string(manual())?;
    if manual.contains(&row.text()) {
        return Ok(());
    }
    Err(format!("docs/isolation.md lacks the row (`cargo xtask isolation` writes it)\n{}", row.text()).into())
}

/// Writes the rows, with their times, in the place of the table that is there.
pub(crate) fn write(rows: &[Row]) -> std::io::Result<()> {
    let manual_text = fs::read_to_string(manual())?;
    let missing = || std::io::Error::other("docs/isolation.md has no section for the table");
    let section = manual_text.find(TITLE).ok_or_else(missing)?;
    let begin = section + manual_text[section..].find("\n| ").ok_or_else(missing)? + 1;
    let end = manual_text[begin..].find("\n\n").map_or(manual_text.len(), |at| begin + at + 1);
    let mut table = HEADER.to_owned();
    for row in rows {
        let time = match (row.cells[1].as_str(), row.time) {
            ("none", _) | (_, None) => String::new(),
            (_, Some(time)) => format!("{time:.0} ms"),
        };
        table += &format!("{} {time} |\n", row.text());
    }
    fs::write(manual(), format!("{}{table}{}", &manual_text[..begin], &manual_text[end..]))
}

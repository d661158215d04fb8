//! The builds that the store remembers: their logs, and what came of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::progress::Journal;

/// A build of the past, or one that is running.
pub(crate) struct Build {
    /// The name of its log: the time at which it began, and its process.
    pub(crate) id: String,
    /// Its log.
    pub(crate) log: PathBuf,
    /// What came of it; `None` while it runs, and for ever where it was killed.
    pub(crate) journal: Option<Journal>,
}

/// All builds, the newest first.
pub(crate) fn all(root: &Path) -> Vec<Build> {
    let entries = fs::read_dir(root.join("logs")).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    // Names begin with the time.
    logs.sort_by(|one, other| other.cmp(one));
    logs.into_iter()
        .map(|log| {
            let id = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Build { journal: Journal::read(&log), id, log }
        })
        .collect()
}

/// The build of an id or the beginning of one; without an id the newest.
pub(crate) fn find(root: &Path, id: Option<&str>) -> Result<Build> {
    let builds = all(root);
    let Some(id) = id else {
        let newest = builds.into_iter().next();
        return newest.ok_or_else(|| Failure::new("nothing was built in this store yet"));
    };
    let mut found = builds.into_iter().filter(|build| build.id.starts_with(id));
    let first = found.next().ok_or_else(|| {
        Failure::new(format!("there is no build `{id}`")).hint("`rbuild history` lists the builds")
    })?;
    // A whole id names one build, whatever begins with it.
    if first.id != id && found.next().is_some() {
        return Err(Failure::new(format!("`{id}` is the beginning of several builds"))
            .hint("`rbuild history` lists the builds"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_found_by_the_beginning_of_its_id() {
        let root = tempfile::tempdir().unwrap();
        assert!(find(root.path(), None).is_err());
        fs::create_dir(root.path().join("logs")).unwrap();
        for name in ["20260101T0-1.log", "20260102T0-1.log", "20260102T0-1.json", "20260102T0-2.log"] {
            fs::write(root.path().join("logs").join(name), "").unwrap();
        }
        let id =
            |text: Option<&str>| find(root.path(), text).map(|build| build.id).map_err(|e| e.to_string());
        assert_eq!(id(None).unwrap(), "20260102T0-2");
        assert_eq!(id(Some("20260101")).unwrap(), "20260101T0-1");
        assert!(id(Some("20260102")).unwrap_err().contains("several"));
        assert!(id(Some("x")).unwrap_err().contains("no build"));
    }
}

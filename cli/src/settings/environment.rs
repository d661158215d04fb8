//! The environment of the process, read once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::progress::Ci;

/// Environment variables and who the user is.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: HashMap<OsString, OsString>,
    /// Whether the process runs as uid 0.
    pub(crate) root_user: bool,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect(), root_user: rustix::process::geteuid().is_root() }
    }

    /// An environment for tests.
    #[cfg(test)]
    pub(crate) fn fake(root_user: bool, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, root_user }
    }

    /// The same environment with a variable that it does not have: one that is set, even to nothing, stays.
    pub(crate) fn with_default(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.entry(name.into()).or_insert_with(|| value.into());
        self
    }

    /// A variable that is set, not empty, and UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.variables
            .get(&OsString::from(name))
            .and_then(|value| value.to_str())
            .filter(|value| !value.is_empty())
    }

    /// A variable's exact value, set and UTF-8, empty or not: what `--build-arg NAME` passes on.
    pub(crate) fn exact(&self, name: &str) -> Option<&str> {
        self.variables.get(&OsString::from(name)).and_then(|value| value.to_str())
    }

    /// The service in whose log this is read.
    pub(crate) fn ci(&self) -> Ci {
        Ci::of(|name| self.text(name) == Some("true"))
    }

    /// A file of the working directory as the repository of a GitHub job calls it.
    pub(crate) fn in_repository(&self, file: &str) -> String {
        let here = std::env::current_dir().unwrap_or_default().join(file);
        let top = self.path("GITHUB_WORKSPACE");
        let inside = top.and_then(|top| here.strip_prefix(top).ok().map(|path| path.display().to_string()));
        inside.unwrap_or_else(|| file.to_owned())
    }

    /// A variable that names a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The home directory.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// Where a user's settings are: `$XDG_CONFIG_HOME`, else `~/.config`.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        self.path("XDG_CONFIG_HOME").or_else(|| Some(self.home()?.join(".config")))
    }

    /// The directories of `PATH`.
    pub(crate) fn program_directories(&self) -> Vec<PathBuf> {
        let path = self.variables.get(&OsString::from("PATH"));
        path.map(|path| std::env::split_paths(path).filter(|one| one.is_absolute()).collect())
            .unwrap_or_default()
    }
}

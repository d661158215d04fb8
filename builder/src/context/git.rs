//! Git repositories as sources of ADD and as contexts. The `git` of this machine does the work, with no hooks, no
//! system configuration of filters from the repository and no prompts.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use layer_store::Digest;
use layer_store::digest::Hasher;
use tokio::process::Command;

/// A repository, what of it, and at which version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitSource {
    /// What `git fetch` takes.
    pub remote: String,
    /// Branch, tag or commit; `None` for the default branch.
    pub reference: Option<String>,
    /// The directory that is taken; empty for all.
    pub subdirectory: String,
    /// Whether `.git` comes along.
    pub keep_git_dir: bool,
    /// What the commit has to begin with.
    pub checksum: Option<String>,
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// `git` cannot be run.
    #[error("cannot run `git`")]
    Program(#[source] io::Error),
    /// `git` failed.
    #[error("`git {action}` of `{remote}` failed: {message}")]
    Failed {
        /// The subcommand.
        action: &'static str,
        /// The repository.
        remote: String,
        /// The last line that it wrote.
        message: String,
    },
    /// There is no such version.
    #[error("`{remote}` has no branch, tag or commit `{reference}`")]
    NoReference {
        /// The repository.
        remote: String,
        /// As asked for.
        reference: String,
    },
    /// The commit is another than the one that was expected.
    #[error("`{remote}` is at commit {actual}, but `--checksum` says {expected}")]
    Checksum {
        /// The repository.
        remote: String,
        /// As written.
        expected: String,
        /// The commit.
        actual: String,
    },
    /// The address has a part that means nothing.
    #[error("`{address}`: {reason}")]
    Address {
        /// As written.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl GitSource {
    /// Reads a git address: `https://host/path.git`, `git@host:path`, `git://…`, `ssh://…`, each with
    /// `#reference:subdirectory` or `?ref=…&subdir=…`. `None` if it is no git address.
    ///
    /// # Errors
    ///
    /// A query with a name that is not known.
    pub fn parse(address: &str) -> Option<Result<Self, GitError>> {
        let (rest, fragment) =
            address.split_once('#').map_or((address, None), |(rest, fragment)| (rest, Some(fragment)));
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let http = path.starts_with("http://") || path.starts_with("https://");
        let scp = path.split_once(':').is_some_and(|(host, _)| {
            host.split_once('@')
                .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('/'))
        });
        let is_git = (http && path.ends_with(".git"))
            || path.starts_with("git://")
            || path.starts_with("ssh://")
            || (scp && !path.contains("://"));
        let github = path.starts_with("github.com/");
        if !is_git && !github {
            return None;
        }
        let remote = if github { format!("https://{path}") } else { path.to_owned() };
        let mut source = Self {
            remote,
            reference: None,
            subdirectory: String::new(),
            keep_git_dir: false,
            checksum: None,
        };
        if let Some(fragment) = fragment {
            let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
            source.reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
            subdirectory.trim_matches('/').clone_into(&mut source.subdirectory);
        }
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "ref" | "tag" | "branch" | "commit" => source.reference = Some(value.to_owned()),
                "subdir" => value.trim_matches('/').clone_into(&mut source.subdirectory),
                "checksum" => source.checksum = Some(value.to_owned()),
                "keep-git-dir" => source.keep_git_dir = matches!(value, "" | "1" | "true"),
                "submodules" => {}
                _ => {
                    return Some(Err(GitError::Address {
                        address: address.to_owned(),
                        reason: format!("`{name}` is not known in the query of a git address"),
                    }));
                }
            }
        }
        Some(Ok(source))
    }

    /// The commit that is meant, where nobody has to be asked: the reference is a whole one.
    pub(crate) fn pinned(&self) -> Option<&str> {
        let fits =
            |commit: &&str| self.checksum.as_ref().is_none_or(|begin| commit.starts_with(begin.as_str()));
        self.reference.as_deref().filter(|reference| is_commit(reference)).filter(fits)
    }

    /// The commit that is meant. Asks the repository, unless the reference is a whole commit already.
    pub async fn commit(&self) -> Result<String, GitError> {
        let reference = self.reference.as_deref().unwrap_or("HEAD");
        let commit = if is_commit(reference) {
            reference.to_owned()
        } else {
            let output = self.git(None, "ls-remote", &["ls-remote", "--", &self.remote]).await?;
            let wanted = [
                format!("refs/tags/{reference}^{{}}"),
                format!("refs/heads/{reference}"),
                format!("refs/tags/{reference}"),
                reference.to_owned(),
            ];
            let lines: Vec<(&str, &str)> = output.lines().filter_map(|line| line.split_once('\t')).collect();
            let found = wanted.iter().find_map(|name| lines.iter().find(|(_, known)| known == name));
            found.map(|(commit, _)| (*commit).to_owned()).ok_or_else(|| GitError::NoReference {
                remote: self.remote.clone(),
                reference: reference.to_owned(),
            })?
        };
        match &self.checksum {
            Some(expected) if !commit.starts_with(expected.as_str()) => Err(GitError::Checksum {
                remote: self.remote.clone(),
                expected: expected.clone(),
                actual: commit,
            }),
            _ => Ok(commit),
        }
    }

    /// What stands for the files of that commit in a key.
    #[must_use]
    pub fn key(&self, commit: &str) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("git").field(&self.remote).field(commit).field(&self.subdirectory);
        hasher.field([u8::from(self.keep_git_dir)]);
        hasher.finish()
    }

    /// Puts the files of `commit` below `directory` (empty, existing) and says where they are.
    pub async fn checkout(&self, commit: &str, directory: &Path) -> Result<PathBuf, GitError> {
        let at = Some(directory);
        self.git(at, "init", &["init", "-q", "."]).await?;
        self.git(at, "remote", &["remote", "add", "origin", &self.remote]).await?;
        let shallow = self.git(at, "fetch", &["fetch", "-q", "--depth", "1", "origin", commit]).await;
        if shallow.is_err() {
            // Servers may refuse single commits; then everything comes.
            self.git(
                at,
                "fetch",
                &["fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"],
            )
            .await?;
        }
        self.git(at, "checkout", &["checkout", "-q", "--detach", commit]).await?;
        self.git(at, "submodule", &["submodule", "-q", "update", "--init", "--recursive", "--depth", "1"])
            .await?;
        if !self.keep_git_dir {
            let hidden = directory.join(".git");
            std::fs::remove_dir_all(&hidden).map_err(GitError::Program)?;
        }
        Ok(directory.to_owned())
    }

    async fn git(
        &self,
        directory: Option<&Path>,
        action: &'static str,
        arguments: &[&str],
    ) -> Result<String, GitError> {
        let mut command = Command::new("git");
        command
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "protocol.ext.allow=never",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(["-c", "advice.detachedHead=false", "-c", "core.symlinks=true"])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let output = command.output().await.map_err(GitError::Program)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let message =
            errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned();
        Err(GitError::Failed { action, remote: self.remote.clone(), message })
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("https://example.org/a.git", "https://example.org/a.git", None, ""),
            ("https://example.org/a.git#main", "https://example.org/a.git", Some("main"), ""),
            ("https://example.org/a.git#v1:sub/dir", "https://example.org/a.git", Some("v1"), "sub/dir"),
            ("https://example.org/a.git#:sub", "https://example.org/a.git", None, "sub"),
            ("https://example.org/a.git?ref=v1&subdir=x", "https://example.org/a.git", Some("v1"), "x"),
            ("git@example.org:team/a.git", "git@example.org:team/a.git", None, ""),
            ("git://example.org/a", "git://example.org/a", None, ""),
            ("ssh://git@example.org/a", "ssh://git@example.org/a", None, ""),
            ("github.com/team/a", "https://github.com/team/a", None, ""),
        ];
        for (address, remote, reference, subdirectory) in cases {
            let source = GitSource::parse(address).unwrap().unwrap();
            assert_eq!(source.remote, remote, "{address}");
            assert_eq!(source.reference.as_deref(), reference, "{address}");
            assert_eq!(source.subdirectory, subdirectory, "{address}");
        }
        for address in ["https://example.org/a.tar.gz", "https://example.org/a", "file", "a/b.git", "a:b"] {
            assert!(GitSource::parse(address).is_none(), "{address}");
        }
        assert!(GitSource::parse("https://example.org/a.git?nope=1").unwrap().is_err());
    }
}

//! Git repositories as sources of ADD and as contexts. The `git` of this machine does the work, with no hooks, no
//! system configuration of filters from the repository and no prompts.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use layer_store::Digest;
use layer_store::digest::Hasher;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tokio::process::Command;

use super::authorization::Authorization;
use crate::dockerfile::nearest;
use crate::dockerfile::values::parse_bool;

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
    /// Whether the repositories that it is made of come along; they do unless told otherwise.
    pub submodules: bool,
    /// Whether files have the time of their commit, and not that of the checkout.
    pub commit_times: bool,
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
        /// The branch or tag that was probably meant.
        nearest: Option<String>,
    },
    /// The commit is another than the one that was expected.
    #[error("`{remote}` is at commit {actual}, but the checksum says {expected}")]
    Checksum {
        /// The repository.
        remote: String,
        /// As written.
        expected: String,
        /// The commit.
        actual: String,
    },
    /// The directory is not in it.
    #[error("`{remote}` has no directory `{directory}` at commit {commit}")]
    NoDirectory {
        /// The repository.
        remote: String,
        /// As asked for.
        directory: String,
        /// Where it was looked for.
        commit: String,
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
        Self::try_parse(address).transpose()
    }

    fn try_parse(address: &str) -> Result<Option<Self>, GitError> {
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
            return Ok(None);
        }
        let remote = if github { format!("https://{path}") } else { path.to_owned() };
        let mut source = Self {
            remote,
            reference: None,
            subdirectory: String::new(),
            keep_git_dir: false,
            checksum: None,
            submodules: true,
            commit_times: false,
        };
        if let Some(fragment) = fragment {
            let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
            source.reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
            subdirectory.trim_matches('/').clone_into(&mut source.subdirectory);
        }
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = |reason: String| GitError::Address { address: address.to_owned(), reason };
            let flag = || match value {
                "" => Ok(true),
                text => parse_bool(text).ok_or_else(|| wrong(format!("`{name}={text}` is no boolean"))),
            };
            let below = |prefix: &str| match value.starts_with(prefix) {
                true => value.to_owned(),
                false => format!("{prefix}{value}"),
            };
            let reference = match name {
                "ref" => Some(value.to_owned()),
                "tag" => Some(below("refs/tags/")),
                "branch" => Some(below("refs/heads/")),
                _ => None,
            };
            if let Some(reference) = reference {
                if let Some(other) = source.reference.as_ref().filter(|other| **other != reference) {
                    return Err(wrong(format!("it asks for `{other}` and for `{reference}`")));
                }
                source.reference = Some(reference);
                continue;
            }
            match name {
                "subdir" => {
                    let subdirectory = value.trim_matches('/');
                    if !source.subdirectory.is_empty() && source.subdirectory != subdirectory {
                        let other = &source.subdirectory;
                        return Err(wrong(format!(
                            "it asks for the directory `{other}` and for `{subdirectory}`"
                        )));
                    }
                    subdirectory.clone_into(&mut source.subdirectory);
                }
                "checksum" | "commit" => source.checksum = Some(value.to_owned()),
                "keep-git-dir" => source.keep_git_dir = flag()?,
                "submodules" => source.submodules = flag()?,
                "mtime" => {
                    source.commit_times = match value {
                        "checkout" => false,
                        "commit" => true,
                        _ => return Err(wrong(format!("`mtime={value}` is neither checkout nor commit"))),
                    }
                }
                // Every commit is fetched by its name, where the server allows it.
                "fetch-by-commit" => _ = flag()?,
                _ => {
                    let known = nearest(name, QUERY);
                    let meant = known.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
                    return Err(wrong(format!("`{name}` is not known in the query of a git address{meant}")));
                }
            }
        }
        // A commit alone says which version.
        if source.reference.is_none() && source.checksum.as_deref().is_some_and(is_commit) {
            source.reference.clone_from(&source.checksum);
        }
        Ok(Some(source))
    }

    /// The commit that is meant, where nobody has to be asked: the reference is a whole one.
    pub(crate) fn pinned(&self) -> Option<&str> {
        let fits =
            |commit: &&str| self.checksum.as_ref().is_none_or(|begin| commit.starts_with(begin.as_str()));
        self.reference.as_deref().filter(|reference| is_commit(reference)).filter(fits)
    }

    /// The commit that is meant. Asks the repository, as `authorization` says where there is one, unless the reference is a
    /// whole commit already.
    pub async fn commit(&self, authorization: Option<&Authorization>) -> Result<String, GitError> {
        let reference = self.reference.as_deref().unwrap_or("HEAD");
        let commit = if is_commit(reference) {
            reference.to_owned()
        } else {
            let output = self
                .program(None, authorization)
                .run("ls-remote", &["ls-remote", "--", &self.remote])
                .await?;
            let wanted = [
                format!("{reference}^{{}}"),
                format!("refs/tags/{reference}^{{}}"),
                format!("refs/heads/{reference}"),
                format!("refs/tags/{reference}"),
                format!("refs/{reference}"),
                reference.to_owned(),
            ];
            let lines: Vec<(&str, &str)> = output.lines().filter_map(|line| line.split_once('\t')).collect();
            let found = wanted.iter().find_map(|name| lines.iter().find(|(_, known)| known == name));
            found.map(|(commit, _)| (*commit).to_owned()).ok_or_else(|| {
                let short = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
                let names: Vec<String> = lines.iter().map(|(_, name)| short(name)).collect();
                GitError::NoReference {
                    remote: self.remote.clone(),
                    reference: reference.to_owned(),
                    nearest: nearest(&short(reference), names.iter().map(String::as_str)).map(str::to_owned),
                }
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
        hasher.field([self.keep_git_dir, self.submodules, self.commit_times].map(u8::from));
        hasher.finish()
    }

    /// Puts the files of `commit` below `directory` (empty, existing) and says where they are.
    pub async fn checkout(
        &self,
        commit: &str,
        directory: &Path,
        authorization: Option<&Authorization>,
    ) -> Result<PathBuf, GitError> {
        let git = self.program(Some(directory), authorization);
        git.bring(commit).await?;
        git.run("checkout", &["checkout", "-q", "--detach", commit]).await?;
        if self.submodules {
            let update = ["submodule", "-q", "update", "--init", "--recursive"];
            let shallow = git.run("submodule", &[&update[..], &["--depth", "1"]].concat()).await;
            if shallow.is_err() {
                git.run("submodule", &update).await?;
            }
        }
        if self.commit_times {
            set_times(directory, git.time(commit).await?).map_err(GitError::Program)?;
        }
        if !self.subdirectory.is_empty() && !directory.join(&self.subdirectory).is_dir() {
            return Err(GitError::NoDirectory {
                remote: self.remote.clone(),
                directory: self.subdirectory.clone(),
                commit: commit.to_owned(),
            });
        }
        if !self.keep_git_dir {
            let hidden = directory.join(".git");
            std::fs::remove_dir_all(&hidden).map_err(GitError::Program)?;
        }
        Ok(directory.to_owned())
    }

    /// When `commit` was made, in seconds since 1970. Fetches the commit with its files: without them git would ask for
    /// each that it looks for, and servers that only have files would be asked without end.
    pub(crate) async fn commit_time(
        &self,
        commit: &str,
        authorization: Option<&Authorization>,
    ) -> Result<i64, GitError> {
        let place = tempfile::tempdir().map_err(GitError::Program)?;
        let git = self.program(Some(place.path()), authorization);
        git.bring(commit).await?;
        git.time(commit).await
    }

    fn program<'a>(
        &'a self,
        directory: Option<&'a Path>,
        authorization: Option<&'a Authorization>,
    ) -> Program<'a> {
        Program { remote: &self.remote, directory, authorization }
    }
}

/// The `git` of this machine, in a directory.
struct Program<'a> {
    remote: &'a str,
    directory: Option<&'a Path>,
    authorization: Option<&'a Authorization>,
}

impl Program<'_> {
    /// Makes a repository in the directory (empty, existing) that has `commit`.
    async fn bring(&self, commit: &str) -> Result<(), GitError> {
        self.run("init", &["init", "-q", "."]).await?;
        self.run("remote", &["remote", "add", "origin", self.remote]).await?;
        let one = ["fetch", "-q", "--depth", "1", "origin", commit];
        if self.run("fetch", &one).await.is_err() {
            // Servers may refuse single commits; then everything comes.
            let all = ["fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"];
            self.run("fetch", &all).await?;
        }
        Ok(())
    }

    async fn time(&self, commit: &str) -> Result<i64, GitError> {
        let time = self.run("show", &["show", "-s", "--format=%ct", commit]).await?;
        Ok(time.trim().parse().unwrap_or(0))
    }

    async fn run(&self, action: &'static str, arguments: &[&str]) -> Result<String, GitError> {
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
            .args(["-c", "advice.detachedHead=false", "-c", "core.symlinks=true"]);
        if let Some(authorization) = self.authorization {
            authorization.give(&mut command);
        }
        command
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let output = command.output().await.map_err(GitError::Program)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        // What git gives up with comes last; why, stands before it.
        let mut lines = errors.lines().filter(|line| !line.trim().is_empty());
        let fatal = errors.lines().find(|line| line.starts_with("fatal:"));
        let message = fatal.or_else(|| lines.next_back()).unwrap_or("no message").to_owned();
        Err(GitError::Failed { action, remote: self.remote.to_owned(), message })
    }
}

/// Gives every file below a directory one modification time, in seconds.
fn set_times(directory: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    for entry in walkdir::WalkDir::new(directory).contents_first(true) {
        let entry = entry.map_err(io::Error::other)?;
        utimensat(CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// The names of a query.
const QUERY: [&str; 10] = [
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
];

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
            ("https://example.org/a.git?tag=v1", "https://example.org/a.git", Some("refs/tags/v1"), ""),
            ("https://example.org/a.git?branch=b", "https://example.org/a.git", Some("refs/heads/b"), ""),
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
        for query in ["nope=1", "submodules=x", "mtime=now", "submodule=1"] {
            assert!(
                GitSource::parse(&format!("https://example.org/a.git?{query}")).unwrap().is_err(),
                "{query}"
            );
        }
        let all = "submodules=0&mtime=commit&keep-git-dir&fetch-by-commit=true&commit=0123456789";
        let source = GitSource::parse(&format!("https://example.org/a.git?{all}")).unwrap().unwrap();
        assert!(!source.submodules && source.commit_times && source.keep_git_dir);
        assert_eq!((source.checksum.as_deref(), source.reference), (Some("0123456789"), None));
    }
}

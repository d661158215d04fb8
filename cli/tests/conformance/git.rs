//! Git repositories out of lines: entries change the work tree, `commit MESSAGE`, `branch NAME`, `switch NAME`,
//! `tag NAME`, `annotated NAME` and `submodule REPOSITORY PATH` do what they say. Times and names are fixed, so that commit ids are the same on every machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::entry::Entry;
use crate::place::place;

/// Makes a bare repository at `bare` that a static HTTP server can serve.
pub(crate) fn make<'a>(lines: impl Iterator<Item = &'a str>, work: &Path, bare: &Path) -> Result<(), String> {
    fs::create_dir_all(work).map_err(|error| error.to_string())?;
    git(work, &["init", "--quiet", "--initial-branch=main"])?;
    for line in lines {
        match line.split_once(' ') {
            Some(("commit", message)) => {
                git(work, &["add", "--all"])?;
                git(work, &["commit", "--quiet", "--allow-empty", "-m", message])?;
            }
            Some(("branch", name)) => drop(git(work, &["checkout", "--quiet", "-b", name])?),
            Some(("switch", name)) => drop(git(work, &["checkout", "--quiet", name])?),
            Some(("tag", name)) => drop(git(work, &["tag", name])?),
            Some(("submodule", rest)) => submodule(rest, work)?,
            Some(("annotated", name)) => drop(git(work, &["tag", "-a", "-m", name, name])?),
            _ => place(work, &Entry::parse(line)?)?,
        }
    }
    git(work, &["clone", "--quiet", "--bare", ".", &bare.to_string_lossy()])?;
    git(bare, &["update-server-info"]).map(drop)
}

/// Makes another repository of the case, which stands above this one, a part of it.
fn submodule(rest: &str, work: &Path) -> Result<(), String> {
    let (repository, path) = rest.split_once(' ').ok_or("the form is `submodule REPOSITORY PATH`")?;
    let commit = git(&work.with_file_name(repository), &["rev-parse", "HEAD"])?;
    let text = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = ../{repository}\n");
    fs::write(work.join(".gitmodules"), text).map_err(|error| error.to_string())?;
    fs::create_dir_all(work.join(path)).map_err(|error| error.to_string())?;
    git(work, &["update-index", "--add", "--cacheinfo", &format!("160000,{},{path}", commit.trim())])?;
    git(work, &["add", ".gitmodules"])?;
    git(work, &["commit", "--quiet", "-m", "submodule"]).map(drop)
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let time = "2024-05-06T07:08:09Z";
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs([("GIT_AUTHOR_DATE", time), ("GIT_COMMITTER_DATE", time)])
        .envs([("GIT_AUTHOR_NAME", "author"), ("GIT_COMMITTER_NAME", "author")])
        .envs([("GIT_AUTHOR_EMAIL", "author@example.com"), ("GIT_COMMITTER_EMAIL", "author@example.com")])
        .output()
        .map_err(|error| format!("git: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)))
}

//! Reads what a build begins with: the Dockerfile, the ignore file and the context directory.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::Store;

use crate::context::{LocalContext, StatIndex};
use crate::dockerfile::{Source, decode, nearest};
use crate::error::{Error, Result};
use crate::ignore::Matcher;

/// The largest Dockerfile, in bytes.
pub(crate) const DOCKERFILE_LIMIT: u64 = 4 << 20;

/// The Dockerfile at `path`, or `Dockerfile` in the context (`dockerfile` if there is none).
pub fn dockerfile(context: Option<&Path>, path: Option<&Path>) -> Result<Source> {
    let candidates = match (path, context) {
        (Some(path), Some(context))
            if !path.exists() && path.is_relative() && context.join(path).exists() =>
        {
            vec![context.join(path)]
        }
        (Some(path), _) => vec![path.to_owned()],
        (None, Some(context)) => vec![context.join("Dockerfile"), context.join("dockerfile")],
        (None, None) => vec![PathBuf::from("Dockerfile")],
    };
    let mut missing = None;
    for candidate in &candidates {
        match read(candidate) {
            Ok(text) => return Ok(Source::new(candidate.display().to_string(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.get_or_insert((candidate, error));
            }
            Err(error) => return Err(unreadable(candidate, error)),
        }
    }
    let (path, error) =
        missing.ok_or_else(|| Error::Internal("no place to look for a Dockerfile".to_owned()))?;
    Err(unreadable(path, error).hinted(meant_file(path)))
}

/// The file beside a missing Dockerfile that was probably meant: one of a like name, or the only one that is called a
/// Dockerfile.
fn meant_file(path: &Path) -> Option<String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(directory).ok()?.take(1000).filter_map(Result::ok);
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let wanted = path.file_name()?.to_str()?;
    let like = |name: &&String| {
        let lower = name.to_lowercase();
        (lower.contains("dockerfile") || lower.contains("containerfile")) && !lower.ends_with(".dockerignore")
    };
    let near = nearest(wanted, names.iter().map(String::as_str));
    let name = near.or_else(|| names.iter().find(like).map(String::as_str))?;
    Some(format!("there is `{}`, which `--file` can name", directory.join(name).display()))
}

fn read(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DOCKERFILE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is larger than {DOCKERFILE_LIMIT} bytes"),
        ));
    }
    decode(&bytes).map_err(|line| {
        io::Error::new(io::ErrorKind::InvalidData, format!("its line {line} is not UTF-8 text"))
    })
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::File { action: "read the Dockerfile", path: path.display().to_string(), source: Arc::new(source) }
}

/// Opens a directory as a context, with its ignore rules. The stat index is to be saved when the build is over.
pub fn context(
    store: &Store,
    directory: &Path,
    dockerfile: Option<&Path>,
) -> Result<(LocalContext, Arc<StatIndex>)> {
    let ignore = ignore_rules(directory, dockerfile)?;
    let index = Arc::new(StatIndex::load(store, directory)?);
    Ok((LocalContext::open(directory, ignore)?.with_index(index.clone()), index))
}

/// The ignore rules of a context directory: from `<dockerfile>.dockerignore` beside the Dockerfile, else from
/// `.dockerignore` in the directory.
pub fn ignore_rules(directory: &Path, dockerfile: Option<&Path>) -> Result<Option<Matcher>> {
    let beside = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in beside.into_iter().chain([directory.join(".dockerignore")]) {
        match fs::read(&path) {
            Ok(text) => {
                return Matcher::parse(&String::from_utf8_lossy(&text)).map(Some).map_err(|error| {
                    Error::Invalid { message: format!("`{}`: {error}", path.display()), help: None }
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Error::File {
                    action: "read",
                    path: path.display().to_string(),
                    source: Arc::new(source),
                });
            }
        }
    }
    Ok(None)
}

//! Where kaniko's build context is, in the words of `rbuild build`.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::Environment;
use crate::args::kaniko::{KanikoArgs, boolean};
use crate::failure::{Failure, Result};

/// The context as an argument of `rbuild build`.
pub(super) fn address(args: &KanikoArgs, environment: &Environment) -> Result<String> {
    let text = args.context.as_str();
    let below = args.context_sub_path.as_deref().filter(|path| !path.is_empty());
    let directory = |path: &str| match below {
        Some(below) => Path::new(path).join(below.trim_start_matches('/')).display().to_string(),
        None => path.to_owned(),
    };
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(directory(text)) };
    let archive = match scheme {
        "dir" => return Ok(directory(rest)),
        "git" => return git(args, rest, below, environment),
        "tar" if rest == "stdin" => "-".to_owned(),
        "tar" | "https" | "http" => text.to_owned(),
        _ => {
            return Err(Failure::usage(format!("`--context {text}` is of a kind that is not supported"))
                .hint("fetch it first, and give `--context tar://FILE` or `--context dir://DIR`"));
        }
    };
    if below.is_some() {
        return Err(Failure::usage(format!("`--context-sub-path` has no meaning for the archive `{text}`"))
            .hint("unpack it first, and give `--context dir://DIR`"));
    }
    Ok(archive)
}

/// `HOST/PATH[#REFERENCE[#COMMIT]]`, which kaniko fetches by https.
fn git(args: &KanikoArgs, rest: &str, below: Option<&str>, environment: &Environment) -> Result<String> {
    let scheme = match environment.text("GIT_PULL_METHOD") {
        Some("http") => "http",
        _ => "https",
    };
    let mut parts = rest.split('#');
    let repository = parts.next().unwrap_or_default().trim_end_matches('/');
    let mut reference = parts.next().unwrap_or_default().to_owned();
    if let Some(commit) = parts.next() {
        commit.clone_into(&mut reference);
    }
    let mut submodules = false;
    for option in &args.git {
        let wrong = |reason: &str| Failure::usage(format!("`--git {option}` {reason}"));
        let (key, value) = option.split_once('=').ok_or_else(|| wrong("is not of the form NAME=VALUE"))?;
        let flag = || boolean(value).map_err(|reason| wrong(&format!("means nothing: {reason}")));
        match key {
            "branch" if !value.is_empty() => value.clone_into(&mut reference),
            "recurse-submodules" => submodules = flag()?,
            // One commit is fetched in any case.
            "branch" | "single-branch" => {}
            "insecure-skip-tls" if !flag()? => {}
            "insecure-skip-tls" => {
                return Err(wrong("is not supported")
                    .hint("`git config --global http.sslCAInfo FILE` makes git trust the server"));
            }
            _ => {
                return Err(wrong("is not known")
                    .hint("options are `branch`, `recurse-submodules` and `single-branch`"));
            }
        }
    }
    let suffix = if repository.ends_with(".git") { "" } else { ".git" };
    let query = if submodules { "" } else { "?submodules=false" };
    let below = below.map(|path| format!(":{}", path.trim_matches('/'))).unwrap_or_default();
    let fragment =
        if reference.is_empty() && below.is_empty() { String::new() } else { format!("#{reference}{below}") };
    Ok(format!("{scheme}://{repository}{suffix}{query}{fragment}"))
}

/// What kaniko's variables say to the server of a repository.
pub(super) struct Credentials {
    /// The secret that a build takes it from.
    pub(super) id: String,
    /// The value of the header.
    pub(super) header: String,
}

impl Credentials {
    /// Where the header is between here and the build: no argument, and no variable of a process.
    pub(super) const VARIABLE: &str = "KANIKO_GIT_AUTH_HEADER";
}

/// `GIT_TOKEN`, or else `GIT_USERNAME` and `GIT_PASSWORD`, for the host of a `git://` context and no other. A token is the
/// name, with an empty password.
pub(super) fn credentials(args: &KanikoArgs, environment: &Environment) -> Option<Credentials> {
    let host = args.context.strip_prefix("git://")?.split(['/', '#']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let user = environment.text("GIT_USERNAME").unwrap_or_default();
    let password = environment.text("GIT_PASSWORD").unwrap_or_default();
    let pair = match environment.text("GIT_TOKEN") {
        Some(token) => format!("{token}:"),
        None if user.is_empty() && password.is_empty() => return None,
        None => format!("{user}:{password}"),
    };
    let header = format!("Basic {}", STANDARD.encode(pair));
    Some(Credentials { id: format!("GIT_AUTH_HEADER.{host}"), header })
}

/// `--dockerfile`, as `--file` of a build. A context that is no directory has its own `Dockerfile` unless another is
/// named.
pub(super) fn dockerfile(args: &KanikoArgs, context: &str) -> Option<String> {
    let usual = args.dockerfile == "Dockerfile";
    let elsewhere = context == "-" || context.contains("://");
    (!(usual && (elsewhere || !Path::new("Dockerfile").exists()))).then(|| args.dockerfile.clone())
}

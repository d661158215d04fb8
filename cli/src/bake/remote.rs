//! A definition that is somewhere else: its paths are below where it is, and what it may name of this machine is what the
//! command line allows.

use super::fault::{Fault, Result};
use super::paths;
use super::target::Target;

/// Where a definition came from.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The git address that paths of its targets are below; `None` for a file alone, whose paths are this machine's.
    pub(crate) address: Option<String>,
    /// `--allow`
    pub(crate) allowed: Vec<String>,
}

impl Remote {
    /// Puts the contexts of a target where they are, and looks what it names of this machine.
    pub(super) fn place(&self, target: &mut Target) -> Result<()> {
        let name = target.name.clone();
        let refused = |what: &str, path: &str, right: &str| {
            let message = format!(
                "the target `{name}` names the {what} `{path}` of this machine, and comes from elsewhere"
            );
            Fault::new(message).help(format!("`--allow {right}` grants it"))
        };
        let local = |what: &str, path: &str, access: &str| match self.allows(path, access) {
            true => Ok(()),
            false => Err(refused(what, path, &format!("fs.{access}={path}"))),
        };
        let placed = |place: &str| -> Result<String> {
            if let Some(here) = place.strip_prefix("cwd://") {
                local("context", here, "read")?;
                return Ok(paths::clean(here));
            }
            match &self.address {
                _ if paths::is_remote(place) => Ok(place.to_owned()),
                Some(address) => below(address, place).map_err(Fault::new),
                None => local("context", place, "read").map(|()| paths::clean(place)),
            }
        };
        if let Some(context) = &mut target.context {
            *context = placed(context)?;
        }
        for place in target.contexts.values_mut() {
            match place.split_once("://") {
                Some(("docker-image", _)) => {}
                Some(("oci-layout", path)) => {
                    local("layout", path.split(['@', ':']).next().unwrap_or(path), "read")?;
                }
                _ if place.starts_with("target:") => {}
                _ => *place = placed(place)?,
            }
        }
        let context = target.context.as_deref().unwrap_or(".");
        let dockerfile = target.dockerfile.as_deref().unwrap_or_default();
        match dockerfile.strip_prefix("cwd://") {
            Some(here) => local("Dockerfile", here, "read")?,
            // It may lead out of a context that is here.
            None if !paths::is_remote(context) && !paths::is_remote(dockerfile) => {
                local("Dockerfile", &paths::join(context, dockerfile), "read")?;
            }
            None => {}
        }
        for secret in target.secrets.iter().filter(|secret| !secret.src.is_empty() || secret.env.is_empty()) {
            // Without more the id names a file.
            let path = if secret.src.is_empty() { &secret.id } else { &secret.src };
            local("secret", path, "read")?;
        }
        if let Some(agent) = target.ssh.first().filter(|_| !self.allowed.iter().any(|one| one == "ssh")) {
            return Err(refused("SSH agent", &agent.id, "ssh"));
        }
        let written = target.outputs.iter().flatten().chain(target.cache_to.iter().flatten());
        for path in written.filter_map(|entry| entry.get("dest")).filter(|path| *path != "-") {
            local("output", path, "write")?;
        }
        for path in target.cache_from.iter().filter_map(|entry| entry.get("src")) {
            local("cache", path, "read")?;
        }
        Ok(())
    }

    /// Whether a path of this machine may be read or written: below the working directory always.
    fn allows(&self, path: &str, access: &str) -> bool {
        let path = paths::clean(path);
        let here = !path.starts_with('/') && path != ".." && !path.starts_with("../");
        let grants = |allowed: &String| {
            let (kind, place) = allowed.split_once('=')?;
            let fits = kind == "fs" || kind.strip_prefix("fs.") == Some(access);
            let place = if place == "*" { place.to_owned() } else { paths::clean(place) };
            let rest = path.strip_prefix(&place);
            Some(
                fits && (place == "*"
                    || place == "/"
                    || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))),
            )
        };
        here || self.allowed.iter().any(|allowed| grants(allowed) == Some(true))
    }
}

/// The address of a directory of a repository. Paths that begin at the root begin at the repository's.
fn below(address: &str, path: &str) -> std::result::Result<String, String> {
    let path = paths::clean(path.trim_start_matches('/'));
    if path == "." {
        return Ok(address.to_owned());
    }
    if path.starts_with("..") {
        return Err(format!("`{path}` is not in the repository `{address}`"));
    }
    let (rest, fragment) = address.split_once('#').unwrap_or((address, ""));
    if rest.split_once('?').is_some_and(|(_, query)| query.split('&').any(|pair| pair.starts_with("subdir=")))
    {
        return Err(format!(
            "`{address}` says its directory by `subdir=`: write it as `#REFERENCE:DIRECTORY`"
        ));
    }
    let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    Ok(format!("{rest}#{reference}:{}", paths::join(directory.trim_matches('/'), &path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bake::entries::{self, Ssh};

    #[test]
    fn directories_of_repositories() {
        let check = |address: &str, path: &str, wanted: Option<&str>| {
            assert_eq!(below(address, path).ok().as_deref(), wanted, "{address} {path}");
        };
        let app = "https://h.example/app.git";
        check(app, ".", Some(app));
        check(app, "./web/", Some("https://h.example/app.git#:web"));
        check("https://h.example/app.git#v1", "/web", Some("https://h.example/app.git#v1:web"));
        check("git@h.example:app#v1:sub", "web", Some("git@h.example:app#v1:sub/web"));
        check("https://h.example/app.git?branch=b", "web", Some("https://h.example/app.git?branch=b#:web"));
        check("https://h.example/app.git?subdir=sub", "web", None);
        check(app, "../other", None);
    }

    type Change = fn(&mut Target);

    #[test]
    fn only_what_is_allowed_is_named() {
        let named = |change: Change, allowed: &[&str]| {
            let address = Some("https://h.example/app.git".to_owned());
            let remote = Remote { address, allowed: allowed.iter().map(ToString::to_string).collect() };
            let mut target = Target { context: Some(".".to_owned()), ..Target::default() };
            change(&mut target);
            remote.place(&mut target).is_ok()
        };
        let cases: [(Change, &[&str]); 9] = [
            (|target| target.secrets = entries::secrets("id=/root/key").unwrap(), &["fs.read=/root/key"]),
            (|target| target.dockerfile = Some("cwd://../Dockerfile".to_owned()), &["fs.read=.."]),
            (|target| target.context = Some("cwd:///etc".to_owned()), &["fs.read=/etc"]),
            (|target| _ = target.contexts.insert("a".to_owned(), "cwd://..".to_owned()), &["fs=*"]),
            (
                |target| _ = target.contexts.insert("a".to_owned(), "oci-layout:///l:1".to_owned()),
                &["fs.read=/l"],
            ),
            (|target| target.secrets = entries::secrets("id=a,src=/root/key").unwrap(), &["fs.read=/root"]),
            (|target| target.ssh = vec![Ssh { id: "default".to_owned(), paths: Vec::new() }], &["ssh"]),
            (
                |target| target.outputs = Some(entries::outputs("type=local,dest=/out").unwrap()),
                &["fs.write=/out"],
            ),
            (|target| target.cache_from = entries::caches("type=local,src=/cache").unwrap(), &["fs=/"]),
        ];
        for (number, (change, allowed)) in cases.into_iter().enumerate() {
            assert!(!named(change, &[]) && !named(change, &["fs.read=/ca", "fs.write=/root"]), "{number}");
            assert!(named(change, allowed), "{number}");
        }
        assert!(named(|target| target.outputs = Some(entries::outputs("type=local,dest=out").unwrap()), &[]));
        assert!(named(|target| target.context = Some("cwd://sub".to_owned()), &[]));
        // A file alone is about this directory, and its Dockerfiles stay there.
        let alone = |dockerfile: &str| {
            let remote = Remote { address: None, allowed: Vec::new() };
            let (context, dockerfile) = (Some("sub".to_owned()), Some(dockerfile.to_owned()));
            remote.place(&mut Target { context, dockerfile, ..Target::default() }).is_ok()
        };
        assert!(alone("../Dockerfile") && !alone("../../Dockerfile") && !alone("/etc/passwd"));
    }
}

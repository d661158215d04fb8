//! Docker's `config.json`: credentials are put in and taken out, everything else in it stays as it was.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Result};

/// Docker Hub's name in auth files.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// An auth file, and where credential helpers are.
pub(crate) struct AuthFile {
    path: PathBuf,
    content: Map<String, Value>,
    helper_path: Vec<PathBuf>,
}

fn entry(user: &str, password: &str) -> Value {
    json!({"auth": base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))})
}

fn key(host: &str) -> &str {
    if host == "docker.io" { HUB_KEY } else { host }
}

impl AuthFile {
    /// Reads the file; one that does not exist is empty.
    pub(crate) fn open(path: PathBuf, helper_path: Vec<PathBuf>) -> Result<Self> {
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Failure::new(format!("`{}` is malformed: {error}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(Failure::new(format!("cannot read `{}`: {error}", path.display()))),
        };
        Ok(Self { path, content, helper_path })
    }

    /// Keeps credentials: with the credential helper that the file names for the host, else in the file. Says where.
    pub(crate) fn store(mut self, host: &str, user: &str, password: &str) -> Result<String> {
        if let Some(helper) = self.helper(host) {
            let request = json!({"ServerURL": key(host), "Username": user, "Secret": password});
            self.call(&helper, "store", &request.to_string())?;
            // Docker notes the host without its secret, so that it is listed.
            self.auths()?.insert(key(host).to_owned(), json!({}));
            self.save()?;
            return Ok(format!("the credential helper `{helper}`"));
        }
        self.auths()?.insert(key(host).to_owned(), entry(user, password));
        self.save()?;
        Ok(format!("`{}`", self.path.display()))
    }

    /// Removes credentials; whether there were any.
    pub(crate) fn erase(mut self, host: &str) -> Result<bool> {
        if let Some(helper) = self.helper(host) {
            self.call(&helper, "erase", key(host))?;
        }
        let found = self.auths()?.remove(key(host)).is_some();
        if found {
            self.save()?;
        }
        Ok(found)
    }

    fn auths(&mut self) -> Result<&mut Map<String, Value>> {
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        let path = &self.path;
        auths
            .as_object_mut()
            .ok_or_else(|| Failure::new(format!("`auths` in `{}` is no object", path.display())))
    }

    fn helper(&self, host: &str) -> Option<String> {
        let own = self.content.get("credHelpers").and_then(|helpers| helpers.get(key(host)));
        let all = self.content.get("credsStore");
        own.or(all).and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
    }

    fn call(&self, helper: &str, action: &str, input: &str) -> Result<()> {
        let name = format!("docker-credential-{helper}");
        let failed = |reason: String| Failure::new(format!("`{name} {action}` failed: {reason}"));
        // The name comes from a file and is never a path.
        let plain = helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let program = self
            .helper_path
            .iter()
            .map(|directory| directory.join(&name))
            .find(|path| plain && path.is_file())
            .ok_or_else(|| failed("it is not installed".to_owned()))?;
        let mut child = Command::new(program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        // Helpers explain themselves on standard output.
        Err(failed(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }

    /// Written beside and renamed into place, for the user's eyes only.
    fn save(&self) -> Result<()> {
        let failed =
            |error: io::Error| Failure::new(format!("cannot write `{}`: {error}", self.path.display()));
        // A link to a file elsewhere stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let fresh = path.with_extension(format!("{}.tmp", std::process::id()));
        let text = serde_json::to_vec_pretty(&self.content).map_err(|error| failed(error.into()))?;
        let write = || -> io::Result<()> {
            let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&fresh);
            failed(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn everything_else_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("docker/config.json");
        let open = || AuthFile::open(path.clone(), Vec::new()).unwrap();
        open().store("registry.example", "jane", "p:w").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(text["auths"]["registry.example"]["auth"], "amFuZTpwOnc=");
        text["detachKeys"] = json!("ctrl-x");
        fs::write(&path, text.to_string()).unwrap();

        open().store("docker.io", "joe", "x").unwrap();
        assert!(open().erase("registry.example").unwrap());
        assert!(!open().erase("registry.example").unwrap());
        let text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(text, json!({"auths": {HUB_KEY: {"auth": "am9lOng="}}, "detachKeys": "ctrl-x"}));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_helper_keeps_what_the_file_names_it_for() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config.json");
        let kept = place.path().join("kept");
        let helper = place.path().join("docker-credential-test");
        fs::write(&helper, format!("#!/bin/sh\necho \"$1\" >> {0}\ncat >> {0}\n", kept.display())).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&path, r#"{"credsStore": "test"}"#).unwrap();
        let open = || AuthFile::open(path.clone(), vec![place.path().to_owned()]).unwrap();
        open().store("registry.example", "jane", "secret").unwrap();
        let said = fs::read_to_string(&kept).unwrap();
        assert!(said.starts_with("store\n") && said.contains("secret"), "{said}");
        assert!(!fs::read_to_string(&path).unwrap().contains("secret"));
        assert!(open().erase("registry.example").unwrap());
        fs::write(&path, r#"{"credsStore": "../test"}"#).unwrap();
        assert!(open().store("registry.example", "jane", "secret").is_err());
    }
}

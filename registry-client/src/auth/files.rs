//! Auth files: Docker's `config.json` and the `auth.json` of containers tools.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};

use super::Secret;
use crate::error::CredentialError;

/// No sane auth file is larger.
const LARGEST: u64 = 4 << 20;
/// `auth` is written with padding by Docker and without by some other tools.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An auth file that was read.
pub(crate) struct AuthFile {
    name: String,
    content: Content,
}

/// What an auth file says about a host.
pub(crate) enum Entry {
    /// The secret itself.
    Secret(Secret),
    /// Ask the program `docker-credential-<name>`.
    Helper(String),
}

#[derive(Deserialize, Default)]
struct Content {
    #[serde(default, deserialize_with = "null_is_default")]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers", deserialize_with = "null_is_default")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore", deserialize_with = "null_is_default")]
    store: String,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default, deserialize_with = "null_is_default")]
    auth: String,
    #[serde(default, deserialize_with = "null_is_default")]
    username: String,
    #[serde(default, deserialize_with = "null_is_default")]
    password: String,
    #[serde(default, deserialize_with = "null_is_default")]
    identitytoken: String,
    #[serde(default, deserialize_with = "null_is_default")]
    registrytoken: String,
}

impl AuthFile {
    /// Reads a file; `None` when it does not exist.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CredentialError> {
        let name = format!("`{}`", path.display());
        let failed = |source: io::Error| CredentialError::Read { source_name: name.clone(), source };
        let bytes = match std::fs::metadata(path) {
            Ok(about) if about.len() > LARGEST => return Err(failed(io::ErrorKind::FileTooLarge.into())),
            Ok(_) => std::fs::read(path).map_err(failed)?,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        // Docker writes an empty file at times, and reads it as one without entries.
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        Self::parse(&name, &bytes).map(Some)
    }

    /// Reads the text of an auth file. Messages never show its content, which is secret.
    pub(crate) fn parse(name: &str, json: &[u8]) -> Result<Self, CredentialError> {
        let malformed = |reason: String| CredentialError::Malformed { source_name: name.to_owned(), reason };
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|error| {
            malformed(format!("line {}, column {}: not JSON", error.line(), error.column()))
        })?;
        // The oldest form, ~/.dockercfg, is the `auths` map alone.
        let content = match &value {
            serde_json::Value::Object(map)
                if !map.is_empty()
                    && map.values().all(|one| one.get("auth").is_some_and(serde_json::Value::is_string)) =>
            {
                serde_json::json!({ "auths": value })
            }
            _ => value,
        };
        let content = Content::deserialize(content).map_err(|_| {
            malformed("`auths`, `credHelpers` or `credsStore` is not what it should be".to_owned())
        })?;
        Ok(Self { name: name.to_owned(), content })
    }

    /// What messages call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The host's own helper, else the common store, else a plain entry (Docker's order).
    pub(crate) fn entry(&self, host: &str, repository: &str) -> Option<Entry> {
        let own = self.content.helpers.iter().find(|(key, _)| host_of_key(key) == host);
        if let Some((_, helper)) = own {
            // An empty name switches the store off for this host.
            if !helper.is_empty() {
                return Some(Entry::Helper(helper.clone()));
            }
        } else if !self.content.store.is_empty() {
            return Some(Entry::Helper(self.content.store.clone()));
        }
        self.plain_entry(host, repository).map(Entry::Secret)
    }

    /// The plain entry of the longest prefix of `host/repository`, then of the host.
    pub(super) fn plain_entry(&self, host: &str, repository: &str) -> Option<Secret> {
        let mut path = format!("{host}/{repository}");
        loop {
            let entry = self.content.auths.iter().filter(|(key, _)| normalised(key) == path);
            if let Some(secret) = entry.filter_map(|(_, auth)| auth.secret()).next() {
                return Some(secret);
            }
            path.truncate(path.rfind('/')?);
        }
    }
}

impl Auth {
    fn secret(&self) -> Option<Secret> {
        if !self.registrytoken.is_empty() {
            return Some(Secret::Registry { token: self.registrytoken.clone() });
        }
        let decoded = BASE64.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (user, password) = match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => (user.to_owned(), password.trim_matches('\0').to_owned()),
            None => (self.username.clone(), self.password.clone()),
        };
        if !self.identitytoken.is_empty() {
            let user = Some(user).filter(|user| !user.is_empty());
            return Some(Secret::Identity { user, token: self.identitytoken.clone() });
        }
        // `{}` marks a host whose secret a helper keeps.
        (!user.is_empty() || !password.is_empty()).then_some(Secret::Password { user, password })
    }
}

/// A key without scheme, version path and trailing slash, Docker Hub's names as one.
fn normalised(key: &str) -> String {
    let (key, had_scheme) = match key.split_once("://") {
        Some((_, rest)) => (rest, true),
        None => (key, false),
    };
    let key = key.trim_end_matches('/');
    let (host, path) = key.split_once('/').map_or((key, ""), |(host, path)| (host, path));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    // With a scheme it is Docker's form, whose path is only the API's.
    if path.is_empty() || had_scheme || matches!(path, "v1" | "v2") {
        host.to_owned()
    } else {
        format!("{host}/{path}")
    }
}

fn host_of_key(key: &str) -> String {
    let key = normalised(key);
    key.split_once('/').map_or(key.clone(), |(host, _)| host.to_owned())
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str) -> AuthFile {
        AuthFile::parse("test", json.as_bytes()).unwrap()
    }

    fn password(json: &str, host: &str, repository: &str) -> Option<String> {
        match file(json).entry(host, repository)? {
            Entry::Secret(Secret::Password { user, password }) => Some(format!("{user}:{password}")),
            Entry::Secret(Secret::Identity { token, .. }) => Some(format!("identity {token}")),
            Entry::Secret(Secret::Registry { token }) => Some(format!("registry {token}")),
            Entry::Helper(name) => Some(format!("helper {name}")),
        }
    }

    #[test]
    fn finds_the_entry_of_a_host() {
        let check = |json: &str, host: &str, repository: &str, expected: Option<&str>| {
            assert_eq!(password(json, host, repository).as_deref(), expected, "{json} {host} {repository}");
        };
        // "dTpw" is u:p, "eDp5OnoA" is x:y:z and a NUL.
        check(r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#, "r.example", "a/b", Some("u:p"));
        check(r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#, "r.example:5000", "a/b", None);
        check(r#"{"auths":{"https://r.example/v1/":{"auth":"dTpw"}}}"#, "r.example", "a", Some("u:p"));
        check(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#,
            "docker.io",
            "library/a",
            Some("u:p"),
        );
        check(r#"{"auths":{"docker.io":{"auth":"dTpw"}}}"#, "docker.io", "library/a", Some("u:p"));
        check(r#"{"auths":{"r":{"auth":"eDp5OnoA"}}}"#, "r", "a", Some("x:y:z"));
        check(r#"{"auths":{"r":{"username":"n","password":"w"}}}"#, "r", "a", Some("n:w"));
        check(r#"{"auths":{"r":{}}}"#, "r", "a", None);
        check(r#"{"auths":{"r":{"auth":"dTpw","identitytoken":"t"}}}"#, "r", "a", Some("identity t"));
        check(r#"{"auths":{"r":{"registrytoken":"t"}}}"#, "r", "a", Some("registry t"));
        check(r#"{"auths":{"r/a":{"auth":"dTpw"},"r":{"auth":"eDp5"}}}"#, "r", "a/b", Some("u:p"));
        check(r#"{"auths":{"r/a":{"auth":"dTpw"},"r":{"auth":"eDp5"}}}"#, "r", "ab", Some("x:y"));
        check(r#"{"credsStore":"pass","auths":{"r":{"auth":"dTpw"}}}"#, "r", "a", Some("helper pass"));
        check(r#"{"credsStore":"pass","credHelpers":{"r":"ecr"}}"#, "r", "a", Some("helper ecr"));
        check(r#"{"credsStore":"pass","credHelpers":{"r":"ecr"}}"#, "s", "a", Some("helper pass"));
        check(
            r#"{"credsStore":"pass","credHelpers":{"r":""},"auths":{"r":{"auth":"dTpw"}}}"#,
            "r",
            "a",
            Some("u:p"),
        );
        check(r#"{"r":{"auth":"dTpw"}}"#, "r", "a", Some("u:p"));
        check(r#"{"auths":null,"HttpHeaders":{"a":"b"}}"#, "r", "a", None);
        check("{}", "r", "a", None);
    }

    #[test]
    fn bad_files_are_named_and_stay_secret() {
        let error =
            AuthFile::parse("test", b"{\"auths\":{\"r\":{\"auth\":\"c2VjcmV0\"}").err().unwrap().to_string();
        assert!(error.contains("test") && !error.contains("c2VjcmV0"), "{error}");
        let error = AuthFile::parse("test", b"{\"auths\":[\"secret\"]}").err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

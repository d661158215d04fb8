//! Who a git server is told that it is asked by: BuildKit's secrets for that.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;

use crate::error::{Error, Result};
use crate::secret::Secrets;

/// The variable through which `git` gets the header: its arguments can be read by every user of the machine.
const VARIABLE: &str = "GIT_AUTH_HEADER";

/// A header for the requests to one repository.
pub struct Authorization {
    /// The addresses that it is for, as in `http.<url>` of a configuration of git.
    scope: String,
    /// Its value.
    value: String,
}

impl Authorization {
    /// What `secrets` have for a repository: `GIT_AUTH_HEADER.HOST` is the value of the header, `GIT_AUTH_TOKEN.HOST` a
    /// token; without `.HOST` they are for every host. `None` if there is nothing, or the address is none of HTTP.
    ///
    /// # Errors
    ///
    /// A secret that cannot be read, or that cannot stand in a header.
    pub fn of(remote: &str, secrets: &Secrets) -> Result<Option<Self>> {
        let rest = remote.strip_prefix("https://").or_else(|| remote.strip_prefix("http://"));
        let Some(rest) = rest else { return Ok(None) };
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let names = [format!(".{host}"), String::new()]
            .into_iter()
            .flat_map(|of| [(format!("GIT_AUTH_HEADER{of}"), false), (format!("GIT_AUTH_TOKEN{of}"), true)]);
        for (name, is_token) in names {
            let Some(bytes) = secrets.read(&name)? else { continue };
            let text = String::from_utf8(bytes).ok();
            let text = text.as_deref().map(str::trim).filter(|text| !text.contains(char::is_control));
            let text =
                text.ok_or_else(|| Error::invalid(format!("the secret `{name}` is not one line of text")))?;
            let value = match is_token {
                true => format!("Basic {}", STANDARD.encode(format!("x-access-token:{text}"))),
                false => text.to_owned(),
            };
            return Ok(Some(Self { scope: scope(remote), value }));
        }
        Ok(None)
    }

    /// Lets a `git` use it. The words come before the subcommand.
    pub(super) fn give(&self, command: &mut Command) {
        command.arg(format!("--config-env=http.{}.extraHeader={VARIABLE}", self.scope));
        command.env(VARIABLE, format!("Authorization: {}", self.value));
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Only the repository is told, and not what it refers to; but on GitHub one token is for all (BuildKit's rule).
fn scope(remote: &str) -> String {
    let github = ["https://github.com/", "https://www.github.com/"];
    github.into_iter().find(|host| remote.starts_with(host)).unwrap_or(remote).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretSource;

    #[test]
    fn secrets_are_for_their_hosts() {
        let of = |remote: &str, secrets: &[(&str, &str)]| {
            let one = |(id, text): &(&str, &str)| ((*id).to_owned(), SecretSource::Value((*text).to_owned()));
            let secrets = Secrets { secrets: secrets.iter().map(one).collect(), ..Secrets::default() };
            let found = Authorization::of(remote, &secrets);
            found
                .map(|found| found.map(|found| (found.scope, found.value)))
                .map_err(|error| error.to_string())
        };
        let wanted = |scope: &str, value: &str| Ok(Some((scope.to_owned(), value.to_owned())));
        let remote = "https://git.example:8443/team/app.git";
        assert_eq!(of(remote, &[("GIT_AUTH_HEADER", "Bearer x\n")]), wanted(remote, "Bearer x"));
        // `x-access-token:secret`
        let basic = "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0";
        assert_eq!(of(remote, &[("GIT_AUTH_TOKEN", "secret")]), wanted(remote, basic));
        let two = [("GIT_AUTH_HEADER", "Bearer any"), ("GIT_AUTH_TOKEN.git.example:8443", "secret")];
        assert_eq!(of(remote, &two), wanted(remote, basic));
        assert_eq!(
            of("http://me@other.example/a.git", &two),
            wanted("http://me@other.example/a.git", "Bearer any")
        );
        assert_eq!(of("https://github.com/a/b.git", &two), wanted("https://github.com/", "Bearer any"));
        for nobody in ["git://git.example/a", "git@git.example:a", "ssh://git.example/a"] {
            assert_eq!(of(nobody, &two), Ok(None), "{nobody}");
        }
        assert_eq!(of(remote, &[("GIT_AUTH_TOKEN.other.example", "secret")]), Ok(None));
        let error = of(remote, &[("GIT_AUTH_HEADER", "a\r\nb: c")]).unwrap_err();
        assert!(error.contains("one line") && !error.contains("b: c"), "{error}");
    }
}

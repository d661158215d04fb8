//! `rbuild login` and `rbuild logout`

use std::io::{IsTerminal as _, Read as _};
use std::sync::Arc;

use registry_client::{Client, Reference};

use super::{Context, print, tell};
use crate::args::image::{LoginArgs, LogoutArgs};
use crate::auth_file::AuthFile;
use crate::failure::{Failure, Result};
use crate::settings;

/// Docker Hub, as people name it.
const HUB: &str = "docker.io";
/// The longest password, in bytes: tokens of cloud registries have a few thousand.
const PASSWORD_LIMIT: u64 = 64 << 10;

/// Tries credentials and stores them where Docker does.
pub(super) async fn login(context: &Context, args: LoginArgs) -> Result<()> {
    let host = host(args.registry.as_deref())?;
    let file = file(context)?;
    let user = match args.username {
        Some(user) => user,
        None => ask("Username: ", "--username")?,
    };
    let password = match args.password {
        Some(password) => password,
        None if args.password_stdin => password_from_stdin()?,
        None => ask_secretly("Password: ")?,
    };
    if user.is_empty() || password.is_empty() {
        return Err(Failure::usage("a user name and a password are needed"));
    }
    check(context, &host, &user, &password).await?;
    let kept = file.store(&host, &user, &password)?;
    if args.json {
        let value = serde_json::json!({ "registry": host, "user": user, "kept": kept.trim_matches('`') });
        return print(&format!("{value:#}\n"));
    }
    print(&format!("Login Succeeded: `{user}` at `{host}`, kept in {kept}\n"))
}

/// Removes credentials.
pub(super) fn logout(context: &Context, args: &LogoutArgs) -> Result<()> {
    let host = host(args.registry.as_deref())?;
    let erased = file(context)?.erase(&host)?;
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!({ "registry": host, "removed": erased })));
    }
    if erased {
        print(&format!("Removed the credentials for `{host}`\n"))
    } else {
        tell(&format!("there are no credentials for `{host}`"));
        Ok(())
    }
}

fn file(context: &Context) -> Result<AuthFile> {
    let path = settings::auth_file(&context.environment).ok_or_else(|| {
        Failure::new("there is no place for credentials: neither `DOCKER_CONFIG` nor `HOME` is set")
    })?;
    AuthFile::open(path, context.environment.program_directories())
}

/// The registry, without what people copy along with it.
pub(super) fn host(text: Option<&str>) -> Result<String> {
    let Some(text) = text else { return Ok(HUB.to_owned()) };
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.split('/').next().unwrap_or(bare);
    if matches!(bare, "index.docker.io" | "registry-1.docker.io" | HUB) {
        return Ok(HUB.to_owned());
    }
    Reference::parse(&format!("{bare}/x"))
        .ok()
        .map(|reference| reference.domain().to_owned())
        .filter(|domain| domain == bare)
        .ok_or_else(|| {
            Failure::usage(format!("`{text}` is no registry")).hint("an example is `registry.example:5000`")
        })
}

/// Asks the registry whether it knows these credentials, and sends no others.
async fn check(context: &Context, host: &str, user: &str, password: &str) -> Result<()> {
    let settings = settings::client_settings(&context.global, &context.environment)?;
    let client = Client::new(settings, Arc::new(registry_client::Silent))?;
    Ok(client.try_login(host, user, password).await?)
}

fn password_from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(PASSWORD_LIMIT)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("cannot read the password from standard input: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn ask(prompt: &str, option: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("`{option}` is needed where nobody can be asked")));
    }
    tell(prompt);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks with the terminal's echo off.
fn ask_secretly(prompt: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return ask(prompt, "--password-stdin") };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(std::io::Error::from)?;
    let answer = ask(prompt, "--password-stdin");
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(std::io::Error::from)?;
    answer
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn registries_as_people_write_them() {
        for (text, wanted) in [
            (None, Some("docker.io")),
            (Some("https://index.docker.io/v1/"), Some("docker.io")),
            (Some("registry.example:5000"), Some("registry.example:5000")),
            (Some("https://registry.example/team"), Some("registry.example")),
            (Some("localhost"), Some("localhost")),
            (Some("notahost"), None),
            (Some("a b"), None),
        ] {
            assert_eq!(host(text).ok().as_deref(), wanted, "{text:?}");
        }
    }
}

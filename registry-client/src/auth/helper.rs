//! Credential helpers: programs named `docker-credential-*` (github.com/docker/docker-credential-helpers).

use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{CredentialSettings, Secret};
use crate::error::CredentialError;

/// More than this is no answer of a helper.
const LARGEST_ANSWER: u64 = 1 << 20;

/// Under which name helpers keep the secret of a host: Docker Hub's is a historical URL.
pub(super) fn server_name(host: &str) -> String {
    if host == "docker.io" { "https://index.docker.io/v1/".to_owned() } else { host.to_owned() }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks the helper; `None` when it does not know the server.
pub(super) async fn get(
    settings: &CredentialSettings,
    name: &str,
    server: &str,
) -> Result<Option<Secret>, CredentialError> {
    let failed = |reason: String| CredentialError::Helper { helper: name.to_owned(), reason };
    let (success, answer) = run(settings, name, "get", server.as_bytes()).await?;
    if !success {
        // Helpers say why on stdout, and "not found" is no failure.
        let text = String::from_utf8_lossy(&answer);
        let text = text.trim();
        let unknown =
            ["credentials not found", "no credentials", "not found in"].iter().any(|one| text.contains(one));
        return if unknown { Ok(None) } else { Err(failed(text.chars().take(200).collect())) };
    }
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|_| failed("its answer is not what it should be".to_owned()))?;
    Ok(match answer {
        Answer { username, secret } if username == "<token>" => {
            Some(Secret::Identity { user: None, token: secret })
        }
        Answer { username, secret } if username.is_empty() && secret.is_empty() => None,
        Answer { username, secret } => Some(Secret::Password { user: username, password: secret }),
    })
}

/// Runs one action of a helper with `input` on its stdin; whether it succeeded, and its stdout.
pub(super) async fn run(
    settings: &CredentialSettings,
    name: &str,
    action: &str,
    input: &[u8],
) -> Result<(bool, Vec<u8>), CredentialError> {
    let failed = |reason: String| CredentialError::Helper { helper: name.to_owned(), reason };
    let program = find(settings, name).ok_or_else(|| {
        failed("there is no such program in the directories where helpers are looked for".to_owned())
    })?;
    let talk = async {
        let mut child = Command::new(program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that needs no input may be gone already.
            let _ = stdin.write_all(input).await;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LARGEST_ANSWER).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?.success(), answer))
    };
    match tokio::time::timeout(settings.helper_timeout, talk).await {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", settings.helper_timeout.as_secs()))),
    }
}

/// The program, if its name is a plain word (it comes from a file that others may have written).
fn find(settings: &CredentialSettings, name: &str) -> Option<PathBuf> {
    let plain =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let file = format!("docker-credential-{name}");
    settings.helper_path.iter().map(|directory| directory.join(&file)).find(|path| plain && path.is_file())
}

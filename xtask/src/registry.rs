//! Debian's docker-registry on a free port of loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::packages;

/// Who may use a registry that asks.
pub const USER: &str = "jane";
/// The user's password.
pub const PASSWORD: &str = "s3cret";
/// bcrypt of the password: the only form that the registry takes.
const PASSWORD_HASH: &str = "$2b$04$Bm9mBw.McYqgOQJiccMlvuRBuEcIESXTc1.0qS4EDxqYg/NsRM3yK";

/// A running registry with a store of its own. It ends when this value is dropped, or when its thread dies.
pub struct Registry {
    address: String,
    child: Child,
    data: TempDir,
}

impl Registry {
    /// Starts a registry. It listens when this returns.
    pub fn start() -> Result<Self> {
        Self::with(None)
    }

    /// Starts a registry that asks for the name [`USER`] and the password [`PASSWORD`].
    pub fn start_with_password() -> Result<Self> {
        Self::with(Some(&format!("{USER}:{PASSWORD_HASH}\n")))
    }

    fn with(users: Option<&str>) -> Result<Self> {
        let program = packages::unpacked("docker-registry", "docker-registry")?;
        let data = TempDir::with_prefix("rbuild-registry-")?;
        let settings = data.path().join("config.yml");
        let storage = data.path().join("data");
        let mut more = String::new();
        if let Some(users) = users {
            let file = data.path().join("htpasswd");
            fs::write(&file, users)?;
            more = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
        }
        fs::write(
            &settings,
            format!(
                "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: \"127.0.0.1:0\", secret: loopback}}\n{more}",
                storage.display()
            ),
        )?;
        // The registry must not outlive a test that is killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg("serve")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start docker-registry through setpriv (util-linux)")?;
        let log = child.stderr.take().context("docker-registry has no standard error")?;
        let mut lines = BufReader::new(log).lines();
        let mut said = String::new();
        let address = loop {
            let Some(line) = lines.next().transpose()? else {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("docker-registry ended before it listened:\n{said}");
            };
            // The port is the kernel's choice, so that tests never meet each other.
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
            }
            said.push_str(&line);
            said.push('\n');
        };
        // Its log is read to the end: a full pipe would stop it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { address, child, data })
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its blobs lie, for tests that damage them.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Stops it; its port refuses connections afterwards.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

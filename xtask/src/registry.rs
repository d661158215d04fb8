//! Debian's docker-registry on a free port of loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::packages;

/// A running registry with a store of its own. It ends when this value is dropped, or when its thread dies.
pub struct Registry {
    address: String,
    child: Child,
    data: TempDir,
}

impl Registry {
    /// Starts a registry. It listens when this returns.
    pub fn start() -> Result<Self> {
        Self::with("")
    }

    /// Starts a registry that asks for this name and password. Needs `htpasswd` (apache2-utils).
    pub fn start_with_password(name: &str, password: &str) -> Result<Self> {
        let output = Command::new("htpasswd").args(["-Bbn", name, password]).output().context("htpasswd")?;
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), output.stdout)?;
        Self::with(&format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.path().display()))
            .inspect(|_| drop(file))
    }

    fn with(more: &str) -> Result<Self> {
        let program = packages::unpacked("docker-registry", "docker-registry")?;
        let data = TempDir::with_prefix("rbuild-registry-")?;
        let settings = data.path().join("config.yml");
        let storage = data.path().join("data");
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

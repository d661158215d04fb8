//! Mirrors, insecure registries, credentials and proxies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use registry_client::{ClientSettings, CredentialSettings, HostSettings, ProxySettings};

use super::Environment;
use crate::failure::{Failure, Result};

/// Docker's own settings file.
const SYSTEM_DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// All settings of the registry client.
pub(crate) fn client_settings(environment: &Environment) -> Result<ClientSettings> {
    let mut settings = ClientSettings {
        hosts: hosts(environment, Path::new(SYSTEM_DAEMON_JSON))?,
        credentials: credentials(environment),
        proxies: ProxySettings::from_variables(|name| environment.text(name).map(str::to_owned)),
        ..ClientSettings::default()
    };
    settings.extra_ca.extend(environment.path("SSL_CERT_FILE"));
    let own = environment.config_home().map(|home| home.join("containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    settings.hosts.certs_dirs = own.into_iter().chain(system).collect();
    Ok(settings)
}

/// Mirrors and insecure registries. `RBUILD_DAEMON_JSON` stands alone; without it a user's own file comes before
/// the machine's, so that the user's mirrors are asked first.
fn hosts(environment: &Environment, system: &Path) -> Result<HostSettings> {
    let mut hosts = HostSettings::default();
    if let Some(path) = environment.path("RBUILD_DAEMON_JSON") {
        let bytes = fs::read(&path).map_err(|error| {
            Failure::new(format!(
                "cannot read `{}`, which `RBUILD_DAEMON_JSON` names: {error}",
                path.display()
            ))
        })?;
        merge(&mut hosts, &path, &bytes)?;
        return Ok(hosts);
    }
    let own = environment.config_home().map(|home| home.join("rbuild/daemon.json"));
    for path in own.iter().map(PathBuf::as_path).chain([system]) {
        match fs::read(path) {
            Ok(bytes) => merge(&mut hosts, path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::new(format!("cannot read `{}`: {error}", path.display()))),
        }
    }
    Ok(hosts)
}

fn merge(hosts: &mut HostSettings, path: &Path, bytes: &[u8]) -> Result<()> {
    hosts
        .merge_daemon_json(bytes)
        .map_err(|error| Failure::new(format!("`{}` cannot be used: {}", path.display(), error.reason)))
}

/// Where credentials are looked for: what containers tools and Docker wrote, the nearest first.
fn credentials(environment: &Environment) -> CredentialSettings {
    let mut files = Vec::new();
    files.extend(environment.path("REGISTRY_AUTH_FILE"));
    files.extend(auth_file(environment));
    files.extend(environment.path("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json")));
    files.extend(environment.config_home().map(|home| home.join("containers/auth.json")));
    CredentialSettings {
        inline: environment.text("DOCKER_AUTH_CONFIG").map(str::to_owned),
        files,
        helper_path: environment.program_directories(),
        ..CredentialSettings::default()
    }
}

/// Docker's `config.json`, which `rbuild login` writes, so that both programs know the same registries.
pub(crate) fn auth_file(environment: &Environment) -> Option<PathBuf> {
    let directory = environment.path("DOCKER_CONFIG").or_else(|| Some(environment.home()?.join(".docker")));
    directory.map(|directory| directory.join("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_mirrors_come_first() {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().join("rbuild/daemon.json");
        let system = place.path().join("system.json");
        fs::create_dir(own.parent().unwrap()).unwrap();
        fs::write(&own, r#"{"registry-mirrors":["https://own.example"]}"#).unwrap();
        fs::write(&system, r#"{"registry-mirrors":["https://system.example"]}"#).unwrap();
        let config = place.path().to_str().unwrap();

        let environment = Environment::fake(false, &[("XDG_CONFIG_HOME", config)]);
        let names = |hosts: HostSettings| hosts.mirrors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let both = hosts(&environment, &system).unwrap();
        assert_eq!(names(both), ["https://own.example/", "https://system.example/"]);

        let path = system.to_str().unwrap();
        let environment =
            Environment::fake(false, &[("XDG_CONFIG_HOME", config), ("RBUILD_DAEMON_JSON", path)]);
        assert_eq!(names(hosts(&environment, &own).unwrap()), ["https://system.example/"]);
    }

    #[test]
    fn a_settings_file_that_cannot_be_used_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("daemon.json");
        let environment = Environment::fake(true, &[("RBUILD_DAEMON_JSON", path.to_str().unwrap())]);
        let missing = hosts(&environment, &path).unwrap_err().to_string();
        assert!(missing.contains("RBUILD_DAEMON_JSON"), "{missing}");
        fs::write(&path, "{").unwrap();
        let broken = hosts(&environment, &path).unwrap_err().to_string();
        assert!(broken.contains(path.to_str().unwrap()), "{broken}");
    }

    #[test]
    fn docker_and_rbuild_share_credentials() {
        let file = |variables| auth_file(&Environment::fake(false, variables));
        assert_eq!(file(&[("HOME", "/h")]).unwrap(), Path::new("/h/.docker/config.json"));
        assert_eq!(file(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]).unwrap(), Path::new("/d/config.json"));
    }
}

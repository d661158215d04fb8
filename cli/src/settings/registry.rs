//! Mirrors, insecure registries, credentials and proxies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use layer_store::Platform;
use registry_client::{
    ClientSettings, ConfigError, CredentialSettings, HostSettings, InvalidInsecureHost, ProxySettings,
    ResolvePolicy,
};

use super::Environment;
use crate::args::{GlobalArgs, ResolveArg};
use crate::failure::{Failure, Result};

/// All settings of the registry client.
pub(crate) fn client_settings(args: &GlobalArgs, environment: &Environment) -> Result<ClientSettings> {
    let mut settings = ClientSettings {
        hosts: hosts(args.registries.as_deref(), environment, Path::new("/etc"))?,
        credentials: credentials(environment),
        proxies: ProxySettings::from_variables(|name| environment.text(name).map(str::to_owned)),
        ..ClientSettings::default()
    };
    settings.hosts.resolve = resolve_policy(args, environment)?;
    settings.extra_ca.extend(environment.path("SSL_CERT_FILE"));
    settings.extra_ca.extend(args.cacert.iter().cloned());
    settings.client_certificate = args.cert.clone().zip(args.key.clone());
    for host in &args.insecure {
        let host = host.parse().map_err(|error: InvalidInsecureHost| Failure::usage(error.to_string()))?;
        settings.hosts.insecure.push(host);
    }
    let own = environment.config_home().map(|home| home.join("containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    settings.hosts.certs_dirs = own.into_iter().chain(system).collect();
    Ok(settings)
}

/// The platform that was asked for, or this machine's.
pub(crate) fn platform(text: Option<&str>) -> Result<Platform> {
    text.map_or_else(
        || Ok(Platform::host()),
        |text| {
            text.parse()
                .map_err(|error: layer_store::platform::InvalidPlatform| Failure::usage(error.to_string()))
        },
    )
}

fn resolve_policy(args: &GlobalArgs, environment: &Environment) -> Result<ResolvePolicy> {
    let variable = environment.text("RBUILD_RESOLVE").map(|text| {
        ResolveArg::from_str(text, false).map_err(|_| {
            Failure::usage(format!("`RBUILD_RESOLVE={text}` is none of `first`, `upstream` and `mirror`"))
        })
    });
    Ok(match args.resolve.map(Ok).or(variable).transpose()? {
        None | Some(ResolveArg::First) => ResolvePolicy::FirstAnswer,
        Some(ResolveArg::Upstream) => ResolvePolicy::Upstream,
        Some(ResolveArg::Mirror) => ResolvePolicy::Mirror,
    })
}

/// Mirrors and insecure registries, from all places where people already say them; `docs/mirrors.md` has the order.
/// `system` is `/etc`. `RBUILD_DAEMON_JSON` stands alone; without it a user's own file comes before the machine's, so
/// that the user's mirrors are asked first. `first` comes before all files: rules that a command line says.
fn hosts(first: Option<&str>, environment: &Environment, system: &Path) -> Result<HostSettings> {
    let mut hosts = HostSettings::default();
    if let Some(text) = first {
        hosts.merge_registries_toml(text, Path::new("/")).map_err(|error| {
            Failure::usage(format!("the options for registries cannot be used: {}", error.reason))
        })?;
    }
    let config_home = environment.config_home();
    let own = |name: &str| config_home.as_ref().map(|home| home.join(name));
    let pair = |name: &str| own(name).into_iter().chain([system.join(name)]).collect::<Vec<_>>();
    let daemon_json = environment.path("RBUILD_DAEMON_JSON");
    let registries = environment.path("RBUILD_REGISTRIES");
    let own_files = match &registries {
        Some(path) => vec![path.clone()],
        None if daemon_json.is_some() => Vec::new(),
        None => pair("rbuild/registries.toml"),
    };
    for path in &own_files {
        let Some(text) = text_of(path, registries.as_ref().map(|_| "RBUILD_REGISTRIES"))? else { continue };
        let directory = path.parent().unwrap_or(Path::new("/"));
        used(path, hosts.merge_registries_toml(&text, directory))?;
    }
    if let Some(path) = &daemon_json {
        let text = text_of(path, Some("RBUILD_DAEMON_JSON"))?.unwrap_or_default();
        used(path, hosts.merge_daemon_json(text.as_bytes()))?;
        return Ok(hosts);
    }
    for directory in pair("containerd/certs.d").into_iter().chain([system.join("docker/certs.d")]) {
        used(&directory, hosts.read_hosts_directory(&directory))?;
    }
    for path in registries_conf(environment, own("containers/registries.conf"), system) {
        if let Some(text) = text_of(&path, None)? {
            used(&path, hosts.merge_registries_conf(&text))?;
        }
    }
    for path in own("rbuild/daemon.json").into_iter().chain([system.join("docker/daemon.json")]) {
        if let Some(text) = text_of(&path, None)? {
            used(&path, hosts.merge_daemon_json(text.as_bytes()))?;
        }
    }
    Ok(hosts)
}

/// The files of containers-registries.conf(5): the variable's, or else the user's, or else the machine's with what lies
/// in its directory, in the order of names.
fn registries_conf(environment: &Environment, own: Option<PathBuf>, system: &Path) -> Vec<PathBuf> {
    if let Some(path) = environment.path("CONTAINERS_REGISTRIES_CONF") {
        return vec![path];
    }
    if let Some(own) = own.filter(|path| path.exists()) {
        return vec![own];
    }
    let directory = fs::read_dir(system.join("containers/registries.conf.d"));
    let mut more: Vec<PathBuf> =
        directory.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    more.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    more.sort();
    std::iter::once(system.join("containers/registries.conf")).chain(more).collect()
}

/// The text of a settings file. One that is not there says nothing, unless a variable names it.
fn text_of(path: &Path, variable: Option<&str>) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && variable.is_none() => Ok(None),
        Err(error) => {
            let named = variable.map(|name| format!(", which `{name}` names")).unwrap_or_default();
            Err(Failure::new(format!("cannot read `{}`{named}: {error}", path.display())))
        }
    }
}

fn used(path: &Path, result: std::result::Result<(), ConfigError>) -> Result<()> {
    result.map_err(|error| Failure::new(format!("`{}` cannot be used: {}", path.display(), error.reason)))
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

/// The file that `rbuild login` writes: the one that `REGISTRY_AUTH_FILE` names, which is asked before all others, or
/// Docker's, so that both programs know the same registries.
pub(crate) fn login_file(environment: &Environment) -> Option<PathBuf> {
    environment.path("REGISTRY_AUTH_FILE").or_else(|| auth_file(environment))
}

/// Docker's `config.json`.
fn auth_file(environment: &Environment) -> Option<PathBuf> {
    let directory = environment.path("DOCKER_CONFIG").or_else(|| Some(environment.home()?.join(".docker")));
    directory.map(|directory| directory.join("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below a new directory whose `etc` is the machine's and `home` the user's; the hosts that they make.
    fn of(files: &[(&str, &str)], variables: &[(&str, &str)]) -> (tempfile::TempDir, Result<HostSettings>) {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let home = place.path().join("home").to_str().unwrap().to_owned();
        let mut all = vec![("XDG_CONFIG_HOME", home.clone())];
        all.extend(
            variables.iter().map(|(name, value)| (*name, value.replace("@", place.path().to_str().unwrap()))),
        );
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let hosts = hosts(None, &Environment::fake(false, &all), &place.path().join("etc"));
        (place, hosts)
    }

    fn endpoints(hosts: &HostSettings, name: &str) -> Vec<String> {
        hosts.endpoints(&name.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_users_mirrors_come_first() {
        let files = [
            ("home/rbuild/daemon.json", r#"{"registry-mirrors":["https://own.example"]}"#),
            ("etc/docker/daemon.json", r#"{"registry-mirrors":["https://system.example"]}"#),
        ];
        let (_place, both) = of(&files, &[]);
        assert_eq!(
            endpoints(&both.unwrap(), "debian"),
            [
                "own.example/library/debian",
                "system.example/library/debian",
                "registry-1.docker.io/library/debian"
            ]
        );
        let (_place, alone) = of(&files, &[("RBUILD_DAEMON_JSON", "@/etc/docker/daemon.json")]);
        assert_eq!(
            endpoints(&alone.unwrap(), "debian"),
            ["system.example/library/debian", "registry-1.docker.io/library/debian"]
        );
    }

    #[test]
    fn formats_have_an_order() {
        let toml =
            "[[registry]]\nprefix = \"a.example\"\n[[registry.mirror]]\nurl = \"https://own.example\"\n";
        let conf =
            "[[registry]]\nlocation = \"c.example\"\n[[registry.mirror]]\nlocation = \"conf.example\"\n";
        let files = [
            ("home/rbuild/registries.toml", toml),
            ("etc/containerd/certs.d/a.example/hosts.toml", "[host.\"https://hosts.example\"]"),
            ("etc/containerd/certs.d/b.example/hosts.toml", "[host.\"https://hosts.example\"]"),
            ("etc/containers/registries.conf.d/10-x.conf", conf),
            ("etc/docker/daemon.json", r#"{"registry-mirrors":["https://json.example"]}"#),
        ];
        let (_place, all) = of(&files, &[]);
        let all = all.unwrap();
        assert_eq!(endpoints(&all, "a.example/x"), ["own.example/x", "a.example/x"]);
        assert_eq!(endpoints(&all, "b.example/x"), ["hosts.example/x", "b.example/x"]);
        assert_eq!(endpoints(&all, "c.example/x"), ["conf.example/x", "c.example/x"]);
        assert_eq!(endpoints(&all, "x/y"), ["json.example/x/y", "registry-1.docker.io/x/y"]);
        let variables = [
            ("RBUILD_REGISTRIES", "@/home/rbuild/registries.toml"),
            ("RBUILD_DAEMON_JSON", "@/etc/docker/daemon.json"),
        ];
        let (_place, named) = of(&files, &variables);
        let named = named.unwrap();
        assert_eq!(endpoints(&named, "a.example/x"), ["own.example/x", "a.example/x"]);
        assert_eq!(endpoints(&named, "c.example/x"), ["c.example/x"]);
    }

    #[test]
    fn the_option_comes_before_the_variable() {
        let policy = |option, variable: &[(&str, &str)]| {
            let args = GlobalArgs { resolve: option, ..GlobalArgs::default() };
            resolve_policy(&args, &Environment::fake(false, variable))
        };
        let variable = [("RBUILD_RESOLVE", "mirror")];
        assert_eq!(policy(None, &[]).unwrap(), ResolvePolicy::FirstAnswer);
        assert_eq!(policy(None, &variable).unwrap(), ResolvePolicy::Mirror);
        assert_eq!(policy(Some(ResolveArg::Upstream), &variable).unwrap(), ResolvePolicy::Upstream);
        assert!(policy(None, &[("RBUILD_RESOLVE", "x")]).is_err());
    }

    #[test]
    fn a_settings_file_that_cannot_be_used_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("daemon.json");
        let environment = Environment::fake(true, &[("RBUILD_DAEMON_JSON", path.to_str().unwrap())]);
        let missing = hosts(None, &environment, &path).unwrap_err().to_string();
        assert!(missing.contains("RBUILD_DAEMON_JSON"), "{missing}");
        fs::write(&path, "{").unwrap();
        let broken = hosts(None, &environment, &path).unwrap_err().to_string();
        assert!(broken.contains(path.to_str().unwrap()), "{broken}");
    }

    #[test]
    fn docker_and_rbuild_share_credentials() {
        let file = |variables| auth_file(&Environment::fake(false, variables));
        assert_eq!(file(&[("HOME", "/h")]).unwrap(), Path::new("/h/.docker/config.json"));
        assert_eq!(file(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]).unwrap(), Path::new("/d/config.json"));
        let login = |variables| login_file(&Environment::fake(false, variables));
        assert_eq!(login(&[("HOME", "/h")]).unwrap(), Path::new("/h/.docker/config.json"));
        let named = [("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json")];
        assert_eq!(login(&named).unwrap(), Path::new("/a.json"));
    }
}

//! The recipes of `docs/ci`, each in the container that its service gives a job.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::Path;

use tempfile::TempDir;
use xtask::container::{self, Environment};
use xtask::registry::{PASSWORD, Registry, USER};

use crate::lab::{Lab, as_caller, binary, peer};

/// A job's directory, `/work` in its container.
fn job(lab: &Lab, environment: &Environment) -> TempDir {
    let work = TempDir::with_prefix("rbuild-ci-").unwrap();
    let place = work.path();
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.join("Dockerfile"), "FROM busybox:1\nRUN echo made > /built\nCOPY file /\n").unwrap();
    fs::write(place.join("file"), "x").unwrap();
    fs::copy(lab.path("daemon.json"), place.join("daemon.json")).unwrap();
    fs::copy(binary(), place.join("rbuild")).unwrap();
    fs::create_dir(place.join("docker")).unwrap();
    for path in ["", "docker"] {
        lchown(place.join(path), Some(environment.owner()), Some(environment.owner())).unwrap();
    }
    work
}

/// The variables that the services set, for an image of this registry.
fn variables(registry: &str) -> Vec<(&'static str, String)> {
    let image = format!("{registry}/team/app");
    let text = |text: &str| text.to_owned();
    vec![
        ("RBUILD_DAEMON_JSON", text("/work/daemon.json")),
        ("RBUILD_ROOT", text("/work/store")),
        ("CI_REGISTRY", text(registry)),
        ("CI_REGISTRY_USER", text(USER)),
        ("CI_REGISTRY_PASSWORD", text(PASSWORD)),
        ("CI_REGISTRY_IMAGE", image.clone()),
        ("CI_COMMIT_SHORT_SHA", text("0123abcd")),
        ("CI_COMMIT_BRANCH", text("main")),
        ("CI_DEFAULT_BRANCH", text("main")),
        ("REGISTRY", text(registry)),
        ("GITHUB_REPOSITORY", text("Team/App")),
        ("GITHUB_SHA", text("0123abcd")),
        ("GITHUB_ACTOR", text(USER)),
        ("GITHUB_TOKEN", text(PASSWORD)),
        ("DOCKER_CONFIG", text("/work/docker")),
        ("IMAGE", image),
        ("REVISION", text("0123abcd")),
        ("REGISTRY_USER", text(USER)),
        ("REGISTRY_PASSWORD", text(PASSWORD)),
        ("WORKSPACE", text("/work")),
        ("JOB_NAME", text("team/app")),
        ("BUILD_NUMBER", text("0123abcd")),
    ]
}

/// The environments that a script says it is for.
fn environments(script: &str) -> Vec<Environment> {
    let line = script.lines().find_map(|line| line.strip_prefix("# environments: ")).unwrap();
    let all = container::environments().unwrap();
    let named = |name: &str| all.iter().find(|one| one.name == name).cloned();
    line.split(", ").map(|name| named(name).unwrap_or_else(|| panic!("no environment `{name}`"))).collect()
}

fn run_recipe(lab: &Lab, path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let script = fs::read_to_string(path).unwrap();
    for environment in environments(&script) {
        let private = Registry::start_with_password().unwrap();
        let work = job(lab, &environment);
        fs::write(work.path().join("script"), &script).unwrap();
        // A mounted secret; recipes that log in write the file themselves.
        if name == "kubernetes.sh" {
            let login = ["login", "-u", USER, "-p", PASSWORD, private.address()];
            let mut command = lab.command(&login);
            assert!(command.env("DOCKER_CONFIG", work.path().join("docker")).status().unwrap().success());
            let file = work.path().join("docker/config.json");
            lchown(file, Some(environment.owner()), Some(environment.owner())).unwrap();
        }
        let variables = variables(private.address());
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let output = environment.run(work.path(), &variables, &["/bin/sh", "script"]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} in `{}`: {}\n{said}", environment.name, output.status);
        let image = format!("docker://{}/team/app:0123abcd", private.address());
        let login = format!("--creds={USER}:{PASSWORD}");
        let layers = "--format={{len .Layers}}";
        let count = peer("skopeo", &["inspect", "--tls-verify=false", &login, layers, &image]);
        assert_eq!(count.trim(), "3", "{name} in `{}`:\n{said}", environment.name);
        if script.contains("--cache-from") {
            // Another machine finds everything in the shared cache.
            let clean = variables.iter().copied().filter(|(name, _)| *name != "RBUILD_ROOT");
            let clean: Vec<_> = clean.chain([("RBUILD_ROOT", "/work/other")]).collect();
            let output = environment.run(work.path(), &clean, &["/bin/sh", "script"]).unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains(": nothing to do, "), "{name}:\n{said}");
        }
    }
}

#[test]
fn recipes_work_where_they_are_for() {
    as_caller(&["runc", "root", "skopeo"], |lab| {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci");
        let mut scripts: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
        scripts.sort();
        assert_eq!(scripts.len(), 4, "{scripts:?}");
        for script in scripts {
            run_recipe(lab, &script);
        }
    });
}

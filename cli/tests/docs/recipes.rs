//! What stands around the scripts of `docs/ci` in `docs/ci.md`: well-formed, of the shape that the service asks for, with
//! scripts that exist and the variables that they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::blocks;
use crate::yaml;

type Checked = Result<(), String>;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci")
}

/// The scripts that a text names, by their file names.
fn scripts(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    words.filter(|word| word.ends_with(".sh")).map(str::to_owned).collect()
}

/// The variables without which a script ends: `set -u` holds, and there is no `${NAME:-…}`.
fn needed(script: &str) -> BTreeSet<String> {
    let code = script.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let set: BTreeSet<String> = code
        .lines()
        .filter_map(|line| line.trim_start().trim_start_matches("export ").split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut names = BTreeSet::new();
    for rest in code.split('$').skip(1) {
        let (rest, ends) = rest.strip_prefix('{').map_or((rest, ""), |rest| (rest, "}"));
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        if !name.is_empty() && rest.starts_with(ends) && !set.contains(name) {
            names.insert(name.to_owned());
        }
    }
    names
}

fn map<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().filter(|map| !map.is_empty()).ok_or_else(|| format!("{what} is no map with fields"))
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], String> {
    value
        .as_array()
        .filter(|list| !list.is_empty())
        .map(Vec::as_slice)
        .ok_or_else(|| format!("{what} is no list"))
}

fn text<'a>(value: &'a Value, what: &str) -> Result<&'a str, String> {
    value.as_str().filter(|text| !text.is_empty()).ok_or_else(|| format!("{what} is no text: {value}"))
}

/// That a map has no field but these.
fn only(map: &Map<String, Value>, known: &[&str], what: &str) -> Checked {
    match map.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{what} has no `{name}`")),
        None => Ok(()),
    }
}

fn one_of(value: &Value, known: &[&str], what: &str) -> Checked {
    let text = text(value, what)?;
    if known.contains(&text) { Ok(()) } else { Err(format!("{what} cannot be `{text}`")) }
}

/// A pipeline of GitLab: jobs with an image and a script. The names of the jobs are free.
fn gitlab(pipeline: &Value) -> Result<BTreeSet<String>, String> {
    for (name, job) in map(pipeline, "the pipeline")? {
        let job = map(job, name)?;
        only(
            job,
            &["artifacts", "cache", "image", "needs", "rules", "script", "stage", "tags", "variables"],
            name,
        )?;
        text(job.get("image").unwrap_or(&Value::Null), "image")?;
        for line in list(job.get("script").unwrap_or(&Value::Null), "script")? {
            text(line, "a line of the script")?;
        }
    }
    Ok(BTreeSet::new())
}

/// A workflow of GitHub: `on`, and jobs with a runner and steps, each of which runs or uses something.
fn github(workflow: &Value) -> Result<BTreeSet<String>, String> {
    let top = map(workflow, "the workflow")?;
    only(top, &["env", "jobs", "name", "on", "permissions"], "a workflow")?;
    let on = top.get("on").ok_or("a workflow needs `on`")?;
    one_of(on, &["push", "pull_request", "workflow_dispatch"], "on")?;
    let mut variables = BTreeSet::new();
    for (name, job) in map(&workflow["jobs"], "jobs")? {
        let fields = map(job, name)?;
        only(fields, &["container", "env", "if", "needs", "permissions", "runs-on", "steps"], name)?;
        text(&job["runs-on"], "runs-on")?;
        text(&job["container"], "container")?;
        for (scope, access) in map(&job["permissions"], "permissions")? {
            let scopes = ["contents", "packages", "security-events"];
            one_of(&Value::from(scope.as_str()), &scopes, "a permission")?;
            one_of(access, &["read", "write", "none"], scope)?;
        }
        for (name, value) in map(&job["env"], "env")? {
            let value = text(value, name)?;
            if value.matches("${{").count() != value.matches("}}").count() {
                return Err(format!("an expression of `{name}` has no end"));
            }
            variables.insert(name.clone());
        }
        let steps = list(&job["steps"], "steps")?;
        let commands: String = steps.iter().filter_map(|step| step["run"].as_str()).collect();
        for step in steps {
            let fields = map(step, "a step")?;
            only(fields, &["env", "id", "if", "name", "run", "uses", "with"], "a step")?;
            match (&step["uses"], &step["run"]) {
                (Value::String(action), Value::Null) => {
                    let (name, version) = action.split_once('@').ok_or("an action has no version")?;
                    if !name.contains('/') || version.is_empty() {
                        return Err(format!("`{action}` is no action"));
                    }
                }
                (Value::Null, Value::String(_)) if !fields.contains_key("with") => {}
                _ => return Err(format!("a step either runs or uses something: {step}")),
            }
            // What is sent somewhere is what a script wrote.
            for file in ["sarif_file", "path"].iter().filter_map(|input| step["with"][input].as_str()) {
                let writes = |name: &String| {
                    fs::read_to_string(directory().join(name)).is_ok_and(|text| text.contains(file))
                };
                if !scripts(&commands).iter().any(writes) {
                    return Err(format!("no script writes `{file}`"));
                }
            }
        }
    }
    Ok(variables)
}

/// A pod of Kubernetes: containers with name and image, whose mounts are of volumes that there are.
fn kubernetes(pod: &Value) -> Result<BTreeSet<String>, String> {
    one_of(&pod["apiVersion"], &["v1"], "apiVersion")?;
    one_of(&pod["kind"], &["Pod"], "kind")?;
    text(&pod["metadata"]["name"], "the name")?;
    let spec = map(&pod["spec"], "spec")?;
    only(spec, &["containers", "hostUsers", "restartPolicy", "volumes"], "spec")?;
    one_of(&pod["spec"]["restartPolicy"], &["Always", "OnFailure", "Never"], "restartPolicy")?;
    if !pod["spec"]["hostUsers"].is_boolean() {
        return Err("hostUsers is a boolean".to_owned());
    }
    let mut volumes = BTreeSet::new();
    for volume in list(&pod["spec"]["volumes"], "volumes")? {
        volumes.insert(text(&volume["name"], "the name of a volume")?);
        let fields = map(volume, "a volume")?;
        only(fields, &["configMap", "emptyDir", "name", "persistentVolumeClaim", "secret"], "a volume")?;
        if fields.len() != 2 {
            return Err(format!("a volume has one source: {volume}"));
        }
    }
    let mut variables = BTreeSet::new();
    for container in list(&pod["spec"]["containers"], "containers")? {
        let known = ["command", "env", "image", "name", "securityContext", "volumeMounts", "workingDir"];
        only(map(container, "a container")?, &known, "a container")?;
        text(&container["name"], "the name of a container")?;
        text(&container["image"], "its image")?;
        for word in list(&container["command"], "command")? {
            text(word, "a word of the command")?;
        }
        let profile = &container["securityContext"]["seccompProfile"]["type"];
        one_of(profile, &["RuntimeDefault", "Unconfined", "Localhost"], "the type of a seccomp profile")?;
        for variable in list(&container["env"], "env")? {
            variables.insert(text(&variable["name"], "the name of a variable")?.to_owned());
            text(&variable["value"], "the value of a variable")?;
        }
        for mount in list(&container["volumeMounts"], "volumeMounts")? {
            let name = text(&mount["name"], "the name of a mount")?;
            if !volumes.contains(name) || !text(&mount["mountPath"], "mountPath")?.starts_with('/') {
                return Err(format!("nothing can be mounted by {mount}"));
            }
        }
    }
    Ok(variables)
}

/// What is wrong with a block of the page, in the words of its service.
fn check(word: &str, block: &str) -> Checked {
    let named = scripts(block);
    let mut given = match word {
        "yaml" => {
            let value = yaml::parse(block)?;
            match (value.get("jobs"), value.get("apiVersion")) {
                (Some(_), _) => github(&value)?,
                (_, Some(_)) => kubernetes(&value)?,
                _ => gitlab(&value)?,
            }
        }
        "groovy" => {
            let words = block.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        _ => return Ok(()),
    };
    // Set by the services themselves.
    let own = ["GITHUB_ACTOR", "GITHUB_REPOSITORY", "GITHUB_SHA", "WORKSPACE", "JOB_NAME", "BUILD_NUMBER"];
    given.extend(own.map(str::to_owned));
    if named.is_empty() {
        return Err("no script is named".to_owned());
    }
    for name in named {
        let script =
            fs::read_to_string(directory().join(&name)).map_err(|error| format!("{name}: {error}"))?;
        let missing =
            needed(&script).into_iter().find(|name| !given.contains(name) && !name.starts_with("CI_"));
        if let Some(missing) = missing {
            return Err(format!("{name} needs `{missing}`, which nothing sets"));
        }
    }
    Ok(())
}

#[test]
fn recipes_have_the_form_that_their_services_ask_for() {
    let blocks = blocks("ci.md");
    let mut told = BTreeSet::new();
    for (word, block) in &blocks {
        check(word, block).unwrap_or_else(|error| panic!("docs/ci.md: {error}\n{block}"));
        told.extend(scripts(block));
    }
    let entries =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(told, entries.collect::<BTreeSet<_>>(), "every script has its block");
    assert_eq!(blocks.iter().filter(|(word, _)| word == "yaml").count(), 3);
}

#[test]
fn a_mistake_in_a_recipe_is_seen() {
    let whole: Vec<(String, String)> = blocks("ci.md");
    for (from, to) in [
        ("\nbuild:\n  image:", "\nbuild:\n image"),
        ("  script:\n    -", "  skript:\n    -"),
        ("docs/ci/gitlab.sh", "docs/ci/gitlap.sh"),
        ("on: push\n", ""),
        ("    runs-on: ubuntu-24.04\n", ""),
        ("      - run: sh", "      - name: sh"),
        ("packages: write", "package: write"),
        ("rbuild.sarif", "other.sarif"),
        ("GITHUB_TOKEN: \"", "TOKEN: \""),
        ("name: IMAGE,", "name: IMG,"),
        ("value: 0123abcd", "value: 1"),
        ("name: workspace, mountPath", "name: works, mountPath"),
        ("kind: Pod", "kind: Pood"),
        ("  restartPolicy: Never\n", "  restartPolicy: Never\n  restartPolicy: Never\n"),
        ("'REGISTRY_PASSWORD'", "'REGISTRY_PASS'"),
    ] {
        let changed = whole.iter().filter_map(|(word, block)| {
            let block = format!("\n{block}");
            block.contains(from).then(|| (word, block.replacen(from, to, 1)))
        });
        let changed: Vec<_> = changed.collect();
        assert!(!changed.is_empty(), "no block has `{from}`");
        assert!(changed.iter().any(|(word, block)| check(word, block).is_err()), "`{to}` is not seen");
    }
}

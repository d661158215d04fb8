//! From the arguments of a bake to the builds that it is.

mod definition;
mod files;

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) use definition::{Definition, Fetched};
pub(crate) use files::{credentials, remote_address, remote_names};

use super::Environment;
use crate::args::bake::BakeArgs;
use crate::args::build::BuildArgs;
use crate::bake::target::Target;
use crate::bake::{entries, paths};
use crate::failure::{Failure, Result};
use crate::place;

/// The build of a target. Its contexts that are other targets are left out: they are put in when those are built.
pub(crate) fn build(target: &Target, args: &BakeArgs, environment: &Environment) -> Result<BuildArgs> {
    refuse(target)?;
    let context = target.context.clone().unwrap_or_else(|| ".".to_owned());
    let outputs = if target.linked { Vec::new() } else { outputs(target) };
    let leaves = outputs.iter().any(|output| !output.starts_with("type=cacheonly"));
    let pairs =
        |all: &BTreeMap<String, String>| all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut allow = args.allow.clone();
    // Bake files may name whatever this user may read.
    allow.retain(|one| !one.starts_with("fs") && !one.starts_with("ssh"));
    for entitlement in &target.entitlements {
        if !allow.contains(entitlement) {
            return Err(at(
                target,
                "entitlements",
                Failure::new(format!("the target `{}` asks for `{entitlement}`", target.name)),
            )
            .hint(format!("`--allow {entitlement}` grants it")));
        }
    }
    let hosts = target
        .extra_hosts
        .iter()
        .flat_map(|(name, addresses)| addresses.split(',').map(move |address| format!("{name}={address}")));
    let build = BuildArgs {
        file: target.dockerfile_inline.is_none().then(|| dockerfile(target, &context)),
        inline: target.dockerfile_inline.clone(),
        build_context: contexts(target),
        context,
        tag: if target.linked { Vec::new() } else { target.tags.clone().unwrap_or_default() },
        build_arg: pairs(&target.args),
        target: target.target.iter().cloned().collect(),
        platform: target.platforms.clone().unwrap_or_default(),
        label: pairs(&target.labels),
        // They belong to manifests, and without an output there is none.
        annotation: if leaves { target.annotations.clone() } else { Vec::new() },
        attest: target.attest.iter().map(entries::written).collect(),
        no_cache: target.no_cache == Some(true),
        no_cache_filter: target.no_cache_filter.clone(),
        cache_from: target.cache_from.iter().map(entries::written).collect(),
        cache_to: target.cache_to.iter().flatten().map(entries::written).collect(),
        pull: (target.pull == Some(true)).then(|| "always".to_owned()),
        output: outputs,
        network: target.network.clone(),
        sandbox: crate::args::build::SandboxArgs {
            add_host: hosts.collect(),
            shm_size: target.shm_size.clone(),
            ulimit: target.ulimits.clone(),
            ..Default::default()
        },
        secret: target.secrets.iter().map(secret).collect(),
        ssh: target.ssh.iter().map(agent).collect(),
        allow,
        jobs: args.jobs,
        progress: args.progress,
        quiet: args.quiet,
        ..BuildArgs::default()
    };
    // Asked for here, so that what is wrong in a file is said of the file and before anything is built.
    if let Err(failure) = super::request(&build, environment) {
        return Err(blame(target, &build, environment, failure));
    }
    Ok(build)
}

/// What a target asks for and is not done.
fn refuse(target: &Target) -> Result<()> {
    let refused = |field: &'static str, reason: &str| {
        at(
            target,
            field,
            Failure::usage(format!("`{field}` of the target `{}` is not supported: {reason}", target.name)),
        )
    };
    if target.policy.is_some() {
        return Err(refused(
            "policy",
            "policies are not evaluated; check the Dockerfile with `rbuild bake --check`",
        ));
    }
    if target.resources.is_some() {
        return Err(refused(
            "resources",
            "limit the whole with a control group, or build the target with `rbuild build --memory`",
        ));
    }
    Ok(())
}

/// A failure with the place of the field that it is about.
fn at(target: &Target, field: &str, failure: Failure) -> Failure {
    match target.places.get(field) {
        Some((source, span)) => failure.detail(place::show(source, *span)),
        None => failure,
    }
}

/// The failure of a whole build, with the place of the field that fails alone too.
fn blame(target: &Target, build: &BuildArgs, environment: &Environment, failure: Failure) -> Failure {
    let alone = || BuildArgs {
        context: ".".to_owned(),
        inline: Some("FROM scratch\n".to_owned()),
        ..Default::default()
    };
    let sandbox = |change: fn(&mut crate::args::build::SandboxArgs, &BuildArgs)| {
        let mut one = alone();
        change(&mut one.sandbox, build);
        one
    };
    let fields: [(&str, BuildArgs); 14] = [
        ("attest", BuildArgs { attest: build.attest.clone(), ..alone() }),
        ("tags", BuildArgs { tag: build.tag.clone(), ..alone() }),
        ("platforms", BuildArgs { platform: build.platform.clone(), ..alone() }),
        ("cache-from", BuildArgs { cache_from: build.cache_from.clone(), ..alone() }),
        ("cache-to", BuildArgs { cache_to: build.cache_to.clone(), ..alone() }),
        ("output", BuildArgs { output: build.output.clone(), tag: vec!["name".to_owned()], ..alone() }),
        ("network", BuildArgs { network: build.network.clone(), ..alone() }),
        ("secret", BuildArgs { secret: build.secret.clone(), ..alone() }),
        ("ssh", BuildArgs { ssh: build.ssh.clone(), ..alone() }),
        ("entitlements", BuildArgs { allow: build.allow.clone(), ..alone() }),
        ("contexts", BuildArgs { build_context: build.build_context.clone(), ..alone() }),
        ("extra-hosts", sandbox(|one, build| one.add_host.clone_from(&build.sandbox.add_host))),
        ("shm-size", sandbox(|one, build| one.shm_size.clone_from(&build.sandbox.shm_size))),
        ("ulimits", sandbox(|one, build| one.ulimit.clone_from(&build.sandbox.ulimit))),
    ];
    let field =
        fields.iter().find(|(_, one)| super::request(one, environment).is_err()).map(|(field, _)| *field);
    let field = field.unwrap_or(if Path::new(&build.context).is_dir() { "dockerfile" } else { "context" });
    at(target, field, failure).note(format!("it is the target `{}`", target.name))
}

/// The path of the Dockerfile: inside the context, unless it says otherwise.
fn dockerfile(target: &Target, context: &str) -> String {
    let path = target.dockerfile.clone().unwrap_or_else(|| "Dockerfile".to_owned());
    if let Some(here) = path.strip_prefix("cwd://") {
        return paths::clean(here);
    }
    if paths::is_remote(context) || paths::is_remote(&path) { path } else { paths::join(context, &path) }
}

/// The further contexts that are no targets.
fn contexts(target: &Target) -> Vec<String> {
    let others = target.contexts.iter().filter(|(_, place)| !place.starts_with("target:"));
    others.map(|(name, place)| format!("{name}={}", place.strip_prefix("cwd://").unwrap_or(place))).collect()
}

/// The outputs, without those that put an image where it is anyway.
fn outputs(target: &Target) -> Vec<String> {
    let loads = |entry: &&entries::Entry| {
        entry.get("type").map(String::as_str) == Some("docker") && !entry.contains_key("dest")
    };
    target.outputs.iter().flatten().filter(|entry| !loads(entry)).map(entries::written).collect()
}

fn secret(secret: &entries::Secret) -> String {
    let fields = [("id", &secret.id), ("src", &secret.src), ("env", &secret.env)];
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    fields.map(|(key, value)| crate::csv::field(&format!("{key}={value}"))).collect::<Vec<_>>().join(",")
}

fn agent(ssh: &entries::Ssh) -> String {
    if ssh.paths.is_empty() { ssh.id.clone() } else { format!("{}={}", ssh.id, ssh.paths.join(",")) }
}

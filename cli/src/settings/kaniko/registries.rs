//! Mirrors, certificates and insecure registries of kaniko's command line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use registry_client::Reference;

use super::super::Environment;
use crate::args::GlobalArgs;
use crate::args::kaniko::{KanikoArgs, boolean};
use crate::failure::{Failure, Result};

/// Docker Hub under the names that people write.
const HUB: &str = "docker.io";

/// What is said of one registry.
#[derive(Default)]
struct Rule {
    mirrors: Vec<String>,
    authorities: Vec<String>,
    client: Option<(String, String)>,
}

/// The options of the whole program with those of kaniko that belong there.
pub(super) fn with(
    args: &KanikoArgs,
    global: &GlobalArgs,
    destinations: &[Reference],
    environment: &Environment,
) -> Result<GlobalArgs> {
    let mut global = GlobalArgs { insecure: Vec::new(), ..global.clone() };
    let mut push = args.skip_tls_verify == Some(true);
    for text in &args.insecure {
        match boolean(text) {
            Ok(on) => push |= on,
            // In front of the command it is an option of the whole program, with a host.
            Err(_) => global.insecure.push(text.clone()),
        }
    }
    if push {
        global.insecure.extend(destinations.iter().map(|one| one.domain().to_owned()));
        let cache = args.cache_repo.as_deref().and_then(|name| Reference::parse(name).ok());
        global.insecure.extend(cache.map(|cache| cache.domain().to_owned()));
    }
    if args.insecure_pull == Some(true) || args.skip_tls_verify_pull == Some(true) {
        global.insecure.push("*".to_owned());
    }
    global.insecure.extend(args.insecure_registry.iter().chain(&args.skip_tls_verify_registry).cloned());
    let rules = rules(args, environment)?;
    if !rules.is_empty() {
        global.registries = Some(toml(&rules, args));
    }
    Ok(global)
}

fn rules(args: &KanikoArgs, environment: &Environment) -> Result<BTreeMap<String, Rule>> {
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    let variable = |name: &str| environment.text(name).map(str::to_owned);
    for map in args.registry_map.iter().cloned().chain(variable("KANIKO_REGISTRY_MAP")) {
        for pair in map.split(';').filter(|pair| !pair.is_empty()) {
            let (registry, mirror) = split("--registry-map", pair, "REGISTRY=MIRROR")?;
            rules.entry(host(registry)).or_default().mirrors.push(mirror.to_owned());
        }
    }
    for mirror in args.registry_mirror.iter().cloned().chain(variable("KANIKO_REGISTRY_MIRROR")) {
        rules.entry(HUB.to_owned()).or_default().mirrors.push(mirror);
    }
    for text in &args.registry_certificate {
        let (registry, path) = split("--registry-certificate", text, "HOST=FILE")?;
        rules.entry(host(registry)).or_default().authorities.push(absolute(path)?);
    }
    for text in &args.registry_client_cert {
        let form = "HOST=CERT,KEY";
        let (registry, paths) = split("--registry-client-cert", text, form)?;
        let (certificate, key) =
            paths.split_once(',').ok_or_else(|| wrong("--registry-client-cert", text, form))?;
        rules.entry(host(registry)).or_default().client = Some((absolute(certificate)?, absolute(key)?));
    }
    Ok(rules)
}

fn split<'a>(option: &str, text: &'a str, form: &str) -> Result<(&'a str, &'a str)> {
    text.split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| wrong(option, text, form))
}

fn wrong(option: &str, text: &str, form: &str) -> Failure {
    Failure::usage(format!("`{option} {text}` is not of the form {form}"))
}

fn host(name: &str) -> String {
    let hub = ["index.docker.io", "registry-1.docker.io"];
    if hub.contains(&name) { HUB.to_owned() } else { name.to_owned() }
}

fn absolute(path: &str) -> Result<String> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::new(format!("the certificate `{path}` cannot be used: {error}")))?;
    Ok(absolute.display().to_string())
}

/// The rules as a `registries.toml`.
fn toml(rules: &BTreeMap<String, Rule>, args: &KanikoArgs) -> String {
    let mut text = String::new();
    for (prefix, rule) in rules {
        let _ = writeln!(text, "[[registry]]\nprefix = {}", quoted(prefix));
        if args.skip_default_registry_fallback == Some(true) && !rule.mirrors.is_empty() {
            text += "resolve = \"mirror\"\n";
        }
        let mut upstream = Vec::new();
        if !rule.authorities.is_empty() {
            let paths: Vec<String> = rule.authorities.iter().map(|path| quoted(path)).collect();
            upstream.push(format!("ca = [{}]", paths.join(", ")));
        }
        if let Some((certificate, key)) = &rule.client {
            upstream.push(format!("client-certificate = {}", quoted(certificate)));
            upstream.push(format!("client-key = {}", quoted(key)));
        }
        if !upstream.is_empty() {
            let _ = writeln!(text, "upstream = {{ {} }}", upstream.join(", "));
        }
        for mirror in &rule.mirrors {
            text += &mirror_table(mirror, args);
        }
    }
    text
}

/// A mirror without a scheme is asked by plain http where kaniko would: where it is said to be insecure, or is this
/// machine.
fn mirror_table(mirror: &str, args: &KanikoArgs) -> String {
    let (scheme, rest) = match mirror.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, mirror),
    };
    let (host, path) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let here = ["localhost", "[::1]"].contains(&name) || name.starts_with("127.");
    let plain =
        here || args.insecure_pull == Some(true) || args.insecure_registry.iter().any(|one| one == host);
    let scheme = scheme.unwrap_or(if plain { "http" } else { "https" });
    let repository =
        if path.is_empty() { "{repository}".to_owned() } else { format!("{path}/{{repository}}") };
    let (url, repository) = (quoted(&format!("{scheme}://{host}")), quoted(&repository));
    format!("[[registry.mirror]]\nurl = {url}\nrepository = {repository}\n")
}

/// A TOML string: the escapes of JSON are among its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

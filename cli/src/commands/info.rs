//! `rbuild info`

use std::fmt::Display;
use std::thread::available_parallelism;

use builder::sandbox::Rung;
use layer_store::Platform;
use registry_client::ClientSettings;
use serde_json::{Value, json};

use super::{Context, doctor, print};
use crate::args::store::InfoArgs;
use crate::failure::Result;
use crate::template::Template;
use crate::{builds, catalog, settings, size};

/// Says what there is: the program, the store, the machine and the settings that commands would use.
pub(super) async fn run(context: &Context, args: &InfoArgs) -> Result<()> {
    let value = facts(context).await?;
    match args.format.as_deref() {
        None => print(&text(&value)),
        Some("json") => print(&format!("{value}\n")),
        Some(format) => print(&format!("{}\n", Template::parse(format)?.fill(&value)?)),
    }
}

/// Docker's field names, where it has the field.
async fn facts(context: &Context) -> Result<Value> {
    let store = context.store()?;
    let diagnosis = doctor::diagnose(&store).await;
    let client = settings::client_settings(&context.global, &context.environment)?;
    let machine = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    Ok(json!({
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Isolation": diagnosis.chosen.map_or("none", Rung::name),
        "Rootless": !context.environment.root_user,
        "DockerRootDir": store.root(),
        "Images": catalog::all(&store)?.len(),
        "Builds": builds::all(store.root()).len(),
        "Name": machine.nodename().to_string_lossy(),
        "OperatingSystem": operating_system(),
        "KernelVersion": machine.release().to_string_lossy(),
        "OSType": "linux",
        "Architecture": machine.machine().to_string_lossy(),
        "Platform": Platform::host().to_string(),
        "NCPU": available_parallelism().map_or(1, usize::from),
        "MemTotal": memory.totalram * u64::from(memory.mem_unit),
        "HttpProxy": client.proxies.http.as_ref().map(without_user).unwrap_or_default(),
        "HttpsProxy": client.proxies.https.as_ref().map(without_user).unwrap_or_default(),
        "NoProxy": client.proxies.no_proxy.clone().unwrap_or_default(),
        "RegistryConfig": registries(&client),
    }))
}

fn registries(client: &ClientSettings) -> Value {
    let mirrors: Vec<String> = client.hosts.mirrors.iter().map(without_user).collect();
    let insecure: Vec<String> = client.hosts.insecure.iter().map(ToString::to_string).collect();
    json!({ "Mirrors": mirrors, "InsecureRegistries": insecure })
}

/// An address without the name and password that it may have.
fn without_user(url: &impl Display) -> String {
    let text = url.to_string();
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => text,
    }
}

/// What the system calls itself.
fn operating_system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// In the words of `docker info`.
fn text(value: &Value) -> String {
    let word = |name: &str| match &value[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines = vec![
        format!("Server Version: {}", word("ServerVersion")),
        format!("Isolation: {}", word("Isolation")),
        format!("Rootless: {}", word("Rootless")),
        format!("Root Dir: {}", word("DockerRootDir")),
        format!("Images: {}", word("Images")),
        format!("Builds: {}", word("Builds")),
        format!("Name: {}", word("Name")),
        format!("Operating System: {}", word("OperatingSystem")),
        format!("Kernel Version: {}", word("KernelVersion")),
        format!("OSType: {}", word("OSType")),
        format!("Architecture: {}", word("Architecture")),
        format!("CPUs: {}", word("NCPU")),
        format!("Total Memory: {}", size::bytes(value["MemTotal"].as_u64().unwrap_or(0))),
    ];
    for (label, name) in [("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")]
    {
        if !word(name).is_empty() {
            lines.push(format!("{label}: {}", word(name)));
        }
    }
    for (label, name) in [("Registry Mirrors", "Mirrors"), ("Insecure Registries", "InsecureRegistries")] {
        let list = value["RegistryConfig"][name].as_array().map(Vec::as_slice).unwrap_or_default();
        if !list.is_empty() {
            lines.push(format!("{label}:"));
            lines.extend(list.iter().filter_map(Value::as_str).map(|one| format!(" {one}")));
        }
    }
    lines.join("\n") + "\n"
}

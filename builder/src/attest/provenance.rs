//! Provenance: the predicate `https://slsa.dev/provenance/v1` with BuildKit's parameters and extensions, so that what
//! reads BuildKit's reads this.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layer_store::Platform;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::definition::definition;
use super::dependencies::{dependencies, fetched, git_address, reachable, redacted};
use super::{Facts, Mode, Provenance};
use crate::context::git::GitSource;
use crate::dockerfile::lint::looks_like_secret;
use crate::graph::{CopySource, ExecMountKind, Network, NodeId, Op};
use crate::lower::{NamedContext, NoCache};

/// The meaning of the parameters is BuildKit's, whose page this is.
const BUILD_TYPE: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

/// The predicate. Values of secrets are nowhere in it: they never were in the graph; values of build arguments and
/// variables that look like secrets are taken out.
pub(super) fn predicate(facts: &Facts<'_>, settings: &Provenance) -> Value {
    let nodes = reachable(facts.graph, facts.node);
    let is_max = settings.mode == Mode::Max;
    let hidden = Hidden::of(facts, &nodes);
    let mut build = json!({
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "configSource": config_source(facts),
            "request": request(facts, &nodes, settings.mode, &hidden),
        },
        "internalParameters": {"builderPlatform": Platform::host().to_string()},
        "resolvedDependencies": dependencies(facts, &nodes),
    });
    let mut metadata = json!({
        "buildkit_completeness": {"request": is_max, "resolvedDependencies": !reads_local_files(facts, &nodes)},
    });
    if is_hermetic(facts, &nodes) {
        metadata["buildkit_hermetic"] = json!(true);
    }
    if settings.reproducible {
        metadata["buildkit_reproducible"] = json!(true);
    }
    if let Some((started, finished)) = facts.times {
        metadata["invocationID"] = json!(invocation(facts, started));
        metadata["startedOn"] = json!(started);
        metadata["finishedOn"] = json!(finished);
    }
    if is_max {
        let definition = definition(facts, &nodes, &hidden);
        build["internalParameters"]["buildConfig"] = json!({"llbDefinition": definition.steps});
        let text = hidden.text(&facts.request.dockerfile.text);
        metadata["buildkit_metadata"] = json!({"source": {
            "locations": definition.locations,
            "infos": [{
                "filename": facts.request.dockerfile.name,
                "language": "Dockerfile",
                "data": STANDARD.encode(text.as_bytes()),
            }],
        }});
    }
    let version = json!({"rbuild": env!("CARGO_PKG_VERSION")});
    json!({
        "buildDefinition": build,
        "runDetails": {"builder": {"id": settings.builder_id, "version": version}, "metadata": metadata},
    })
}

/// What set the build off: the context, if it is a remote one, and the Dockerfile in it.
fn config_source(facts: &Facts<'_>) -> Value {
    let mut source = json!({"path": facts.request.dockerfile.name});
    let context = match facts.request.options.contexts.get("") {
        Some(NamedContext::Git(git)) => CopySource::Git(GitSource::clone(git)),
        Some(NamedContext::Archive(digest)) => CopySource::Archive(*digest),
        _ => return source,
    };
    if let Some((uri, digest)) = fetched(facts, &context) {
        source["uri"] = json!(uri);
        source["digest"] = digest;
    } else if let CopySource::Git(git) = &context {
        source["uri"] = json!(git_address(git));
    }
    source
}

/// What the build was asked for, in the words of BuildKit's frontend.
fn request(facts: &Facts<'_>, nodes: &[NodeId], mode: Mode, hidden: &Hidden) -> Value {
    let options = &facts.request.options;
    let mut args: BTreeMap<String, String> = BTreeMap::new();
    if let Some(target) = options.targets.last() {
        args.insert("target".to_owned(), target.clone());
    }
    if options.platform_is_asked {
        let platforms: Vec<String> = options.platforms.iter().map(Platform::to_string).collect();
        args.insert("platform".to_owned(), platforms.join(","));
    }
    match &options.no_cache {
        NoCache::Never => {}
        NoCache::All => _ = args.insert("no-cache".to_owned(), String::new()),
        NoCache::Stages(stages) => _ = args.insert("no-cache".to_owned(), stages.join(",")),
    }
    match options.network {
        Network::Default => {}
        named => _ = args.insert("force-network-mode".to_owned(), named.name().to_owned()),
    }
    for (name, context) in options.contexts.iter().filter(|(name, _)| !name.is_empty()) {
        let place = match context {
            NamedContext::Directory => format!("local:{name}"),
            NamedContext::Image(image) => format!("docker-image://{image}"),
            NamedContext::Layout(_) => format!("oci-layout:{name}"),
            NamedContext::Stored { name, .. } => format!("input:{name}"),
            NamedContext::Git(git) => git_address(git),
            NamedContext::Archive(digest) => facts
                .request
                .addresses
                .get(digest)
                .map_or_else(|| format!("archive:{digest}"), |address| redacted(address)),
        };
        args.insert(format!("context:{name}"), place);
    }
    let mut request = json!({"frontend": "dockerfile.v0"});
    if mode == Mode::Max {
        for (name, value) in &options.build_args {
            args.insert(format!("build-arg:{name}"), hidden.value(name, value));
        }
        let labels = facts.request.labels.iter();
        args.extend(labels.map(|(name, value)| (format!("label:{name}"), hidden.value(name, value))));
        let (secrets, agents) = asked_for(facts, nodes);
        for (key, list) in [("secrets", secrets), ("ssh", agents)] {
            if !list.is_empty() {
                let entries = list.iter().map(|(id, optional)| json!({"id": id, "optional": optional}));
                request[key] = entries.collect();
            }
        }
    }
    let locals = locals(facts);
    if !locals.is_empty() {
        request["locals"] = locals.iter().map(|name| json!({"name": name})).collect();
    }
    request["args"] = json!(args);
    request
}

/// The directories of this machine that the build was given.
fn locals(facts: &Facts<'_>) -> Vec<String> {
    let request = facts.request;
    let context = request.context.iter().map(|_| "context".to_owned());
    let dockerfile = request.dockerfile_path.iter().map(|_| "dockerfile".to_owned());
    context.chain(dockerfile).chain(request.named_directories.keys().cloned()).collect()
}

/// The ids of secrets and of agents that commands ask for, and whether all can do without.
fn asked_for(facts: &Facts<'_>, nodes: &[NodeId]) -> (BTreeMap<String, bool>, BTreeMap<String, bool>) {
    let (mut secrets, mut agents) = (BTreeMap::new(), BTreeMap::new());
    for id in nodes {
        let Op::Exec(exec) = &facts.graph.node(*id).op else { continue };
        for mount in &exec.mounts {
            let (list, id, required) = match &mount.kind {
                ExecMountKind::Secret { id, required, .. } => (&mut secrets, id, *required),
                ExecMountKind::Ssh { id, required, .. } => (&mut agents, id, *required),
                _ => continue,
            };
            let optional = list.entry(id.clone()).or_insert(true);
            *optional &= !required;
        }
    }
    (secrets, agents)
}

/// Whether files of this machine went in, of which no digest is listed.
fn reads_local_files(facts: &Facts<'_>, nodes: &[NodeId]) -> bool {
    nodes.iter().any(|id| match &facts.graph.node(*id).op {
        Op::Copy(copy) => copy.sources.iter().any(|source| match source {
            CopySource::Context { .. } => true,
            CopySource::Archive(_) => fetched(facts, source).is_none(),
            _ => false,
        }),
        _ => false,
    })
}

/// Whether no command could reach a network.
fn is_hermetic(facts: &Facts<'_>, nodes: &[NodeId]) -> bool {
    nodes.iter().all(|id| match &facts.graph.node(*id).op {
        Op::Exec(exec) => exec.network == Network::None,
        _ => true,
    })
}

/// The same for all images of one run, and no other.
fn invocation(facts: &Facts<'_>, started: &str) -> String {
    let mut hasher = layer_store::digest::Hasher::default();
    hasher.field("invocation").field(started).field(facts.request.dockerfile.text.as_bytes());
    hasher.field(std::process::id().to_le_bytes());
    hasher.finish().hex()[..25].to_owned()
}

/// Values that must not be seen.
pub(super) struct Hidden {
    values: Vec<String>,
}

impl Hidden {
    /// The values of build arguments and variables that look like secrets, and the users of proxies.
    fn of(facts: &Facts<'_>, nodes: &[NodeId]) -> Self {
        let mut values: Vec<String> = Vec::new();
        let mut look = |name: &str, value: &str| {
            // One that short would be found everywhere, and says nothing.
            if looks_like_secret(name) && value.len() > 2 {
                values.push(value.to_owned());
            }
            if let Some(user) = user_of(value) {
                values.push(percent_decode_str(&user).decode_utf8_lossy().into_owned());
                values.push(user);
            }
        };
        for (name, value) in facts.request.options.build_args.iter().chain(&facts.request.labels) {
            look(name, value);
        }
        for id in nodes {
            let Op::Exec(exec) = &facts.graph.node(*id).op else { continue };
            for (name, value) in exec
                .env
                .pairs()
                .chain(exec.ambient_env.iter().map(String::as_str))
                .filter_map(|pair| pair.split_once('='))
            {
                look(name, value);
            }
        }
        // A long one may hold a short one.
        values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self { values }
    }

    /// A text without the values.
    pub(super) fn text(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "(hidden)"))
    }

    /// The value of a name.
    pub(super) fn value(&self, name: &str, value: &str) -> String {
        if looks_like_secret(name) && !value.is_empty() { "(hidden)".to_owned() } else { self.text(value) }
    }

    /// A `NAME=value`.
    pub(super) fn pair(&self, pair: &str) -> String {
        match pair.split_once('=') {
            Some((name, value)) => format!("{name}={}", self.value(name, value)),
            None => self.text(pair),
        }
    }
}

/// User and password of an address.
fn user_of(value: &str) -> Option<String> {
    let (_, rest) = value.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (user, _) = rest[..end].rsplit_once('@')?;
    (user.len() > 2).then(|| user.to_owned())
}

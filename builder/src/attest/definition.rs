//! The graph of a build as provenance of the mode `max` shows it: steps with operations in BuildKit's field names, and the
//! lines of the Dockerfile that they stand in.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layer_store::Platform;
use serde_json::{Map, Value, json};

use super::Facts;
use super::dependencies::{base, git_address, redacted};
use super::provenance::Hidden;
use crate::graph::{CopyOp, CopySource, Exec, ExecMountKind, Network, NodeId, Op, Sharing, WorkdirOp};
use crate::resolve::BaseImage;

/// The steps of a build, and where they stand.
pub(super) struct Definition {
    /// `llbDefinition`.
    pub(super) steps: Vec<Value>,
    /// `locations` by step.
    pub(super) locations: Map<String, Value>,
}

/// Writes down the nodes, which come inputs first.
pub(super) fn definition(facts: &Facts<'_>, nodes: &[NodeId], hidden: &Hidden) -> Definition {
    let mut writer = Writer {
        facts,
        hidden,
        steps: Vec::new(),
        locations: Map::new(),
        names: HashMap::new(),
        sources: HashMap::new(),
    };
    for id in nodes {
        writer.node(*id);
    }
    Definition { steps: writer.steps, locations: writer.locations }
}

struct Writer<'a> {
    facts: &'a Facts<'a>,
    hidden: &'a Hidden,
    steps: Vec<Value>,
    locations: Map<String, Value>,
    /// The steps of nodes; one that is nothing has none.
    names: HashMap<NodeId, String>,
    /// The steps of what is no node here and one there: contexts, URLs, repositories.
    sources: HashMap<String, String>,
}

impl Writer<'_> {
    fn node(&mut self, id: NodeId) {
        let node = self.facts.graph.node(id);
        let (operation, inputs, platform) = match &node.op {
            Op::Scratch => return,
            Op::Image(image) => (json!({"source": {"identifier": self.image(image)}}), Vec::new(), None),
            Op::Exec(exec) => self.exec(exec),
            Op::Copy(copy) => self.copy(copy),
            Op::Workdir(workdir) => self.workdir(workdir),
        };
        let name = self.push(&operation, &inputs, platform);
        if let Some(span) = node.span {
            let line = |at: usize| json!({"line": self.facts.request.dockerfile.line(at)});
            let last = span.end.saturating_sub(1).max(span.start);
            let range = json!({"start": line(span.start), "end": line(last)});
            self.locations.insert(name.clone(), json!({"locations": [{"ranges": [range]}]}));
        }
        self.names.insert(id, name);
    }

    fn push(&mut self, operation: &Value, inputs: &[String], platform: Option<&Platform>) -> String {
        let name = format!("step{}", self.steps.len());
        let mut step = json!({"id": name, "op": {"Op": operation}});
        if let Some(Platform { os, architecture, variant, .. }) = platform {
            step["op"]["platform"] = json!({"Architecture": architecture, "OS": os});
            if let Some(variant) = variant {
                step["op"]["platform"]["Variant"] = json!(variant);
            }
        }
        if !inputs.is_empty() {
            step["inputs"] = inputs.iter().map(|input| json!(format!("{input}:0"))).collect();
        }
        self.steps.push(step);
        name
    }

    fn image(&self, image: &BaseImage) -> String {
        let known = base(self.facts, image);
        let pinned = known.and_then(|known| {
            let reference = registry_client::Reference::parse(&known.name).ok()?;
            Some(reference.with_digest(known.digest).canonical())
        });
        format!("docker-image://{}", pinned.unwrap_or_else(|| image.name.clone()))
    }

    /// The place of a node among the inputs of a step; -1 stands for nothing, as in BuildKit.
    fn input(&self, inputs: &mut Vec<String>, id: NodeId) -> i64 {
        let Some(name) = self.names.get(&id) else { return -1 };
        place(inputs, name)
    }

    /// A step that brings something from outside.
    fn source(&mut self, identifier: String) -> String {
        if let Some(known) = self.sources.get(&identifier) {
            return known.clone();
        }
        let name = self.push(&json!({"source": {"identifier": identifier}}), &[], None);
        self.sources.insert(identifier, name.clone());
        name
    }

    fn exec<'e>(&mut self, exec: &'e Exec) -> (Value, Vec<String>, Option<&'e Platform>) {
        let mut inputs = Vec::new();
        let root = self.input(&mut inputs, exec.input);
        let mut mounts = vec![json!({"input": root, "dest": "/"})];
        let mut secret_variables = Vec::new();
        for mount in &exec.mounts {
            let target = &mount.target;
            mounts.push(match &mount.kind {
                ExecMountKind::Bind { from, source, writable } => {
                    let input = self.input(&mut inputs, *from);
                    json!({"input": input, "selector": source, "dest": target, "readonly": !writable})
                }
                ExecMountKind::Cache { id, from, sharing, .. } => {
                    let input = from.map_or(-1, |from| self.input(&mut inputs, from));
                    let sharing = match sharing {
                        Sharing::Shared => "shared",
                        Sharing::Private => "private",
                        Sharing::Locked => "locked",
                    };
                    json!({"input": input, "dest": target, "mountType": "cache", "cacheOpt": {"ID": id, "sharing": sharing}})
                }
                ExecMountKind::Tmpfs { size } => {
                    json!({"input": -1, "dest": target, "mountType": "tmpfs", "TmpfsOpt": {"size": size.unwrap_or(0)}})
                }
                ExecMountKind::Secret { id, required, env, file, .. } => {
                    if let Some(name) = env {
                        secret_variables.push(json!({"ID": id, "name": name, "optional": !required}));
                    }
                    if !file {
                        continue;
                    }
                    json!({"input": -1, "dest": target, "mountType": "secret", "secretOpt": {"ID": id, "optional": !required}})
                }
                ExecMountKind::Ssh { id, required, .. } => {
                    json!({"input": -1, "dest": target, "mountType": "ssh", "SSHOpt": {"ID": id, "optional": !required}})
                }
            });
        }
        let mut meta = json!({
            "args": exec.argv.iter().map(|word| self.hidden.text(word)).collect::<Vec<_>>(),
            "env": exec.env.pairs().map(|pair| self.hidden.pair(pair)).collect::<Vec<_>>(),
            "cwd": exec.cwd,
        });
        if !exec.user.is_empty() {
            meta["user"] = json!(exec.user);
        }
        let network = match exec.network {
            Network::Default => "unset",
            named => named.name(),
        };
        let mut operation = json!({"meta": meta, "mounts": mounts, "network": network});
        if exec.insecure {
            operation["security"] = json!("insecure");
        }
        if !secret_variables.is_empty() {
            operation["secretenv"] = json!(secret_variables);
        }
        (json!({"exec": operation}), inputs, Some(&exec.platform))
    }

    fn copy<'c>(&mut self, copy: &'c CopyOp) -> (Value, Vec<String>, Option<&'c Platform>) {
        let mut inputs = Vec::new();
        let below = self.input(&mut inputs, copy.input);
        let mut actions = Vec::new();
        for source in &copy.sources {
            let (from, paths, unpack) = match source {
                CopySource::Context { name, paths } => {
                    let name = if name.is_empty() { "context" } else { name };
                    let step = self.source(format!("local://{name}"));
                    (place(&mut inputs, &step), paths.clone(), false)
                }
                CopySource::Node { node, paths } => (self.input(&mut inputs, *node), paths.clone(), false),
                CopySource::Url { url, unpack, .. } => {
                    let step = self.source(redacted(url));
                    (place(&mut inputs, &step), vec!["/".to_owned()], *unpack)
                }
                CopySource::Git(git) => {
                    let address = git_address(git);
                    let address = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
                    let step = self.source(format!("git://{address}"));
                    (place(&mut inputs, &step), vec!["/".to_owned()], false)
                }
                CopySource::Archive(digest) => {
                    let address = super::dependencies::archive_address(self.facts, digest);
                    let step = self.source(address.unwrap_or_else(|| format!("archive://{digest}")));
                    (place(&mut inputs, &step), vec!["/".to_owned()], true)
                }
                CopySource::Inline(files) => {
                    for file in files {
                        let text = self.hidden.text(&file.content);
                        let data = STANDARD.encode(text);
                        let destination = &copy.destination;
                        let is_file = !destination.ends_with('/') && files.len() == 1;
                        let path = match is_file {
                            true => destination.clone(),
                            false => format!("{}/{}", destination.trim_end_matches('/'), file.name),
                        };
                        actions.push(
                            json!({"input": below, "Action": {"mkfile": {"path": path, "data": data}}}),
                        );
                    }
                    continue;
                }
            };
            for path in &paths {
                let mut action = json!({"src": path, "dest": copy.destination});
                for (key, value) in [("owner", &copy.chown), ("mode", &copy.chmod)] {
                    if let Some(value) = value {
                        action[key] = json!(value);
                    }
                }
                if !copy.exclude.is_empty() {
                    action["excludePatterns"] = json!(copy.exclude);
                }
                if unpack || copy.unpack == crate::graph::Unpack::Recognised {
                    action["attemptUnpackDockerCompatibility"] = json!(true);
                }
                actions.push(json!({"input": below, "secondaryInput": from, "Action": {"copy": action}}));
            }
        }
        (json!({"file": {"actions": actions}}), inputs, None)
    }

    fn workdir<'w>(&mut self, workdir: &'w WorkdirOp) -> (Value, Vec<String>, Option<&'w Platform>) {
        let mut inputs = Vec::new();
        let below = self.input(&mut inputs, workdir.input);
        let mut action = json!({"path": workdir.path, "mode": 0o755, "makeParents": true});
        if !workdir.user.is_empty() {
            action["owner"] = json!(workdir.user);
        }
        let actions = json!([{"input": below, "Action": {"mkdir": action}}]);
        (json!({"file": {"actions": actions}}), inputs, None)
    }
}

/// The place of a step among inputs, where it is put if it is not there.
fn place(inputs: &mut Vec<String>, name: &str) -> i64 {
    let at = inputs.iter().position(|known| known == name).unwrap_or_else(|| {
        inputs.push(name.to_owned());
        inputs.len() - 1
    });
    i64::try_from(at).unwrap_or(-1)
}

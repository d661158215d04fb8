//! RUN.

use super::args::proxies;
use super::files::absolute;
use super::metadata::shell;
use super::origin::Origin;
use super::stage::StageState;
use super::{Lowering, at};
use crate::dockerfile::ast::{Instruction, Run, Script, Word};
use crate::dockerfile::expand::{Scope, expand};
use crate::dockerfile::mount::{Mount, Sharing as WrittenSharing, parse_mount_with};
use crate::dockerfile::{Diagnostic, Span};
use crate::error::{Error, Result};
use crate::graph::{
    CopyOp, CopySource, Exec, ExecMount, ExecMountKind, ExecSettings, InlineFile, Network, Node, NodeId, Op,
    Sharing, Unpack,
};

impl Lowering<'_> {
    pub(super) async fn run(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        run: &Run,
        span: Span,
    ) -> Result<()> {
        if let Some(device) = run.devices.first() {
            let mut error = Diagnostic::error(
                device.span,
                "`RUN --device` is not possible: the sandbox has no devices of the host",
            );
            // Docker's own stable frontend says no as well; only its labs have the feature.
            error.help = Some(
                "do what needs the device when the container runs, or in a step before the build".to_owned(),
            );
            return Err(Error::Dockerfile(vec![error]));
        }
        let insecure = run.security.as_deref() == Some("insecure");
        if insecure && !self.options.allow_insecure {
            return Err(at(span, "`--security=insecure` is not allowed; pass `--allow security.insecure`"));
        }
        let network = match run.network.as_deref() {
            None | Some("default") => self.options.network,
            Some("none") => Network::None,
            Some("host") if self.options.allow_host_network || self.options.network == Network::Host => {
                Network::Host
            }
            Some("host") => {
                return Err(at(span, "`--network=host` is not allowed; pass `--allow network.host`"));
            }
            Some(other) => return Err(at(span, format!("unknown network `{other}`"))),
        };
        let mut mounts = Vec::new();
        for (position, word) in run.mounts.iter().enumerate() {
            mounts.push(self.mount(state, word, position).await?);
        }
        let argv = match run.script(&instruction.heredocs) {
            Script::Exec(arguments) => arguments.to_vec(),
            Script::Shell(text) => shell(state).into_iter().chain([text.into_owned()]).collect(),
            Script::File { name, content } => {
                let path = format!("/dev/pipes/{name}");
                let from = self.script_file(name, &content);
                let kind = ExecMountKind::Bind { from, source: format!("/{name}"), writable: false };
                mounts.push(ExecMount { target: path.clone(), kind });
                shell(state).into_iter().chain([path]).collect()
            }
        };
        if argv.is_empty() {
            return Err(at(span, "RUN needs a command"));
        }
        let created_by = format!("RUN {} # buildkit", with_args(state, &argv));
        let ambient_env =
            proxies(&self.options.build_args).map(|(name, value)| format!("{name}={value}")).collect();
        let op = Op::Exec(Box::new(Exec {
            input: state.node,
            argv,
            env: state.env.clone(),
            ambient_env,
            cwd: state.cwd().into_owned(),
            user: state.config.config.user.clone(),
            mounts,
            network,
            insecure,
            platform: state.platform.clone(),
            settings: self.settings(),
        }));
        let node = self.step(state, op, &instruction.original, span);
        state.advance(node, created_by);
        Ok(())
    }

    /// A build argument that is for the builder and needs no declaration; an empty one is none.
    fn builder_argument(&self, name: &str) -> Option<&String> {
        self.options.build_args.get(name).filter(|value| !value.is_empty())
    }

    /// The settings of commands, with the host name that a build argument gives.
    fn settings(&self) -> ExecSettings {
        let mut settings = self.options.settings.clone();
        if let Some(name) = self.builder_argument("BUILDKIT_SANDBOX_HOSTNAME") {
            settings.hostname = Some(name.clone());
        }
        settings
    }

    async fn mount(&mut self, state: &StageState, word: &Word, position: usize) -> Result<ExecMount> {
        let escape = self.escape();
        let lookup = |name: &str| state.value(name).map(str::to_owned);
        let mut expanded =
            |value: &str| expand(value, escape, &Scope { lookup: &lookup }).map(|expanded| expanded.text);
        let mount = parse_mount_with(&word.text, &mut expanded).map_err(|error| {
            let mut diagnostic = Diagnostic::error(word.span, error.message);
            diagnostic.help = error.help;
            Error::Dockerfile(vec![diagnostic])
        })?;
        let target = |path: &str| {
            let target = absolute(&state.cwd(), path);
            if target == "/" { Err(at(word.span, "a mount on `/` is not possible")) } else { Ok(target) }
        };
        Ok(match mount {
            Mount::Bind(bind) => {
                let from = self.mount_origin(bind.from.as_deref(), &bind.source, state, word.span).await?;
                ExecMount {
                    target: target(&bind.target)?,
                    kind: ExecMountKind::Bind {
                        from,
                        source: absolute("/", &bind.source),
                        writable: bind.writable,
                    },
                }
            }
            Mount::Cache(cache) => {
                let target = target(&cache.target)?;
                let mut from = match cache.from.as_deref() {
                    None => None,
                    Some(name) => Some(self.mount_origin(Some(name), &cache.source, state, word.span).await?),
                };
                // As in BuildKit, which makes an empty directory of its own for them.
                if cache.source == "/" && (cache.mode.is_some() || cache.uid.is_some() || cache.gid.is_some())
                {
                    from = None;
                }
                let sharing = match cache.sharing {
                    WrittenSharing::Shared => Sharing::Shared,
                    WrittenSharing::Private => Sharing::Private,
                    WrittenSharing::Locked => Sharing::Locked,
                };
                let id = match self.builder_argument("BUILDKIT_CACHE_MOUNT_NS") {
                    Some(namespace) => format!("{namespace}/{}", cache.id),
                    None => cache.id,
                };
                let kind = ExecMountKind::Cache {
                    id,
                    from,
                    source: absolute("/", &cache.source),
                    sharing,
                    readonly: cache.read_only,
                    mode: cache.mode.unwrap_or(0o755),
                    uid: cache.uid.unwrap_or(0),
                    gid: cache.gid.unwrap_or(0),
                };
                ExecMount { target, kind }
            }
            Mount::Tmpfs(tmpfs) => {
                ExecMount { target: target(&tmpfs.target)?, kind: ExecMountKind::Tmpfs { size: tmpfs.size } }
            }
            Mount::Secret(secret) => {
                let file = secret.target.is_some() || secret.env.is_none();
                let path = secret.target.clone().unwrap_or_else(|| {
                    format!("/run/secrets/{}", secret.id.rsplit('/').next().unwrap_or(&secret.id))
                });
                let kind = ExecMountKind::Secret {
                    id: secret.id,
                    required: secret.required,
                    mode: secret.mode,
                    uid: secret.uid,
                    gid: secret.gid,
                    env: secret.env,
                    file,
                };
                ExecMount { target: target(&path)?, kind }
            }
            Mount::Ssh(ssh) => {
                let path =
                    ssh.target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{position}"));
                let kind = ExecMountKind::Ssh {
                    id: ssh.id,
                    required: ssh.required,
                    mode: ssh.mode,
                    uid: ssh.uid,
                    gid: ssh.gid,
                };
                ExecMount { target: target(&path)?, kind }
            }
        })
    }

    /// What a mount shows: another filesystem of the graph, or the part of a context that it names, which becomes a
    /// layer of its own so that ignore rules hold and writes never reach the context.
    async fn mount_origin(
        &mut self,
        from: Option<&str>,
        source: &str,
        state: &StageState,
        span: Span,
    ) -> Result<NodeId> {
        let origin = match from {
            Some(name) => self.origin(name, false, state, span).await?,
            None => self.context(""),
        };
        let name = match origin {
            Origin::Node(node) => return Ok(node),
            Origin::Context(name) => name,
        };
        let path = absolute("/", source);
        let whole = path == "/";
        let paths = vec![if whole { ".".to_owned() } else { path[1..].to_owned() }];
        let op = CopyOp {
            input: self.scratch(),
            sources: vec![CopySource::Context { name, paths }],
            destination: "/".to_owned(),
            cwd: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            along_links: !whole,
            exclude: Vec::new(),
            unpack: Unpack::Never,
        };
        Ok(self.insert(Node {
            op: Op::Copy(Box::new(op)),
            name: format!("[context] {path}"),
            span: Some(span),
            stage: None,
            no_cache: false,
        }))
    }

    /// A here-document that is a program, as a filesystem of one file.
    fn script_file(&mut self, name: &str, content: &str) -> NodeId {
        let file = InlineFile { name: name.to_owned(), content: content.to_owned() };
        let op = CopyOp {
            input: self.scratch(),
            sources: vec![CopySource::Inline(vec![file])],
            destination: "/".to_owned(),
            cwd: "/".to_owned(),
            chown: None,
            chmod: Some("0755".to_owned()),
            link: false,
            parents: false,
            along_links: false,
            exclude: Vec::new(),
            unpack: Unpack::Never,
        };
        let name = format!("[script] {name}");
        self.insert(Node { op: Op::Copy(Box::new(op)), name, span: None, stage: None, no_cache: false })
    }
}

/// The command with the build arguments in front, as the history shows it: `|1 VERSION=3 /bin/sh -c make`.
fn with_args(state: &StageState, argv: &[String]) -> String {
    let mut words = Vec::new();
    if !state.args.is_empty() {
        words.push(format!("|{}", state.args.len()));
        words.extend(
            state.args.iter().map(|name| format!("{name}={}", state.value(name).unwrap_or_default())),
        );
    }
    words.extend(argv.iter().cloned());
    words.join(" ")
}

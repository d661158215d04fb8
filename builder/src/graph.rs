//! The build graph: one arena of operations, equal ones only once.
//!
//! A node stands for a filesystem. Image configuration (environment, command, labels) is not in the graph: it is
//! known when the graph is made.

use std::collections::HashMap;
use std::path::PathBuf;

use layer_store::{Digest, Platform};

use crate::context::git::GitSource;
use crate::dockerfile::Span;
use crate::environment::Environment;
use crate::resolve::BaseImage;
use crate::sandbox::{self, Limits};

/// Names a node of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// All operations that a build may need. Inputs have smaller ids than the nodes that use them, so there is no cycle.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Op, NodeId>,
}

/// An operation and where it comes from.
#[derive(Debug)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// As people read it: `[build 2/4] RUN make`.
    pub name: String,
    /// Where it stands in the Dockerfile, if it stands there.
    pub span: Option<Span>,
    /// The stage that it belongs to first, for `--no-cache-filter`.
    pub stage: Option<String>,
    /// Whether a stored result must not be used.
    pub no_cache: bool,
}

/// What makes a filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Nothing: `FROM scratch`.
    Scratch,
    /// The layers of an image.
    Image(BaseImage),
    /// A command that runs on a filesystem.
    Exec(Box<Exec>),
    /// Files that are put onto a filesystem.
    Copy(Box<CopyOp>),
    /// A directory that is made where there is none.
    Workdir(Box<WorkdirOp>),
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exec {
    /// The filesystem that it runs on.
    pub input: NodeId,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment and build arguments.
    pub env: Environment,
    /// `NAME=value` that do not count for the cache (proxies).
    pub ambient_env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `user[:group]`, or empty for root.
    pub user: String,
    /// Mounts, in order.
    pub mounts: Vec<ExecMount>,
    /// The network that it asks for.
    pub network: Network,
    /// Whether it asked for `--security=insecure`.
    pub insecure: bool,
    /// What binaries it runs.
    pub platform: Platform,
    /// Settings of the whole build that reach a command.
    pub settings: ExecSettings,
}

/// Settings of the whole build that reach a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ExecSettings {
    /// `--add-host`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit name=soft:hard`.
    pub ulimits: Vec<(String, u64, u64)>,
    /// Host name inside.
    pub hostname: Option<String>,
    /// `--cap-add` and `--cap-drop`, in their order.
    pub cap_add: Vec<String>,
    /// See [`ExecSettings::cap_add`].
    pub cap_drop: Vec<String>,
    /// `--device`: nodes of this machine.
    pub devices: Vec<PathBuf>,
    /// `--volume`.
    pub volumes: Vec<Volume>,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--security-opt seccomp=unconfined`.
    pub unfiltered: bool,
    /// `--memory`, `--cpu-quota` and the like.
    pub limits: Limits,
}

/// A directory or file of this machine that commands see, and change where it is not read-only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Volume {
    /// Here.
    pub host: PathBuf,
    /// In the image, absolute.
    pub target: String,
    /// Whether it may not be written.
    pub readonly: bool,
}

/// The network of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// What the builder gives by default.
    #[default]
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
    /// One of its own with a way out, by `pasta`.
    Private,
}

impl Network {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::None => "none",
            Self::Host => "host",
            Self::Private => "private",
        }
    }

    /// What a step gets for it.
    pub(crate) const fn of_step(self) -> sandbox::Network {
        match self {
            Self::None => sandbox::Network::None,
            Self::Default | Self::Host => sandbox::Network::Host,
            Self::Private => sandbox::Network::Private,
        }
    }
}

/// A mount of a RUN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecMount {
    /// Where, absolute.
    pub target: String,
    /// What.
    pub kind: ExecMountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExecMountKind {
    /// A part of another filesystem. Writes are discarded.
    Bind {
        /// Which.
        from: NodeId,
        /// The part, absolute.
        source: String,
        /// Whether it may be written.
        writable: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Its identity.
        id: String,
        /// What it begins with.
        from: Option<NodeId>,
        /// The part of `from` that it begins with.
        source: String,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// Whether it may not be written.
        readonly: bool,
        /// Mode of a new one.
        mode: u32,
        /// Owner of a new one.
        uid: u32,
        /// Group of a new one.
        gid: u32,
    },
    /// Memory.
    Tmpfs {
        /// Limit in bytes.
        size: Option<u64>,
    },
    /// A secret as a file.
    Secret {
        /// Its id.
        id: String,
        /// Whether the build fails without it.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// The environment variable that gets it too.
        env: Option<String>,
        /// Whether there is a file at all.
        file: bool,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its id.
        id: String,
        /// Whether the build fails without it.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CopyOp {
    /// The filesystem that files are put onto.
    pub input: NodeId,
    /// Where files come from, in order.
    pub sources: Vec<CopySource>,
    /// Where they go, as written after expansion (a trailing slash counts).
    pub destination: String,
    /// Working directory, absolute.
    pub cwd: String,
    /// `user[:group]`, or `None` for root.
    pub chown: Option<String>,
    /// Octal or symbolic mode.
    pub chmod: Option<String>,
    /// Whether the layer does not depend on what is below.
    pub link: bool,
    /// Whether the directories of a source path are made too.
    pub parents: bool,
    /// Whether the links that a source path leads over are made too, with its directories: see
    /// [`crate::copy::Request::along_links`].
    pub along_links: bool,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Whether archives are unpacked: `None` as ADD does with local ones.
    pub unpack: Unpack,
}

/// What happens to archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unpack {
    /// They are files like others (COPY).
    Never,
    /// Local ones are unpacked (ADD).
    Recognised,
}

/// Where files of a COPY come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CopySource {
    /// The build context, or a named one.
    Context {
        /// Its name; empty for the main one.
        name: String,
        /// Patterns below it.
        paths: Vec<String>,
    },
    /// Another filesystem of the graph.
    Node {
        /// Which.
        node: NodeId,
        /// Patterns below it.
        paths: Vec<String>,
    },
    /// A file by URL.
    Url {
        /// The address.
        url: String,
        /// The digest that it must have.
        checksum: Option<Digest>,
        /// Whether an archive is unpacked.
        unpack: bool,
    },
    /// A git repository.
    Git(GitSource),
    /// An archive that was spooled before the build, by the digest of its bytes: a context that came as a tar.
    Archive(Digest),
    /// Text in the Dockerfile.
    Inline(Vec<InlineFile>),
}

/// A here-document as a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InlineFile {
    /// The delimiter, which names the file.
    pub name: String,
    /// What it holds.
    pub content: String,
}

/// WORKDIR.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkdirOp {
    /// The filesystem below.
    pub input: NodeId,
    /// The directory, absolute.
    pub path: String,
    /// `user[:group]` that owns it, or empty for root.
    pub user: String,
}

impl Graph {
    /// Adds a node, or finds the one that does the same.
    pub fn add(&mut self, node: Node) -> NodeId {
        if let Some(&id) = self.ids.get(&node.op) {
            let known = &mut self.nodes[id.0 as usize];
            known.no_cache |= node.no_cache;
            return id;
        }
        // A Dockerfile is at most some megabytes, so there are far fewer nodes than 2^32.
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the size of a Dockerfile")]
        let id = NodeId(self.nodes.len() as u32);
        self.ids.insert(node.op.clone(), id);
        self.nodes.push(node);
        id
    }

    /// The node of that id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The nodes whose layers are the filesystem of `id`, from the top.
    #[must_use]
    pub fn chain(&self, id: NodeId) -> Vec<NodeId> {
        let mut chain = vec![id];
        let mut at = id;
        loop {
            at = match &self.node(at).op {
                Op::Exec(exec) => exec.input,
                Op::Copy(copy) => copy.input,
                Op::Workdir(workdir) => workdir.input,
                Op::Image(_) | Op::Scratch => return chain,
            };
            chain.push(at);
        }
    }

    /// All nodes, inputs before the nodes that use them.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the size of a Dockerfile")]
        self.nodes.iter().enumerate().map(|(at, node)| (NodeId(at as u32), node))
    }
}

impl NodeId {
    /// Its place in [`Graph::nodes`].
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

impl Op {
    /// The nodes that it uses, in order.
    #[must_use]
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Self::Scratch | Self::Image(_) => Vec::new(),
            Self::Exec(exec) => std::iter::once(exec.input)
                .chain(exec.mounts.iter().filter_map(|mount| match &mount.kind {
                    ExecMountKind::Bind { from, .. } => Some(*from),
                    ExecMountKind::Cache { from, .. } => *from,
                    _ => None,
                }))
                .collect(),
            Self::Copy(copy) => std::iter::once(copy.input)
                .chain(copy.sources.iter().filter_map(|source| match source {
                    CopySource::Node { node, .. } => Some(*node),
                    _ => None,
                }))
                .collect(),
            Self::Workdir(workdir) => vec![workdir.input],
        }
    }
}

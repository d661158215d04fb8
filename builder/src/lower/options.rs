//! What a build is asked for, beside the Dockerfile.

use std::collections::BTreeMap;

use layer_store::{Digest, Platform};

use crate::context::git::GitSource;
use crate::context::layout::LayoutSource;
use crate::graph::{ExecSettings, Network};

/// What a build is asked for, beside the Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerOptions {
    /// The stages to build, by name; none for the last one. The last of them is the image, the others only have to
    /// succeed.
    pub targets: Vec<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The platforms of the image, at least one; each gets its own image.
    pub platforms: Vec<Platform>,
    /// Whether a platform was asked for: then the image says it, whatever its base image says.
    pub platform_is_asked: bool,
    /// The platform of this machine.
    pub build_platform: Platform,
    /// Settings that reach commands.
    pub settings: ExecSettings,
    /// The network of a RUN that asks for none.
    pub network: Network,
    /// Whether `RUN --security=insecure` is allowed.
    pub allow_insecure: bool,
    /// Whether `RUN --network=host` is allowed.
    pub allow_host_network: bool,
    /// Which stages do not use stored results.
    pub no_cache: NoCache,
    /// `--build-context`: what a name stands for instead of a stage or image. The main context has the empty name,
    /// and needs no entry when it is a directory.
    pub contexts: BTreeMap<String, NamedContext>,
}

impl Default for LowerOptions {
    /// The last stage for this machine's platform.
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            build_args: BTreeMap::new(),
            platforms: vec![Platform::host()],
            platform_is_asked: false,
            build_platform: Platform::host(),
            settings: ExecSettings::default(),
            network: Network::default(),
            allow_insecure: false,
            allow_host_network: false,
            no_cache: NoCache::default(),
            contexts: BTreeMap::new(),
        }
    }
}

/// What a name of `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory of this machine.
    Directory,
    /// An image.
    Image(String),
    /// An image of an OCI layout in a directory.
    Layout(LayoutSource),
    /// An image of the store that needs no name there: what to call it, and the configurations of its platforms.
    Stored {
        /// For messages.
        name: String,
        /// One for each platform.
        configs: Vec<Digest>,
    },
    /// A git repository.
    Git(GitSource),
    /// An archive that was spooled before the build, by the digest of its bytes.
    Archive(Digest),
}

/// Which steps do not use stored results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NoCache {
    /// All use them.
    #[default]
    Never,
    /// None uses them.
    All,
    /// Those of these stages do not.
    Stages(Vec<String>),
}

//! Arguments of `rbuild build`. Names and meaning are those of `docker buildx build`; what is recognised but not done
//! stands in [`super::docker_flags`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::call::Call;

/// `rbuild build`
#[derive(Debug, Default, Args)]
pub(crate) struct BuildArgs {
    /// The build context: a directory
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: String,
    /// Name of the image, `app:1.0` for instance; may be given several times
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// The Dockerfile [default: CONTEXT/Dockerfile]; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// The text of the Dockerfile, where a bake file has it.
    #[arg(skip)]
    pub(crate) inline: Option<String>,
    /// Value of an ARG; without `=` it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// A further context, for `FROM name` and `COPY --from=name`
    #[arg(long, value_name = "NAME=PLACE")]
    pub(crate) build_context: Vec<String>,
    /// Stage to build [default: the last]; of several the last is the image, the others only have to succeed
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) target: Vec<String>,
    /// Platforms of the image, `linux/amd64,linux/arm64` for instance [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    /// Label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// Annotation of the manifest, `[manifest|index[PLATFORM]:]KEY=VALUE`
    #[arg(long, value_name = "ANNOTATION")]
    pub(crate) annotation: Vec<String>,
    /// Make one layer of all that the build makes, on top of the base image
    #[arg(long)]
    pub(crate) squash: bool,
    /// Do not use results of earlier builds
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Do not use earlier results of this stage
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Where results are looked for after the store: `type=registry,ref=NAME`, `type=local,src=DIR`, or a name; of
    /// several the first one that has a result
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_from: Vec<String>,
    /// Where results are written: `type=registry,ref=NAME[,mode=max]`, `type=local,dest=DIR[,mode=max]` or `type=inline`
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_to: Vec<String>,
    /// Directories of `RUN --mount=type=cache` come from `--cache-from` and go to `--cache-to` as well
    #[arg(long)]
    pub(crate) cache_mounts: bool,
    /// Do not use results of commands that are older, `12h` or `7d` for instance
    #[arg(long, value_name = "TIME")]
    pub(crate) cache_ttl: Option<String>,
    /// When registries are asked for base images that are here: `always`, `missing`, `newer` (which is content with
    /// what is here if a registry cannot be reached) or `never`; without a value `always`
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub(crate) pull: Option<String>,
    /// Send the image to where its names say
    #[arg(long)]
    pub(crate) push: bool,
    /// Put the image into the store (it always is)
    #[arg(long)]
    pub(crate) load: bool,
    /// Where the result goes: `type=oci,dest=FILE`, `type=docker,dest=FILE`, `type=tar,dest=FILE`,
    /// `type=local,dest=DIR`, `type=registry`, or a directory
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Vec<String>,
    /// Provenance beside the image: `true`, `mode=min`, `mode=max`, with `builder-id=URI` and `reproducible=true`; `false`
    /// is the default
    #[arg(long, value_name = "ATTRIBUTES")]
    pub(crate) provenance: Option<String>,
    /// Bill of materials (SPDX) beside the image, of the packages of dpkg and apk: `true` or `false`, the default
    #[arg(long, value_name = "ATTRIBUTES")]
    pub(crate) sbom: Option<String>,
    /// Attestation beside the image: `type=provenance,mode=max` or `type=sbom`
    #[arg(long, value_name = "ATTESTATION")]
    pub(crate) attest: Vec<String>,
    /// How attestations are stored: `index` (as BuildKit does it), `artifact` (likewise, as OCI artifacts), or `referrers`
    /// (the image stays a plain one, and artifacts refer to it) [default: index]
    #[arg(long, value_name = "FORM")]
    pub(crate) attest_storage: Option<String>,
    /// Network of RUN: `default`, `host`, `none`, or `private` (its own, by `pasta`)
    #[arg(long, value_name = "MODE")]
    pub(crate) network: Option<String>,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    /// Secret for `RUN --mount=type=secret`: `id=NAME[,src=FILE|,env=VARIABLE]`
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,
    /// SSH agent for `RUN --mount=type=ssh`: `default` or `NAME=SOCKET`
    #[arg(long, value_name = "AGENT")]
    pub(crate) ssh: Vec<String>,
    /// Privilege that a build may ask for: `network.host` or `security.insecure`
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(crate) allow: Vec<String>,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write digests of the result to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Say after the build why each step was done again or not
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print nothing but the image's id
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How progress is shown
    #[arg(long, value_name = "KIND", default_value = "auto")]
    pub(crate) progress: ProgressArg,
    /// Check the Dockerfile and build nothing, as `--call check`
    #[arg(long)]
    pub(crate) check: bool,
    /// What to do with the Dockerfile: `build`, `check`, `outline` (what a target can be given) or `targets`, the last
    /// three also with `,format=json`
    #[arg(long, value_name = "METHOD", default_value = "build")]
    pub(crate) call: Call,
    /// Lowest isolation that is good enough for RUN: `root`, `userns`, `single` or `chroot` [default: the best that
    /// this machine allows]
    #[arg(long, value_name = "RUNG")]
    pub(crate) isolation: Option<String>,
    /// The most that the store may take of the disk, `20g` for instance: what was not used for longest goes, and a
    /// build that needs more fails [default: `RBUILD_MAX_USED_SPACE`, else no limit]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_used_space: Option<String>,
    /// What happens when a command fails: `shell` opens one where it failed, on a terminal
    #[arg(long, value_name = "ACTION", value_parser = ["shell"])]
    pub(crate) on_error: Option<String>,
    /// The longest that a RUN may take, `10m` for instance: then it is stopped, and the build fails [default: no limit]
    #[arg(long, value_name = "TIME")]
    pub(crate) step_timeout: Option<String>,
    /// Steps that run at the same time [default: as many as there are processors]
    #[arg(long, value_name = "COUNT")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
}

impl BuildArgs {
    /// The Dockerfile for a context that is no directory: its path there or its URL; `-` where it comes from elsewhere.
    pub(crate) fn dockerfile_inside(&self) -> Option<&str> {
        if self.inline.is_some() { Some("-") } else { self.file.as_deref() }
    }
}

/// `--progress`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    /// A live view on a terminal, else plain
    #[default]
    Auto,
    /// A live view
    Tty,
    /// Lines, as they come
    Plain,
    /// Only errors, and the image's id
    Quiet,
    /// Only errors
    None,
    /// A JSON object a line, with BuildKit's field names
    Rawjson,
}

/// What a command in the sandbox sees and may, beside its filesystem: for RUN and for `rbuild run`.
#[derive(Debug, Default, Args)]
pub(crate) struct SandboxArgs {
    /// Further line of /etc/hosts
    #[arg(long, value_name = "HOST:IP")]
    pub(crate) add_host: Vec<String>,
    /// Size of /dev/shm, `64m` for instance
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,
    /// Limit of the processes, `nofile=1024:2048` for instance
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// Directory or file of this machine that commands see and may change, `/cache:/var/cache` for instance
    #[arg(short = 'v', long, value_name = "HOST:CONTAINER[:ro]")]
    pub(crate) volume: Vec<String>,
    /// Capability beyond Docker's default ones
    #[arg(long, value_name = "NAME")]
    pub(crate) cap_add: Vec<String>,
    /// Capability to be without
    #[arg(long, value_name = "NAME")]
    pub(crate) cap_drop: Vec<String>,
    /// Device of this machine
    #[arg(long, value_name = "/dev/NAME")]
    pub(crate) device: Vec<String>,
    /// `seccomp=unconfined` or `no-new-privileges`
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Most memory, `512m` for instance
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// Most memory and swap together; -1 is any
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Microseconds in which the quota may be used
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<u64>,
    /// Microseconds of processor time in a period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Share of processor time against others, 1024 is the ordinary one
    #[arg(short = 'c', long, value_name = "SHARES")]
    pub(crate) cpu_shares: Option<u64>,
    /// Processors, `0-2` for instance
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes, `0-1` for instance
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Control group that limits are made in
    #[arg(long, value_name = "GROUP")]
    pub(crate) cgroup_parent: Option<String>,
}

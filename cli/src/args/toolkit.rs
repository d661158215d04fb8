//! Arguments of the registry toolkit: copying, looking at and changing images wherever they are.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

/// Options of the commands that put images somewhere.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct DeliveryArgs {
    /// Move nothing and name nothing; show which blobs would move, be mounted, or are there, and how many bytes
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress; print nothing but digests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Options of the commands that change an image and put it somewhere.
#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    /// Where the result goes, as DST of `rbuild copy`; it may be the same place, whose name then moves
    #[arg(short = 't', long = "to", alias = "tag", value_name = "PLACE")]
    pub(crate) to: String,
    /// Only these platforms of an index, `linux/arm64` for instance; several make an index of those
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    /// How layers that were never compressed travel: `gzip`, `gzip:9`, `zstd`, `zstd:3` or `none`
    #[arg(long, value_name = "HOW", default_value = "gzip")]
    pub(crate) compression: String,
}

/// `rbuild copy`
#[derive(Debug, Args)]
#[command(after_help = "Places: NAME or docker://NAME (a registry), store:NAME (images of this machine), \
    oci:DIRECTORY[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME]")]
pub(crate) struct CopyArgs {
    /// Where the image is
    pub(crate) source: String,
    /// Where it goes
    pub(crate) destination: String,
    /// Only these platforms of an index; several make an index of those
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',', conflicts_with = "all")]
    pub(crate) platform: Vec<String>,
    /// All platforms; that is so in any case
    #[arg(long)]
    pub(crate) all: bool,
    /// Every image of the repository, layout or archive, each under its own tag
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    /// How layers that were never compressed travel: `gzip`, `gzip:9`, `zstd`, `zstd:3` or `none`
    #[arg(long, value_name = "HOW", default_value = "gzip")]
    pub(crate) compression: String,
}

/// `rbuild tags`
#[derive(Debug, Args)]
pub(crate) struct TagsArgs {
    /// The repository, `debian` for instance
    pub(crate) repository: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild manifest`
#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Show what an image consists of
    Inspect(ManifestArgs),
    /// Print the manifest, byte for byte
    Raw(ManifestArgs),
    /// Print the digest
    Digest(ManifestArgs),
    /// List the platforms
    Platforms(ManifestArgs),
}

/// The commands of `rbuild manifest`
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    /// The image: a name, or a place as of `rbuild copy`
    pub(crate) image: String,
    /// The image of one platform instead of the index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild index`
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Make an index of images; of an index, its entries
    Create(IndexArgs),
    /// Add images to an index; an image of a platform that is there takes its place
    Add(IndexArgs),
    /// Take entries out of an index
    Remove(IndexRemoveArgs),
}

/// `rbuild index create` and `add`
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// The index: a place as of `rbuild copy`
    pub(crate) index: String,
    /// The images
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
    /// An annotation of the index
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
}

/// `rbuild index remove`
#[derive(Debug, Args)]
pub(crate) struct IndexRemoveArgs {
    /// The index: a place as of `rbuild copy`
    pub(crate) index: String,
    /// Platforms or digests
    #[arg(required = true)]
    pub(crate) entries: Vec<String>,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
}

/// `rbuild blob`
#[derive(Debug, Subcommand)]
pub(crate) enum BlobCommand {
    /// Fetch a blob of a repository, verified
    Get(BlobGetArgs),
    /// Put a file into a repository as a blob
    Put(BlobPutArgs),
}

/// `rbuild blob get`
#[derive(Debug, Args)]
pub(crate) struct BlobGetArgs {
    /// `REPOSITORY@sha256:…`
    pub(crate) blob: String,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON about it; needs `--output`
    #[arg(long, requires = "output")]
    pub(crate) json: bool,
}

/// `rbuild blob put`
#[derive(Debug, Args)]
pub(crate) struct BlobPutArgs {
    /// The repository
    pub(crate) repository: String,
    /// The file, or `-` for standard input
    pub(crate) file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild append`
#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    /// The image: a name, or a place as of `rbuild copy`
    pub(crate) image: String,
    /// Tars of the new layers, plain or compressed, the lowest first; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) layers: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

/// `rbuild mutate`
#[derive(Debug, Args)]
pub(crate) struct MutateArgs {
    /// The image: a name, or a place as of `rbuild copy`
    pub(crate) image: String,
    /// A label of the image
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// A label that goes
    #[arg(long, value_name = "KEY")]
    pub(crate) remove_label: Vec<String>,
    /// An annotation of the manifest; `index:KEY=VALUE` is one of the index
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// An annotation that goes
    #[arg(long, value_name = "KEY")]
    pub(crate) remove_annotation: Vec<String>,
    /// A variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// A variable that goes
    #[arg(long, value_name = "NAME")]
    pub(crate) remove_env: Vec<String>,
    /// The entry point, as words or a JSON array; empty: none. Resets the command, as in a Dockerfile
    #[arg(long, value_name = "WORDS")]
    pub(crate) entrypoint: Option<String>,
    /// The command, as words or a JSON array; empty: none
    #[arg(long, value_name = "WORDS")]
    pub(crate) cmd: Option<String>,
    /// The user, `name[:group]` or numbers
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

/// `rbuild rebase`
#[derive(Debug, Args)]
pub(crate) struct RebaseArgs {
    /// The image: a name, or a place as of `rbuild copy`
    pub(crate) image: String,
    /// The base that it stands on [default: what its annotations say]
    #[arg(long, value_name = "PLACE")]
    pub(crate) old_base: Option<String>,
    /// The base that it will stand on [default: the name in its annotations, as it is now]
    #[arg(long, value_name = "PLACE")]
    pub(crate) new_base: Option<String>,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

/// `rbuild flatten`
#[derive(Debug, Args)]
pub(crate) struct FlattenArgs {
    /// The image: a name, or a place as of `rbuild copy`
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

/// `rbuild export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The image: a name, or a place as of `rbuild copy`
    pub(crate) image: String,
    /// The tar to write, or with a trailing slash the directory [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// The platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Print JSON about it; needs `--output`
    #[arg(long, requires = "output")]
    pub(crate) json: bool,
}

/// `rbuild delete`
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// `REPOSITORY:TAG` takes the tag away, `REPOSITORY@sha256:…` the manifest with all its tags
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild referrers`
#[derive(Debug, Args)]
pub(crate) struct ReferrersArgs {
    /// The image
    pub(crate) image: String,
    /// Only of this artifact type
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: Option<String>,
    /// Those of one platform's image instead of the index's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild attach`
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The image
    pub(crate) image: String,
    /// Files, each with its media type after a colon if it is not `application/octet-stream`
    #[arg(value_name = "FILE[:TYPE]")]
    pub(crate) files: Vec<String>,
    /// What the artifact is, `application/spdx+json` for instance
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: String,
    /// An annotation of the artifact
    #[arg(short, long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub(crate) annotation: Vec<String>,
    /// Attach to one platform's image instead of the index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild search`
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What to look for on Docker Hub; `registry.example/TERM` asks that registry
    pub(crate) term: String,
    /// How many results at most
    #[arg(long, default_value_t = 25, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) limit: u16,
    /// Only results that fit: `stars=N`, `is-official=true`
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Whole descriptions
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// `table`, `json` for one object a line, or a template such as '{{.Name}} {{.StarCount}}'
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub(crate) format: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild whoami`
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    /// The registry, or a repository with credentials of its own [default: Docker Hub]
    pub(crate) registry: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

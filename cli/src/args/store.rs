//! Arguments of the commands about the store as a whole. Filters and sizes are those of `docker buildx prune`.

use clap::{Args, Subcommand};

/// `rbuild store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read all that the store holds and say what the disk damaged
    Check(CheckStoreArgs),
    /// Show what takes how much of the disk
    #[command(alias = "df")]
    Du(DuArgs),
    /// Remove what nothing needs, or what was not used for longest
    Prune(PruneArgs),
}

/// `rbuild du`
#[derive(Debug, Args)]
pub(crate) struct DuArgs {
    /// Each image, cache record, cache directory, log and so on by itself
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// `table`, `json` for one object a line, or a template such as '{{.Type}} {{.Size}}'
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "verbose", "filter"])]
    pub(crate) format: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Only what fits, as in `rbuild prune`
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// `rbuild prune`
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Everything that no running build uses: also images that have a name, and all records
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Also what fits all of these: `until=24h` (not used for so long), `type=regular|exec.cachemount|source.local|
    /// internal|image|log|download`, `id=`, `description~=TEXT`, `inuse`, `private`, `shared`, `mutable`, `immutable`
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Also what was not used for longest, until the store takes no more than this
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_used_space: Option<String>,
    /// The same, until the disk has this much room
    #[arg(long, value_name = "BYTES")]
    pub(crate) min_free_space: Option<String>,
    /// Leave a store alone that takes no more than this; without the two above, the size to come down to
    #[arg(long, value_name = "BYTES", alias = "keep-storage")]
    pub(crate) reserved_space: Option<String>,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List each thing that goes
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild store check`
#[derive(Debug, Args)]
pub(crate) struct CheckStoreArgs {
    /// Take away what is damaged, and make it again where another form of it is left
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild info`
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// `json`, or a template such as '{{.ServerVersion}}'
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `rbuild version`
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// `json`, or a template such as '{{.Server.Version}}'
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

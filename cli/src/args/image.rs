//! Arguments of the commands about images and registries.

use clap::Args;

use super::toolkit::DeliveryArgs;

/// `rbuild images`
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only images of this name, `app` or `app:1.0`
    pub(crate) name: Option<String>,
    /// Taken for compatibility: there are no images of single steps here, so all are listed without it
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// With the digests of manifests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only images that fit: `reference=PATTERN`, `label=KEY[=VALUE]`, `before=IMAGE`, `since=IMAGE`
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// `table`, `json`, or a template such as '{{.Repository}}:{{.Tag}}' or 'table {{.ID}}\t{{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `rbuild tag`
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// Name or id of an image
    pub(crate) image: String,
    /// Its further name
    pub(crate) name: String,
}

/// `rbuild rmi`
#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
    /// Remove an id with all its names; a missing image is no error
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Keep the layers for a later `rbuild prune`
    #[arg(long)]
    pub(crate) no_prune: bool,
}

/// `rbuild inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
    /// `json`, or a template such as '{{.Config.Env}}' or '{{json .Config}}'
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Taken for compatibility: there is nothing but images here
    #[arg(long, value_name = "TYPE", value_parser = ["image"])]
    pub(crate) r#type: Option<String>,
}

/// `rbuild history`
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name or id of an image; without one, the builds of the past are listed
    pub(crate) image: Option<String>,
    /// `table`, `json` for one object a line, or of an image a template such as '{{.ID}} {{.CreatedBy}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: String,
    /// Sizes and times for people; `--human=false` for exact ones
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", hide_default_value = true)]
    pub(crate) human: bool,
    /// Whole instructions and ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `rbuild pull`
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Image name, `debian:bookworm` for instance
    pub(crate) image: String,
    /// Platform, `linux/arm64` for instance [default: this machine's]
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Print nothing but the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// `rbuild push`
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Name or id of an image here
    pub(crate) image: String,
    /// Where it goes, `registry.example/team/app:1.0` for instance [default: where its name says]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
    /// How layers that were made here travel: `gzip`, `gzip:9`, `zstd`, `zstd:3` or `none`
    #[arg(long, value_name = "HOW", default_value = "gzip")]
    pub(crate) compression: String,
    /// Write the digest of what was pushed to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<std::path::PathBuf>,
}

/// `rbuild login`
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry [default: Docker Hub]
    pub(crate) registry: Option<String>,
    /// Name of the account
    #[arg(short, long)]
    pub(crate) username: Option<String>,
    /// Password or token; `--password-stdin` keeps it out of the process list
    #[arg(short, long)]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    pub(crate) password_stdin: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild logout`
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry [default: Docker Hub]
    pub(crate) registry: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `rbuild doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// `text`, or `json` for programs
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) format: String,
}
